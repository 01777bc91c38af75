"""What is in MLflow after a writer, and after one that died."""

import math
from dataclasses import replace

import pytest

from tests import sweeps
from tests.tracking.jobs import CLOSE, began, news, runs, spooled
from tuning.confirmed import Confirmation, Confirmed
from tuning.records import State, TrialRecord
from tuning.tracking import inventory, writer
from tuning.tracking.client import run_id_of
from tuning.tracking.messages import Close, Job
from tuning.tracking.pending import Run
from tuning.tracking.spool import Spool
from tuning.tracking.tracker import Tracker
from tuning.tracking.writer import Writer


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


def test_a_resumed_sweep_says_in_mlflow_what_was_confirmed_meanwhile(job: Job) -> None:
    best = TrialRecord(number=0, state=State.COMPLETED, hyperparameters={}, values={1: 0.5}, value=0.5)
    found = Confirmed(
        trial=0, searched=0.5, values=(0.5, 0.75), test=({}, {}), mean=0.625, low=0.25, high=1.0
    )
    confirmation = Confirmation(
        metric="val_loss", mode="min", seeds=2, trials=(found,), hopeless=(), winner=0, holds=True, verdict=""
    )
    Writer(job).run(news(Close("FINISHED", best, {"test_loss": 0.25}, confirmation=confirmation)))
    parent = runs(job)["again"]
    assert parent.data.tags["tuning.confirmed_trial"] == parent.data.tags["tuning.best_trial"] == "0"
    told = {"confirmed_mean": 0.625, "confirmed_low": 0.25, "confirmed_high": 1.0}
    assert parent.data.metrics == {"val_loss": 0.5, "test_loss": 0.25, **told}


def test_an_interval_of_an_earlier_best_does_not_stand_beside_one_that_has_none(job: Job) -> None:
    best = TrialRecord(number=0, state=State.COMPLETED, hyperparameters={}, values={1: 0.5}, value=0.5)
    before = Confirmed(trial=0, searched=0.5, values=(0.5, 0.75), test=({}, {}), mean=0.6, low=0.2, high=1.0)
    equal = replace(before, values=(0.6, 0.6), low=None, high=None)
    for found in (before, equal, equal):
        confirmation = Confirmation(
            metric="val_loss",
            mode="min",
            seeds=2,
            trials=(found,),
            hopeless=(),
            winner=0,
            holds=True,
            verdict="",
        )
        Writer(job).run(news(Close("FINISHED", best, {}, confirmation=confirmation)))
    parent = runs(job)["again"]
    assert parent.data.metrics["confirmed_mean"] == 0.6
    assert all(math.isnan(parent.data.metrics[key]) for key in ("confirmed_low", "confirmed_high"))


def test_a_trial_that_was_interrupted_stays_so_when_mlflow_is_read_anew_at_the_end(job: Job) -> None:
    record = TrialRecord(number=0, state=State.RUNNING, hyperparameters={}, values={1: 0.5})
    job.earlier[0] = (record, [{"val_loss": 0.5}])
    written = Writer(job)
    spooled(job, {0: Run(state=State.INTERRUPTED)})
    written._take()
    written._write()
    written._known = None  # as after a failure: what was written is uncertain
    written.run(news(Close("KILLED", None, None)))
    run = runs(job)["trial-00000"]
    assert (run.info.status, run.data.tags["tuning.state"]) == ("SCHEDULED", "interrupted")


def test_a_trial_that_was_interrupted_stays_so_when_its_writer_is_killed_at_the_very_end(job: Job) -> None:
    record = TrialRecord(number=0, state=State.RUNNING, hyperparameters={}, values={1: 0.5})
    job.earlier[0] = (record, [{"val_loss": 0.5}])
    spooled(job, {0: Run(state=State.INTERRUPTED)})
    first = Writer(job)
    first._take()
    first._write()  # and forgotten by the spool; here it is killed
    Writer(replace(job, ends={0: State.INTERRUPTED}, is_first=False)).run(news(Close("KILLED", None, None)))
    assert runs(job)["trial-00000"].info.status == "SCHEDULED"


def test_the_next_writer_knows_how_trials_have_ended(tracker: Tracker, job: Job) -> None:
    tracker.start()
    tracker._queue.put((0, began(0)))
    tracker.end(0, State.INTERRUPTED, None)
    tracker.close("KILLED", None, None)
    assert tracker._job.ends == {0: State.INTERRUPTED}


def test_a_run_that_the_server_made_for_a_writer_that_was_killed_meanwhile_is_found_at_the_end(
    job: Job,
) -> None:
    spooled(job, {0: began(0)})
    following = Writer(replace(job, is_first=False))
    following._take()
    following._write()
    made = runs(job)["trial-00000"]
    client = sweeps.MlflowClient(job.uri)
    client.create_run(made.info.experiment_id, tags=made.data.tags, run_name=made.info.run_name)
    following.run(news(CLOSE))
    found = client.search_runs([made.info.experiment_id], "tags.`tuning.trial` = '0'")
    assert [run.info.run_id for run in found] == [made.info.run_id]


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
    spooled(job, {0: began(0)})
    with pytest.raises(ConnectionError, match="nobody answers"):
        Writer(job).run(news(CLOSE))
    assert len(attempts) > 2


