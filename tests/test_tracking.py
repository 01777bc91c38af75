"""MLflow, read back with a plain client: a server that proxies artifacts, and what runs look like."""

import contextlib
import os
import re
import socket
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

import tuning
from tests import sweeps
from tuning.tracking import client


@pytest.fixture(scope="module")
def on_server(
    tmp_path_factory: pytest.TempPathFactory, mlflow_server: str, ray_cluster: Any
) -> tuple[tuning.SweepResult, Path]:
    """One sweep of the LSTM written to a server, which the tests below look at."""
    home = tmp_path_factory.mktemp("home")
    spec = tuning.SweepSpec(
        model="lstm",
        name="remote",
        trials=3,
        epochs=2,
        max_concurrent=1,
        tracking_uri=mlflow_server,
        home=str(home),
    )
    return tuning.sweep(spec), home


def test_a_sweep_on_a_server_agrees_with_its_study(
    on_server: tuple[tuning.SweepResult, Path], mlflow_server: str
) -> None:
    result, home = on_server
    ledgers = sweeps.read("remote", home, mlflow_server)
    sweeps.assert_they_agree(result, ledgers)
    assert not (home / "mlflow.db").exists(), "with a server there is no database in the home"


def test_runs_look_as_the_contract_says(
    on_server: tuple[tuning.SweepResult, Path], mlflow_server: str
) -> None:
    result, home = on_server
    ledgers = sweeps.read("remote", home, mlflow_server)
    experiment = ledgers.client.get_experiment(ledgers.parent.info.experiment_id)
    assert experiment.name == "lstm"
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"

    parent = ledgers.parent.data
    assert ledgers.parent.info.run_name == "remote" and ledgers.parent.info.status == "FINISHED"
    assert result.best is not None and parent.metrics["val_accuracy"] == result.best.value
    assert {"test_loss", "test_accuracy"} <= set(parent.metrics)
    assert parent.tags["tuning.best_trial"] == str(result.best.number)
    assert f'tuning.load_best("remote", tracking_uri={mlflow_server!r})' in parent.tags["mlflow.note.content"]
    assert "spec.yaml" in [item.path for item in ledgers.client.list_artifacts(ledgers.parent.info.run_id)]

    for number, run in ledgers.children.items():
        assert run.info.run_name == f"trial-{number:05d}"
        assert {"tuning.sweep", "tuning.sweep_id", "tuning.trial", "tuning.state", "tuning.cohort"} <= set(
            run.data.tags
        )
        assert run.data.tags["tuning.sweep_id"] == parent.tags["tuning.sweep_id"]
        assert set(run.data.metrics) == {"train_loss", "val_loss", "val_accuracy"}
        for metric in run.data.metrics:
            steps = [point.step for point in ledgers.client.get_metric_history(run.info.run_id, metric)]
            assert steps == list(range(1, len(result.trials[number].values) + 1))


def test_the_best_model_comes_back_from_the_server_alone(
    on_server: tuple[tuning.SweepResult, Path], mlflow_server: str, home: Path
) -> None:
    result, _ = on_server  # `home` is another, empty one
    best = tuning.load_best("remote", tracking_uri=mlflow_server)
    assert result.best is not None and best.trial.number == result.best.number
    assert best.trial.value == result.best.value
    assert best.model(torch.zeros(2, 28, 28)).shape == (2, 10)
    other = tuning.load_best("remote", tracking_uri=mlflow_server, trial=0)
    assert other.trial.number == 0
    with pytest.raises(tuning.RequestError, match="One sweep named 'nowhere'"):
        tuning.load_best("nowhere", tracking_uri=mlflow_server)


