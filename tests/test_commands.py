"""The commands as a user runs them: processes of their own, read from their output."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import tuning
from tests import sweeps
from tests.conftest import REPOSITORY
from tuning import notation, paths, storage
from tuning.cli import main
from tuning.spec import SweepSpec


def test_a_sweep_on_a_cluster_of_its_own_prints_its_result_and_nothing_of_the_libraries(
    command: Any, home: Path, tmp_path: Path
) -> None:
    done = command("sweep", "net", "--trials", "3", "--epochs", "3", cwd=tmp_path)
    assert done.returncode == 0
    assert "net: " in done.stdout and " of 3 in " in done.stdout
    assert re.search(r"best +trial \d: val_loss=\S+ at epoch \d, test_loss=", done.stdout)
    assert re.search(r"\ncost +\S+ CPU-seconds of training", done.stdout)
    assert 'tuning.load_best("net")' in done.stdout and "tuning ui" in done.stdout
    said = [line.partition(":")[0].partition(" ...")[0] for line in done.stderr.splitlines()]
    progress = said.count("net")  # a line every ten seconds, and a last one
    assert progress >= 1 and said[-1] == "net"
    assert [line for line in said if line != "net"] == [
        "starting Ray",
        "starting workers",
        "each trial trains alone",
        "saving",
        "registering the best model",
        "models",  # models:/net@champion
    ]
    more = "from 16 on, 8 for each of 2 workers, they may train together"
    why = f"of so few trials (3) each is chosen better knowing what those before it found; {more}"
    assert f"each trial trains alone: {why}" in done.stderr.splitlines()
    assert (home / "net/sweep.log").exists()


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The example of an own model, swept from a folder that is not the example's."""
    home, elsewhere = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("elsewhere")
    spec = REPOSITORY / "examples" / "own_model.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "tuning", "sweep", str(spec), "--trials", "4", "--json", "--home", str(home)],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), home


def test_json_is_one_object_and_all_of_standard_output(ring: tuple[dict[str, Any], Path]) -> None:
    facts, _ = ring
    assert {"sweep", "states", "total", "best", "wall_s", "cohort"} <= set(facts)
    assert facts["sweep"] == "ring" and facts["total"] == 4 and sum(facts["states"].values()) == 4
    assert 8 <= facts["best"]["hyperparameters"]["n_hidden"] <= 64


def test_an_own_model_is_swept_from_any_folder_and_comes_back(ring: tuple[dict[str, Any], Path]) -> None:
    facts, home = ring
    ledgers = sweeps.read("ring", home)
    assert ledgers.client.get_experiment(ledgers.parent.info.experiment_id).name == "RingNet"
    assert sorted(ledgers.children) == [0, 1, 2, 3]
    best = tuning.load_best("ring", home=str(home))
    assert type(best.model).__name__ == "RingNet" and best.trial.number == facts["best"]["trial"]
    assert ledgers.children[0].data.params["n_hidden"] == "64", "the configuration to try ran first"
    with pytest.raises(tuning.CheckpointError, match="model=YourModel"):
        tuning.load_checkpoint(home / "ring/checkpoints/trial-00000.pt")
    model = tuning.load_checkpoint(home / "ring/checkpoints/trial-00000.pt", model=type(best.model)).model
    assert type(model) is type(best.model)


SWEEPS = sorted(set((REPOSITORY / "examples").glob("*.yaml")) - {REPOSITORY / "examples/cluster-onprem.yaml"})


