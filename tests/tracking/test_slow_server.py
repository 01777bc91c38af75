"""Records for a server that answers too late, or not at all, are written once each."""

import re
import sqlite3
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from tests import sweeps
from tests.late_server import late_server
from tests.tracking.jobs import CLOSE, SPEC, began, news, runs, runs_of_all, spooled
from tuning.records import State, TrialRecord
from tuning.tracking import writer
from tuning.tracking.messages import Close, Job
from tuning.tracking.pending import Run
from tuning.tracking.spool import Spool
from tuning.tracking.tracker import Tracker
from tuning.tracking.writer import Writer


@pytest.mark.parametrize("request_", ["runs/create", "runs/log-batch", "runs/update"])
def test_what_was_done_and_not_answered_is_done_once(
    job: Job, mlflow_server: str, monkeypatch: pytest.MonkeyPatch, request_: str
) -> None:
    monkeypatch.setattr(writer, "RETRY_S", 0.05)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # as `tracker` starts the process
    with late_server(mlflow_server, request_, times=3) as (uri, lost):
        late = replace(job, uri=uri, experiment=f"late-{request_}", spec=replace(SPEC, id=str(uuid.uuid4())))
        spooled(late, {0: began(0)}, {1: began(1)}, {0: Run(state=State.COMPLETED)})
        spooled(late, {1: Run(state=State.COMPLETED)})
        Writer(late).run(news(CLOSE))
    assert len(lost) == 3
    client = sweeps.MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name(late.experiment)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in found) == ["again", "trial-00000", "trial-00001"]
    assert {run.info.status for run in found} == {"FINISHED"}
    for run in found:
        if run.info.run_name != "again":
            assert len(client.get_metric_history(run.info.run_id, "val_loss")) == 1


def test_runs_that_are_there_twice_are_reduced_to_the_one_that_has_ended(job: Job) -> None:
    spooled(job, {0: began(0)}, {0: Run(state=State.COMPLETED)})
    Writer(job).run(news(CLOSE))
    client = sweeps.MlflowClient(job.uri)
    for name in ("again", "trial-00000"):
        run = runs(job)[name]
        tags = {k: v for k, v in run.data.tags.items() if k.startswith(("tuning.", "mlflow.parent"))}
        client.create_run(run.info.experiment_id, tags=tags, run_name=name, start_time=1)
    kept = {run.info.run_id for run in runs_of_all(job) if run.info.status == "FINISHED"}
    Writer(job).run(news(CLOSE))
    assert {run.info.run_id for run in runs_of_all(job)} == kept


def test_a_parent_whose_spec_a_death_kept_away_gets_it(job: Job) -> None:
    Writer(job).run(news(CLOSE))
    folder = Path(runs(job)["again"].info.artifact_uri.removeprefix("file://"))
    (folder / "spec.yaml").unlink()
    Writer(job).run(news(CLOSE))
    assert (folder / "spec.yaml").read_text() == "model: net\n"


def test_a_sweep_that_is_resumed_often_tells_its_best_once(job: Job) -> None:
    best = TrialRecord(number=0, state=State.COMPLETED, hyperparameters={}, values={1: 0.5}, value=0.5)
    for _ in range(3):
        Writer(job).run(news(Close("FINISHED", best, {"test_loss": 0.25})))
    client, parent = sweeps.MlflowClient(job.uri), runs(job)["again"]
    assert len(client.get_metric_history(parent.info.run_id, "val_loss")) == 1


def test_a_process_that_cannot_be_started_is_said_and_costs_no_record(
    tracker: Tracker, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_left() -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("tuning.tracking.process.start", nothing_left)
    tracker._queue.put((0, began(0)))
    assert re.search(
        "the process that writes it has died 3 times", str(tracker.close("FINISHED", None, None).failure)
    )
    assert [sorted(Spool(job.paths.spool).read(name)) for name in Spool(job.paths.spool).names()] == [[0]]


def test_what_goes_wrong_in_the_thread_is_said(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("spool")

    monkeypatch.setattr(Spool, "put", broken)
    tracker._queue.put((0, began(0)))
    assert re.search("KeyError: 'spool'", str(tracker.close("FINISHED", None, None).failure))


def test_a_second_ctrl_c_waits_for_no_server(job: Job) -> None:
    tracker = Tracker(job.spec, job.experiment, "http://127.0.0.1:9", job.home, job.folder)
    tracker.start()
    tracker._queue.put((0, began(0)))
    start_s = time.monotonic()
    tracker.hurry()
    tracker.close("KILLED", None, None)
    assert time.monotonic() - start_s < 30  # without it a minute, and what the client itself waits
    assert Spool(job.paths.spool).names(), "what is not written waits"


def test_a_database_that_another_process_holds_is_waited_for(job: Job) -> None:
    Writer(job).run(news(CLOSE))
    held = sqlite3.connect(job.uri.removeprefix("sqlite:///"), check_same_thread=False, timeout=10)
    held.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(2.0, held.rollback)
    release.start()
    spooled(job, {0: began(0)}, {0: Run(state=State.COMPLETED)})
    Writer(job).run(news(CLOSE))
    release.join()
    held.close()
    assert runs(job)["trial-00000"].info.status == "FINISHED"


def test_a_database_that_another_process_holds_for_good_is_given_up_and_costs_no_record(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "GIVE_UP_S", 0.1)
    Writer(job).run(news(CLOSE))
    held = sqlite3.connect(job.uri.removeprefix("sqlite:///"))
    held.execute("BEGIN EXCLUSIVE")
    spooled(job, {0: began(0)}, {0: Run(state=State.COMPLETED)})
    with pytest.raises(Exception, match="database is locked"):
        Writer(job).run(news(CLOSE))
    assert Spool(job.paths.spool).names(), "what is not written waits"
    held.rollback()
    held.close()
    Writer(job).run(news(CLOSE))
    assert runs(job)["trial-00000"].info.status == "FINISHED"


def test_epochs_that_are_trained_again_are_in_a_servers_run_once(job: Job, mlflow_server: str) -> None:
    job = replace(job, uri=mlflow_server, experiment="again", spec=replace(SPEC, id=str(uuid.uuid4())))
    spooled(job, {0: began(0)})
    Writer(job).run(news(Close("KILLED", None, None)))
    job.earlier[0] = (
        TrialRecord(number=0, state=State.RUNNING, hyperparameters={"lr": 0.1}, values={1: 0.5, 2: 0.25}),
        [],
    )
    both = {(key, step): (0.25, 9000) for key in ("train_loss", "val_loss") for step in (1, 2)}
    spooled(job, {0: Run(metrics=both)})
    Writer(job).run(news(CLOSE))
    client = sweeps.MlflowClient(mlflow_server)
    experiment = client.get_experiment_by_name("again")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.`tuning.trial` = '0'")
    for key in ("train_loss", "val_loss"):
        points = client.get_metric_history(run.info.run_id, key)
        assert sorted(point.step for point in points) == [1, 2], key