def test_two_sweeps_of_one_name_in_two_homes_keep_apart_on_one_server(
    tmp_path: Path, mlflow_server: str, ray_cluster: Any
) -> None:
    results = []
    for user in ("a", "b"):
        spec = tuning.SweepSpec(
            model="net",
            name="same",
            trials=2,
            max_concurrent=1,
            epochs=2,
            tracking_uri=mlflow_server,
            home=str(tmp_path / user),
        )
        results.append(tuning.sweep(spec))
    client = sweeps.MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name("net")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`tuning.sweep` = 'same'")
    by_sweep: dict[str, list[str]] = {}
    for run in runs:
        by_sweep.setdefault(run.data.tags["tuning.sweep_id"], []).append(run.data.tags["tuning.kind"])
    assert [sorted(kinds) for kinds in by_sweep.values()] == [["sweep", "trial", "trial"]] * 2
    with pytest.raises(tuning.RequestError, match="there are: 2, the latest first; name one") as refusal:
        tuning.load_best("same", tracking_uri=mlflow_server)
    names = re.findall(r"same-[0-9a-f]{8}", str(refusal.value))
    found = [tuning.load_best(name, tracking_uri=mlflow_server).card["sweep_id"] for name in names]
    assert [name[5:] for name in names] == [sweep_id[:8] for sweep_id in found]
    assert set(found) == set(by_sweep)


def test_what_mlflow_lacks_of_earlier_trials_is_written_when_the_sweep_goes_on(
    home: Path, ray_cluster: Any
) -> None:
    """A driver that was killed has told the study more than MLflow: here MLflow forgets."""
    spec = tuning.SweepSpec(
        model="net", trials=4, epochs=3, max_concurrent=1, early_stopping=tuning.EarlyStopping(kind="none")
    )
    result = tuning.sweep(spec)
    before = sweeps.read("net", home)
    run_ids = {number: run.info.run_id for number, run in before.children.items()}
    with contextlib.closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        database.execute("UPDATE runs SET status = 'RUNNING', end_time = NULL")
        database.execute("DELETE FROM metrics WHERE run_uuid = ? AND step > 1", [run_ids[1]])
        database.execute("DELETE FROM params WHERE run_uuid = ?", [run_ids[2]])
    before.client.delete_run(run_ids[3])

    again = tuning.sweep(spec)
    after = sweeps.read("net", home)
    assert again.trials == result.trials
    sweeps.assert_they_agree(again, after)
    assert after.parent.info.status == "FINISHED"
    assert {n: run.info.run_id for n, run in after.children.items() if n != 3} == {
        number: run_id for number, run_id in run_ids.items() if number != 3
    }
    for run in after.children.values():
        for metric in ("train_loss", "val_loss"):
            steps = [point.step for point in after.client.get_metric_history(run.info.run_id, metric)]
            assert steps == [1, 2, 3], "none lacks, none is doubled"


def test_a_server_that_does_not_answer_is_refused_before_anything_is_written(
    home: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(
        tuning.RequestError, match=r"127\.0\.0\.1:9'? must answer, but: \[Errno 111\] Connection refused\. "
    ):
        tuning.sweep(tuning.SweepSpec(model="net", trials=2, tracking_uri="http://127.0.0.1:9"))
    assert not home.exists()


def test_a_best_model_on_a_server_that_does_not_answer_is_an_error_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(tuning.RequestError, match=r"'http://me:\*\*\*@127\.0\.0\.1:9' must answer, but: "):
        tuning.load_best("net", tracking_uri="http://me:secret@127.0.0.1:9")


def test_a_database_is_made_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow opens none of which a death has left a half."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with monkeypatch.context() as death, pytest.raises(KeyboardInterrupt):
        death.setattr(os, "link", interrupted)
        client.connect(uri)
    assert not list(tmp_path.iterdir())
    made = client.connect(uri)
    assert [found.name for found in made.search_experiments()] == ["Default"]
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def test_what_was_killed_while_it_made_a_database_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    killed = subprocess.Popen(["true"])
    killed.wait()
    mark = f".mlflow.db-{socket.gethostname()}"
    left, lives = (tmp_path / f"{mark}-{process}-x" for process in (killed.pid, os.getpid()))
    elsewhere = tmp_path / f"{mark}-2-{killed.pid}-x"  # a host whose name begins like this one's
    for folder in (left, lives, elsewhere):
        folder.mkdir()
        (folder / "mlflow.db").write_bytes(b"half")
    client.connect(f"sqlite:///{tmp_path}/mlflow.db").search_experiments()
    assert {path.name for path in tmp_path.iterdir()} == {lives.name, elsewhere.name, "mlflow.db"}