@pytest.mark.parametrize("file", SWEEPS, ids=lambda path: path.name)
def test_every_example_is_a_sound_request(file: Path, command: Any, home: Path, tmp_path: Path) -> None:
    done = command("sweep", str(file), "--dry-run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["parameters"] > 0
    if measured := facts["sizing"]["measured"]:
        (chosen,) = [one for one in measured if one["size"] == facts["cohort"]]
        least_s = facts["spec"]["trials"] / (chosen["trials_per_s"] * facts["workers"])
        assert facts["train_s"] == pytest.approx(least_s, rel=0.5), "the rest is what cohorts begin with"
    assert not home.exists(), "a dry run writes nothing"


def wait_for(condition: Any, process: subprocess.Popen[str], what: str) -> None:
    end_s = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, f"the sweep ended before {what}"
        assert time.monotonic() < end_s, f"no {what} within two minutes"
        time.sleep(0.05)


def test_ctrl_c_keeps_everything_and_resume_goes_on_from_there(command: Any, home: Path) -> None:
    arguments = ["sweep", "cnn", "--trials", "2", "--epochs", "3", "--early-stopping", "none"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tuning", *arguments, "--max-concurrent", "1"],
        cwd=REPOSITORY,
        env={**os.environ, "TUNING_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    resume = home / "cnn" / "resume"
    wait_for(lambda: resume.is_dir() and any(resume.glob("cohort-*.pt")), process, "first epoch")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "resume with: tuning resume cnn" in errors and "Traceback" not in errors

    before = sweeps.read("cnn", home)
    assert before.parent.info.status == "KILLED"
    interrupted = [number for number, run in before.children.items() if run.info.status == "SCHEDULED"]
    assert interrupted and all(run.info.status != "RUNNING" for run in before.children.values())
    assert before.children[interrupted[0]].data.tags["tuning.state"] == "interrupted"
    status = command("status", "cnn", "--json")
    assert json.loads(status.stdout)["states"]["interrupted"] == len(interrupted)

    done = command("resume", "cnn", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["states"] == {"completed": 2}
    after = sweeps.read("cnn", home)
    assert after.parent.info.run_id == before.parent.info.run_id and after.parent.info.status == "FINISHED"
    for number, run in before.children.items():
        assert after.children[number].info.run_id == run.info.run_id, "under its old MLflow run"
    for run in after.children.values():
        history = after.client.get_metric_history(run.info.run_id, "val_accuracy")
        assert [point.step for point in history] == [1, 2, 3], "no epoch lost, none doubled"
    assert not list(resume.iterdir())


def test_a_second_driver_is_refused_while_the_first_is_alive(command: Any, home: Path) -> None:
    from tuning.claim import claim

    with claim(home / "net" / "driver.lock", "net"):
        done = command("sweep", "net", "--trials", "2")
    assert done.returncode == 2
    assert f"process {os.getpid()} on host {socket.gethostname()}" in done.stderr
    assert not (home / "net" / "spec.yaml").exists()


def test_a_sweep_runs_on_a_cluster_that_exists_and_keeps_its_checkpoints_where_told(
    command: Any, home: Path, ray_cluster: Any, tmp_path: Path
) -> None:
    options = ["--trials", "2", "--epochs", "2", "--json", "--storage", str(tmp_path / "shared")]
    done = command("sweep", "net", "--address", ray_cluster.address, *options)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["states"] == {"completed": 2} or sum(facts["states"].values()) == 2
    assert Path(facts["best"]["checkpoint"]).is_relative_to(tmp_path / "shared")
    assert not (home / "net" / "checkpoints").exists()
    assert tuning.load_best("net").trial.value == facts["best"]["value"]


def test_a_reader_that_has_read_enough_gets_no_complaint(command: Any) -> None:
    line = f"{sys.executable} -m tuning models | head -1"
    done = subprocess.run(["bash", "-c", line], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("net ") and done.stderr == ""


def test_one_damaged_sweep_hides_no_other_from_status(command: Any, home: Path) -> None:
    for name in ("broken", "young"):
        (home / name).mkdir(parents=True)
    (home / "broken/spec.yaml").write_text("model: [")
    (home / "young/spec.yaml").write_text("model: net\nname: young\nid: 1-2-3\ntrials: 2\n")
    done = command("status", "--json")
    assert done.returncode == 1 and "broken" in done.stderr and "Traceback" not in done.stderr
    assert [found["sweep"] for found in json.loads(done.stdout)["sweeps"]] == ["young"]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_ui_serves_the_home_on_another_port_when_the_first_is_taken_and_ends_whole(
    ring: tuple[dict[str, Any], Path], ending: signal.Signals
) -> None:
    _, home = ring
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "tuning", "ui", "--home", str(home), "--port", str(port)],
            cwd=REPOSITORY,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),  # as after a script's `&`
        )
        assert process.stderr is not None
        assert f"port {port} is taken" in process.stderr.readline()
        address = re.search(r"http://127\.0\.0\.1:(\d+)", process.stderr.readline())
        assert address is not None and int(address[1]) > port
        wait_for(lambda: _answers(address[0]), process, "answer of the UI")
        request = urllib.request.Request(
            f"{address[0]}/api/2.0/mlflow/experiments/search",
            json.dumps({"max_results": 10}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            assert "RingNet" in [found["name"] for found in json.load(response)["experiments"]]
        process.send_signal(ending)
        assert process.wait(timeout=60) == 0
        assert not _answers(address[0])
        assert [found for found in _command_lines() if str(home) in found] == []


@pytest.mark.parametrize("death", [signal.SIGHUP, signal.SIGKILL], ids=["terminal closed", "killed"])
def test_no_server_outlives_a_ui_that_dies(ring: tuple[dict[str, Any], Path], death: signal.Signals) -> None:
    _, home = ring
    process = subprocess.Popen(
        [sys.executable, "-m", "tuning", "ui", "--home", str(home)],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    address = re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline() + process.stderr.readline())
    assert address is not None
    wait_for(lambda: _answers(address[0]), process, "answer of the UI")
    process.send_signal(death)
    assert process.wait(timeout=60) == -death
    end_s = time.monotonic() + 60
    while left := [found for found in _command_lines() if str(home) in found]:
        assert time.monotonic() < end_s, left
        time.sleep(0.1)
    assert not _answers(address[0])


def test_a_ui_whose_server_ends_says_where_the_reason_stands(home: Path, command: Any) -> None:
    home.mkdir()
    paths.tracking_database(home).write_text("no database")
    ended = command("ui")
    assert ended.returncode == 1
    assert "The MLflow server ended with code" in ended.stderr and "Traceback" not in ended.stderr
    assert "database" in (home / "ui.log").read_text()


def _command_lines() -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=1):
            return True
    except OSError:
        return False


def test_the_ui_names_the_server_at_which_a_homes_sweeps_have_their_records(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = SweepSpec(model="net", name="far", tracking_uri="http://127.0.0.1:5999")
    storage.write(str(home / "far" / "spec.yaml"), notation.dump(spec).encode())
    assert main(["ui", "--home", str(home)]) == 2
    said = capsys.readouterr().err
    assert f"The sweeps of {home} have their records at http://127.0.0.1:5999; open that instead" in said
