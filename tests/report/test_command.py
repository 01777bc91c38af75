"""`tuning report` after a real sweep: the example that compares optimizers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tuning
from tests import sweeps
from tests.conftest import REPOSITORY
from tests.report.test_page import Parsed
from tuning import ledger, notation
from tuning.cli import main


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, ray_cluster: Any) -> Path:
    """The home of the sweep."""
    home = tmp_path_factory.mktemp("home")
    spec = notation.load(REPOSITORY / "examples" / "optimizers.yaml")
    assert tuning.sweep(replace(spec, home=str(home))).states == {"completed": 5}
    return home


def page_of(file: Path) -> Parsed:
    return Parsed(file.read_text(encoding="utf-8"))


def artifacts(home: Path) -> dict[str, Path]:
    ledgers = sweeps.read("optimizers", home)
    run_id = ledgers.parent.info.run_id
    found = [item.path for item in ledgers.client.list_artifacts(run_id)]
    return {path: Path(ledgers.client.download_artifacts(run_id, path)) for path in found}


def test_a_sweep_ends_with_a_report_in_its_folder_and_in_its_mlflow_run(compared: Path) -> None:
    kept = compared / "optimizers" / "report.html"
    assert artifacts(compared)["report.html"].read_bytes() == kept.read_bytes()
    page = page_of(kept)
    assert "5 completed" in page.text and "test_loss" in page.text and "was running" not in page.text
    assert f"data fingerprint {ledger.open_sweep('optimizers', str(compared)).fingerprint}" in page.text


def test_the_five_optimizers_loss_curves_stand_in_one_figure_by_their_configurations(compared: Path) -> None:
    curves = page_of(compared / "optimizers" / "report.html").data["curves-data"]["data"]
    names = {one["name"]: one["x"] for one in curves if one["mode"] == "lines"}
    assert list(names) == [
        "trial 0: optimizer=sgd",
        "trial 1: optimizer=sgd momentum=0.8",
        "trial 2: optimizer=rmsprop alpha=0.9",
        "trial 3: optimizer=adagrad",
        "trial 4: optimizer=adam momentum=0.9 beta2=0.99",
    ]
    assert all(epochs == list(range(1, 13)) for epochs in names.values())


def test_the_times_at_which_trials_trained_are_those_of_the_sweep(compared: Path) -> None:
    sweep = ledger.open_sweep("optimizers", str(compared))
    assert all(trial.spans for trial in sweep.trials)
    for trial in sweep.trials:
        assert all(span.begin_s < span.end_s for span in trial.spans)
        assert trial.spans[-1].where == trial.where
    begin = min(trial.spans[0].begin_s for trial in sweep.trials)
    end = max(trial.spans[-1].end_s for trial in sweep.trials)
    assert end - begin < sweep.wall_s
    ((drive_begin_s, drive_end_s),) = sweep.fleet.drives
    assert drive_begin_s - 0.1 < begin < end < (drive_end_s or 0.0) + 0.1
    assert list(sweep.fleet.gpus.values()) == [4] and sweep.fleet.workers == 4, "as the cluster has"
    bars = page_of(compared / "optimizers" / "report.html").data["timeline-data"]["data"]
    assert sum(len(bar["x"]) for bar in bars if bar["name"] == "completed") == 5


def test_the_command_writes_where_it_is_told_and_renews_the_artifact(
    compared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.html"
    arguments = ["report", "optimizers", "--home", str(compared)]
    assert main([*arguments, "--to", str(file), "--json"]) == 0
    captured = capsys.readouterr()
    facts = json.loads(captured.out)
    assert (facts["sweep"], facts["file"], facts["trials"]) == ("optimizers", str(file), 5)
    ledgers = sweeps.read("optimizers", compared)
    assert facts["run_id"] == ledgers.parent.info.run_id and ledgers.parent.info.status == "FINISHED"
    found = artifacts(compared)
    assert set(found) == {"spec.yaml", "report.html"}
    assert found["report.html"].read_bytes() == file.read_bytes()
    assert "warning" not in captured.err


def test_the_doctor_has_nothing_against_a_report(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "optimizers", "--home", str(compared)]) == 0
    assert "agree on 5 trials" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optimizer"], "did you mean 'optimizers'"),
        (["optimizers", "--to", "/no/such/folder/x.html"], "--to must name a file in a folder that exists"),
        (["optimizers", "--to", "/"], "--to must name a file, but / is a folder"),
    ],
)
def test_a_wrong_request_is_refused(
    compared: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", *arguments, "--home", str(compared)]) == 2
    assert message in capsys.readouterr().err


def test_a_report_is_made_although_mlflow_does_not_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    text = notation.dump(tuning.SweepSpec(**EMPTY))
    (folder / "spec.yaml").write_text(text)
    assert main(["report", "empty", "--home", str(tmp_path)]) == 0
    assert "warning: the report is not in MLflow" in capsys.readouterr().err
    assert "The sweep has no trial." in page_of(folder / "report.html").text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty"], "no database is made for it"


def test_a_report_that_fails_does_not_fail_the_sweep(
    compared: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr("tuning.report.process._start", broken)
    before = (compared / "optimizers" / "report.html").read_bytes()
    spec = replace(ledger.open_sweep("optimizers", str(compared)).spec, home=str(compared))
    result = tuning.sweep(spec)
    assert result.states == {"completed": 5} and result.halted is None
    assert (compared / "optimizers" / "report.html").read_bytes() == before
    assert f"`tuning report optimizers --home {compared}` makes it" in caplog.text


EMPTY: dict[str, Any] = {
    "model": "net",
    "data": "noisy_square",
    "name": "empty",
    "epochs": 2,
    "batch_size": 64,
    "metric": "val_loss",
    "mode": "min",
    "search": {"lr": tuning.Float(1e-3, 1e-1, log=True)},
    "id": "7d1f7a7e-0000-4000-8000-000000000000",
}