def test_a_trial_that_a_killed_driver_has_not_told_of_is_counted_once(job: Job) -> None:
    """The worker had saved an epoch: the next driver knows it from the resume file, and tells it too."""
    record = TrialRecord(number=0, state=State.RUNNING, hyperparameters={"lr": 0.1}, values={1: 0.5})
    spooled(job, {0: began(0)})
    Writer(job).run(news(Close("KILLED", None, None)))
    job.earlier[0] = (record, [{"val_loss": 0.5}, {"val_loss": 0.25}])
    told = Run(metrics={("val_loss", 2): (0.25, 2000)})
    spooled(job, {0: told}, {0: Run(metrics={("val_loss", 2): (0.25, 3000)})})
    Writer(job).run(news(CLOSE))
    client = sweeps.MlflowClient(job.uri)
    run = runs(job)["trial-00000"]
    assert [point.step for point in client.get_metric_history(run.info.run_id, "val_loss")] == [1, 2]


def test_tags_that_were_lost_with_a_driver_come_back_from_the_study(job: Job) -> None:
    job.earlier[0] = (
        TrialRecord(
            number=0, state=State.FAILED, hyperparameters={}, where="node, GPU 1", cohort="c0", slot=4,
            width=64, cause="it broke",
        ),
        [],
    )  # fmt: skip
    Writer(job).run(news(CLOSE))
    tags = runs(job)["trial-00000"].data.tags
    wanted = {"host": "node", "gpus": "1", "cohort": "c0", "stack": "5 of 64", "cause": "it broke"}
    assert {key: tags[f"tuning.{key}"] for key in wanted} == wanted


def test_what_was_kept_is_written_by_the_next_driver(job: Job) -> None:
    """The server was away, then the driver died: what no checkpoint or study knows is there all the same."""
    diverged = Run(metrics={("train_loss", 1): (float("inf"), 1000)}, state=State.DIVERGED)
    spooled(job, {0: began(0)}, {0: diverged})
    Writer(job).run(news(CLOSE))
    run = runs(job)["trial-00000"]
    assert (run.info.status, run.data.params) == ("FAILED", {"lr": "0.1"})
    assert set(run.data.metrics) == {"train_loss", "val_loss"}
    assert Spool(job.paths.spool).names() == []


def test_what_was_written_but_not_yet_forgotten_is_not_written_twice(job: Job) -> None:
    """A death between MLflow's commit and the removal: the records come again, after the trial's end."""
    spooled(job, {0: began(0)}, {0: Run(state=State.COMPLETED)})
    kept = [
        (job.paths.spool / name, (job.paths.spool / name).read_bytes())
        for name in Spool(job.paths.spool).names()
    ]
    Writer(job).run(news(CLOSE))
    kept[0][0].write_bytes(kept[0][1])
    job.earlier[0] = (TrialRecord(number=0, state=State.COMPLETED, hyperparameters={"lr": 0.1}), [])
    Writer(job).run(news(CLOSE))
    run = runs(job)["trial-00000"]
    points = sweeps.MlflowClient(job.uri).get_metric_history(run.info.run_id, "val_loss")
    assert ([point.step for point in points], run.info.status) == ([1], "FINISHED")
    assert Spool(job.paths.spool).names() == []


def test_an_end_that_the_study_knows_is_not_undone_by_an_older_record(job: Job) -> None:
    """The server was away when the sweep was interrupted, and when the next driver died."""
    spooled(job, {0: began(0)}, {0: Run(state=State.INTERRUPTED)})
    job.earlier[0] = (TrialRecord(number=0, state=State.COMPLETED, hyperparameters={"lr": 0.1}), [])
    Writer(job).run(news(CLOSE))
    run = runs(job)["trial-00000"]
    assert (run.info.status, run.data.tags["tuning.state"]) == ("FINISHED", "completed")


def test_a_damaged_record_holds_up_no_other(job: Job) -> None:
    spooled(job, {0: began(0)}, {1: began(1)})
    (job.paths.spool / Spool(job.paths.spool).names()[0]).write_text('{"0": {"tags"')
    Writer(job).run(news(CLOSE))
    assert set(runs(job)) == {"again", "trial-00001"}


def test_a_traceback_is_an_artifact_and_its_last_line_the_cause(job: Job) -> None:
    cause = "Traceback (most recent call last):\n  ...\nValueError: it broke"
    job.earlier[0] = TrialRecord(number=0, state=State.FAILED, hyperparameters={}, cause=cause), []
    Writer(job).run(news(CLOSE))
    run = runs(job)["trial-00000"]
    assert run.data.tags["tuning.cause"] == "ValueError: it broke"
    assert sweeps.MlflowClient(job.uri).list_artifacts(run.info.run_id)[0].path == "cause.txt"


def runs_in(client: sweeps.MlflowClient, experiment: str) -> dict[str | None, str]:
    return {run.info.run_name: run.info.run_id for run in client.search_runs([experiment])}


@pytest.mark.parametrize("is_deleted", [False, True])
def test_an_experiment_that_was_renamed_is_still_the_sweeps(job: Job, is_deleted: bool) -> None:
    spooled(job, {0: began(0)})
    Writer(job).run(news(CLOSE))
    client = sweeps.MlflowClient(job.uri)
    experiment = client.get_experiment_by_name("net")
    assert experiment is not None
    client.rename_experiment(experiment.experiment_id, "nets of last week")
    client.create_experiment("net")  # as of a sweep that began since
    if is_deleted:
        client.delete_run(runs_in(client, experiment.experiment_id)["again"])
        client.delete_experiment(experiment.experiment_id)
    spooled(job, {1: began(1)})
    Writer(replace(job, is_first=False)).run(news(CLOSE))
    assert set(runs_in(client, experiment.experiment_id)) == {"again", "trial-00000", "trial-00001"}
    found = inventory.read(job.spec, "net", job.uri)
    assert (
        found is not None
        and found.experiment_id == experiment.experiment_id
        and set(found.children) == {0, 1}
    )
    assert run_id_of(job.uri, "net", str(job.spec.id), 1) == found.children[1][0].info.run_id
