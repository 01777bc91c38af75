"""The process that writes MLflow: killed, slow or never up, it loses no record and keeps nobody waiting."""

import errno
import os
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tracking.jobs import began, runs, wait_for
from tuning.records import State, TrialRecord
from tuning.tracking import process as process_
from tuning.tracking import tracker as tracking
from tuning.tracking.messages import SPOOLED, Job
from tuning.tracking.pending import Run
from tuning.tracking.spool import Spool
from tuning.tracking.tracker import Tracker


def writer_processes() -> set[int]:
    """Return the ids of this process's children that write MLflow."""
    command = ["pgrep", "-P", str(os.getpid()), "-f", "tuning[.]tracking[.]writer"]
    return set(map(int, subprocess.run(command, capture_output=True, text=True).stdout.split()))


def started(tracker: Tracker) -> int:
    """Have the first record told; return the id of the process that comes up to write it."""
    tracker.start()
    tracker._put(0, began(0))
    wait_for("the process starts", writer_processes)
    (process,) = writer_processes()
    return process


def test_a_writer_that_is_killed_is_followed_by_another(tracker: Tracker, job: Job) -> None:
    process = started(tracker)
    os.kill(process, signal.SIGKILL)
    tracker.end(0, State.COMPLETED, None)
    tracker.close("FINISHED", None, None)
    assert (runs(job)["again"].info.status, runs(job)["trial-00000"].info.status) == ("FINISHED", "FINISHED")


def test_a_server_that_is_slow_keeps_nobody_waiting(tracker: Tracker, job: Job) -> None:
    """Here the writer stands still altogether; the driver's records go to the spool all the same."""
    process = started(tracker)
    os.kill(process, signal.SIGSTOP)
    before = Spool(job.paths.spool).names()
    tracker._put(1, began(1))
    wait_for("the record is on disk", lambda: len(Spool(job.paths.spool).names()) > len(before))
    os.kill(process, signal.SIGCONT)
    tracker.close("FINISHED", None, None)
    assert set(runs(job)) == {"again", "trial-00000", "trial-00001"}


def test_a_writer_that_dies_again_and_again_makes_the_sweep_say_so(
    tracker: Tracker, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # no Python starts
    assert re.search(
        r"has died 3 times.*tuning doctor again.* --fix", str(tracker.close("FINISHED", None, None).failure)
    )


def test_records_that_cannot_be_kept_make_the_sweep_say_so(tracker: Tracker, job: Job) -> None:
    job.paths.spool.write_text("a file where a folder should be")
    tracker._put(0, began(0))
    assert re.search(
        r"cannot be kept in the sweep's folder: .*File exists",
        str(tracker.close("FINISHED", None, None).failure),
    )
    assert not writer_processes()


def spooled_trials(job: Job) -> list[int]:
    return sorted(
        number for name in Spool(job.paths.spool).names() for number in Spool(job.paths.spool).read(name)
    )


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
        r"stood still for 2 s.*tuning doctor again.* --fix",
        str(tracker.close("FINISHED", None, None).failure),
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
