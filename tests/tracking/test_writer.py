"""The process that writes MLflow: what it leaves, and what is left where somebody dies."""

import errno
import os
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests import sweeps
from tests.tracking.jobs import CLOSE, began, news, runs, spooled, wait_for
from tuning.confirmed import Confirmation, Confirmed
from tuning.records import State, TrialRecord
from tuning.tracking import process as process_
from tuning.tracking import tracker as tracking
from tuning.tracking import writer
from tuning.tracking.messages import SPOOLED, Close, Job
from tuning.tracking.pending import Run
from tuning.tracking.spool import Spool
from tuning.tracking.tracker import Tracker
from tuning.tracking.writer import Writer


def writer_processes() -> set[int]:
    """Return the ids of this process's children that write MLflow."""
    command = ["pgrep", "-P", str(os.getpid()), "-f", "tuning[.]tracking[.]writer"]
    return set(map(int, subprocess.run(command, capture_output=True, text=True).stdout.split()))


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
    assert Spool(job.spool).names() == []


def test_what_was_written_but_not_yet_forgotten_is_not_written_twice(job: Job) -> None:
    """A death between MLflow's commit and the removal: the records come again, after the trial's end."""
    spooled(job, {0: began(0)}, {0: Run(state=State.COMPLETED)})
    kept = [(job.spool / name, (job.spool / name).read_bytes()) for name in Spool(job.spool).names()]
    Writer(job).run(news(CLOSE))
    kept[0][0].write_bytes(kept[0][1])
    job.earlier[0] = (TrialRecord(number=0, state=State.COMPLETED, hyperparameters={"lr": 0.1}), [])
    Writer(job).run(news(CLOSE))
    run = runs(job)["trial-00000"]
    points = sweeps.MlflowClient(job.uri).get_metric_history(run.info.run_id, "val_loss")
    assert ([point.step for point in points], run.info.status) == ([1], "FINISHED")
    assert Spool(job.spool).names() == []


def test_an_end_that_the_study_knows_is_not_undone_by_an_older_record(job: Job) -> None:
    """The server was away when the sweep was interrupted, and when the next driver died."""
    spooled(job, {0: began(0)}, {0: Run(state=State.INTERRUPTED)})
    job.earlier[0] = (TrialRecord(number=0, state=State.COMPLETED, hyperparameters={"lr": 0.1}), [])
    Writer(job).run(news(CLOSE))
    run = runs(job)["trial-00000"]
    assert (run.info.status, run.data.tags["tuning.state"]) == ("FINISHED", "completed")


def test_a_damaged_record_holds_up_no_other(job: Job) -> None:
    spooled(job, {0: began(0)}, {1: began(1)})
    (job.spool / Spool(job.spool).names()[0]).write_text('{"0": {"tags"')
    Writer(job).run(news(CLOSE))
    assert set(runs(job)) == {"again", "trial-00001"}


def test_a_traceback_is_an_artifact_and_its_last_line_the_cause(job: Job) -> None:
    cause = "Traceback (most recent call last):\n  ...\nValueError: it broke"
    job.earlier[0] = TrialRecord(number=0, state=State.FAILED, hyperparameters={}, cause=cause), []
    Writer(job).run(news(CLOSE))
    run = runs(job)["trial-00000"]
    assert run.data.tags["tuning.cause"] == "ValueError: it broke"
    assert sweeps.MlflowClient(job.uri).list_artifacts(run.info.run_id)[0].path == "cause.txt"


def test_a_writer_that_is_killed_is_followed_by_another(tracker: Tracker, job: Job) -> None:
    tracker.start()
    tracker._put(0, began(0))
    wait_for("the process starts", writer_processes)
    (process,) = writer_processes()
    os.kill(process, signal.SIGKILL)
    tracker.end(0, State.COMPLETED, None)
    tracker.close("FINISHED", None, None)
    assert (runs(job)["again"].info.status, runs(job)["trial-00000"].info.status) == ("FINISHED", "FINISHED")


def test_a_server_that_is_slow_keeps_nobody_waiting(tracker: Tracker, job: Job) -> None:
    """Here the writer stands still altogether; the driver's records go to the spool all the same."""
    tracker.start()
    tracker._put(0, began(0))
    wait_for("the process starts", writer_processes)
    (process,) = writer_processes()
    os.kill(process, signal.SIGSTOP)
    before = Spool(job.spool).names()
    tracker._put(1, began(1))
    wait_for("the record is on disk", lambda: len(Spool(job.spool).names()) > len(before))
    os.kill(process, signal.SIGCONT)
    tracker.close("FINISHED", None, None)
    assert set(runs(job)) == {"again", "trial-00000", "trial-00001"}


