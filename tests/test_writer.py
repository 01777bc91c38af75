"""The process that writes MLflow: what it leaves, and what is left where somebody dies."""

import os
import queue
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tuning
from tests import sweeps
from tuning.errors import SweepError
from tuning.records import State, TrialRecord, TrialSpec
from tuning.tracking import writer
from tuning.tracking.pending import Run
from tuning.tracking.tracker import Tracker
from tuning.tracking.writer import Close, Job, News, Writer

SPEC = tuning.SweepSpec(model="net", name="again", id="0" * 32, metric="val_loss", mode="min")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    folder = tmp_path / "again"
    folder.mkdir()
    (folder / "spec.yaml").write_text("model: net\n")
    return Job(SPEC, "net", f"sqlite:///{tmp_path}/mlflow.db", tmp_path, str(folder))


@pytest.fixture
def tracker(job: Job) -> Tracker:
    return Tracker(job.spec, job.experiment, job.uri, job.home, job.folder)


def news(*items: News) -> "queue.SimpleQueue[News]":
    found: queue.SimpleQueue[News] = queue.SimpleQueue()
    for item in items:
        found.put(item)
    return found


def began(number: int) -> Run:
    return Run(TrialSpec(number=number, hyperparameters={"lr": 0.1}), metrics={("val_loss", 1): (0.5, 1000)})


def runs(job: Job) -> dict[str, Any]:
    """Return the runs that MLflow has of the sweep, by name."""
    client = sweeps.MlflowClient(job.uri)
    experiment = client.get_experiment_by_name("net")
    assert experiment is not None
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def writer_processes() -> set[int]:
    """Return the ids of all processes that write MLflow."""
    found = subprocess.run(["pgrep", "-f", "tuning[.]tracking[.]writer"], capture_output=True, text=True)
    return set(map(int, found.stdout.split()))


@pytest.fixture
def own_processes() -> Iterator[set[int]]:
    """Yield an empty set for ids of processes; those that are still alive at the end are killed."""
    found: set[int] = set()
    yield found
    for process in found & writer_processes():
        os.kill(process, signal.SIGKILL)


def wait_for(what: str, is_so: Callable[[], object]) -> None:
    end_s = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end_s, what
        time.sleep(0.05)


def test_what_the_driver_tells_is_in_mlflow_when_it_closes(tracker: Tracker, job: Job) -> None:
    tracker.start()
    tracker._queue.put((0, began(0)))
    tracker.end(0, State.COMPLETED, None)
    best = TrialRecord(number=0, state=State.COMPLETED, hyperparameters={}, values={1: 0.5}, value=0.5)
    tracker.close("FINISHED", best, {"test_loss": 0.25})
    parent, child = runs(job)["again"], runs(job)["trial-00000"]
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")
    assert parent.data.metrics == {"val_loss": 0.5, "test_loss": 0.25}
    assert child.data.metrics == {"val_loss": 0.5}


def test_a_trial_that_was_interrupted_stays_so_when_mlflow_is_read_anew_at_the_end(job: Job) -> None:
    record = TrialRecord(number=0, state=State.RUNNING, hyperparameters={}, values={1: 0.5})
    job.earlier[0] = (record, [{"val_loss": 0.5}])
    written = Writer(job)
    written._take({0: Run(state=State.INTERRUPTED)})
    written._write()
    written._known = None  # as after a failure: what was written is uncertain
    written.run(news(Close("KILLED", None, None)))
    run = runs(job)["trial-00000"]
    assert (run.info.status, run.data.tags["tuning.state"]) == ("SCHEDULED", "interrupted")


def test_a_server_that_is_away_is_waited_for_and_then_given_up(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "GIVE_UP_S", 0.1)
    monkeypatch.setattr(writer, "RETRY_S", 0.05)
    attempts = []

    def away(*_: object) -> None:
        attempts.append(1)
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(writer.known, "read", away)
    with pytest.raises(ConnectionError, match="nobody answers"):
        Writer(job).run(news({0: began(0)}, Close("FINISHED", None, None)))
    assert len(attempts) > 2


def test_a_writer_that_is_killed_makes_the_sweep_say_so(tracker: Tracker, own_processes: set[int]) -> None:
    before = writer_processes()
    tracker.start()
    wait_for("the process starts", lambda: writer_processes() - before)
    (process,) = writer_processes() - before
    own_processes.add(process)
    os.kill(process, signal.SIGKILL)
    with pytest.raises(SweepError, match="the process that writes it ended with -9"):
        tracker.close("FINISHED", None, None)


def test_a_writer_does_not_outlive_its_driver(job: Job, own_processes: set[int]) -> None:
    driver = f"""
        import time, tuning
        from pathlib import Path
        from tuning.tracking.tracker import Tracker
        spec = tuning.SweepSpec(model="net", name="again", id="0" * 32, metric="val_loss", mode="min")
        Tracker(spec, "net", {job.uri!r}, Path({str(job.home)!r}), {job.folder!r}).start()
        time.sleep(600)
    """
    before = writer_processes()
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(driver)])
    try:
        wait_for("the writer starts", lambda: writer_processes() - before)
        own_processes |= writer_processes() - before
    finally:
        process.kill()
        process.wait()
    wait_for("the writer ends", lambda: not writer_processes() & own_processes)