def test_a_writer_that_dies_again_and_again_makes_the_sweep_say_so(
    tracker: Tracker, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # no Python starts
    assert re.search(
        r"has died 3 times.*tuning doctor again --fix", str(tracker.close("FINISHED", None, None).failure)
    )


def test_records_that_cannot_be_kept_make_the_sweep_say_so(tracker: Tracker, job: Job) -> None:
    job.spool.write_text("a file where a folder should be")
    tracker._put(0, began(0))
    assert re.search(
        r"cannot be kept in the sweep's folder: .*File exists",
        str(tracker.close("FINISHED", None, None).failure),
    )
    assert not writer_processes()


def spooled_trials(job: Job) -> list[int]:
    return sorted(number for name in Spool(job.spool).names() for number in Spool(job.spool).read(name))


def hurried(tracker: Tracker, _: pytest.MonkeyPatch) -> None:
    tracker.hurry()


def without_python(_: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")


@pytest.mark.parametrize("give_up", [hurried, without_python])
def test_once_the_writer_is_given_up_every_record_waits(
    tracker: Tracker,
    job: Job,
    monkeypatch: pytest.MonkeyPatch,
    give_up: Callable[[Tracker, pytest.MonkeyPatch], None],
) -> None:
    """Also those that come later than the first ones that wait."""
    monkeypatch.setattr(tracking, "SEND_INTERVAL_S", 0.05)
    give_up(tracker, monkeypatch)
    tracker.start()
    for number in range(6):
        tracker._put(number, began(number))
        wait_for(f"record {number} is on disk", lambda last=number: last in spooled_trials(job))
    tracker.close("KILLED", None, None)
    assert spooled_trials(job) == [0, 1, 2, 3, 4, 5]


def test_what_a_full_disk_did_not_take_is_kept_once_there_is_room(
    tracker: Tracker, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "SEND_INTERVAL_S", 0.05)
    refused = []
    put = Spool.put

    def full(spool: Spool, news: dict[int, Run]) -> None:
        if len(refused) < 2:
            refused.append(sorted(news))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        put(spool, news)

    monkeypatch.setattr(Spool, "put", full)
    without_python(tracker, monkeypatch)
    tracker.start()
    tracker._put(0, began(0))
    wait_for("the disk is full", lambda: refused)
    tracker._put(1, began(1))
    wait_for("there is room again", lambda: len(refused) == 2)
    assert re.search("has died 3 times", str(tracker.close("FINISHED", None, None).failure))
    assert refused[0] == [0] and spooled_trials(job) == [0, 1]


def test_the_end_waits_for_no_writer_that_stands_still(
    tracker: Tracker, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a database that fell silent, or a network disk."""
    monkeypatch.setattr(process_, "STILL_S", 2.0)
    stopped = []

    begin = process_.start

    def start() -> "subprocess.Popen[bytes]":
        process = begin()
        os.kill(process.pid, signal.SIGSTOP)
        stopped.append(process)
        return process

    monkeypatch.setattr(process_, "start", start)
    tracker._queue.put((0, began(0)))
    assert re.search(
        r"stood still for 2 s.*tuning doctor again --fix", str(tracker.close("FINISHED", None, None).failure)
    )
    assert [process.returncode for process in stopped] == [-signal.SIGKILL]
    assert spooled_trials(job) == [0]


def test_a_writer_that_reads_nothing_holds_up_no_record(
    tracker: Tracker, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is told at first, of the trials of earlier drivers, is more than its pipe takes."""
    monkeypatch.setattr(process_, "STILL_S", 1.0)
    monkeypatch.setattr(process_, "start", lambda: python("import time; time.sleep(600)"))
    cause = "x" * 10**6
    tracker.restore([TrialRecord(number=0, state=State.FAILED, hyperparameters={}, cause=cause)], {})
    tracker.start()
    tracker._put(1, began(1))
    wait_for("the record is on disk", lambda: spooled_trials(job) == [1])
    assert re.search("stood still", str(tracker.close("FINISHED", None, None).failure))


def test_a_writer_that_takes_long_is_waited_for_while_it_works(
    tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_, "STILL_S", 2.0)
    busy = """
import pickle, sys, time
from tuning.tracking.messages import Answer
end_s = time.monotonic() + 6
while time.monotonic() < end_s: pass
sys.stdout.buffer.write(pickle.dumps(Answer(failure="it took long")))
"""
    monkeypatch.setattr(process_, "start", lambda: python(busy))
    assert re.search("it took long", str(tracker.close("FINISHED", None, None).failure))


def python(code: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@pytest.mark.parametrize("sent", [0, 10])
def test_a_writer_does_not_outlive_its_driver(job: Job, sent: int) -> None:
    """Also where the driver dies while it writes."""
    process = process_.start()
    assert process.stdin is not None and process.stdout is not None
    pickle.dump(job, process.stdin)
    process.stdin.write(pickle.dumps(SPOOLED)[:sent])
    process.stdin.close()
    assert process.wait(timeout=60) == 1
    process.stdout.close()


def test_the_folder_in_which_it_starts_hides_nothing(
    tracker: Tracker, job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "yaml.py").write_text("raise ImportError('the wrong one')")
    monkeypatch.chdir(tmp_path)
    tracker.close("FINISHED", None, None)
    assert runs(job)["again"].info.status == "FINISHED"
