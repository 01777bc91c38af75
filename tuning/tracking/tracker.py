"""MLflow as the driver sees it: what happens to trials goes to a process of its own, which writes it.

Importing MLflow takes two seconds and writing a trial some milliseconds, in which no other thread of a
Python process gets on: the driver would keep its workers waiting.
"""

import contextlib
import logging
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tuning.errors import SweepError
from tuning.records import Cohort, EpochReport, Place, State, TrialRecord, TrialSpec
from tuning.spec import SweepSpec
from tuning.tracking import writer
from tuning.tracking.pending import History, Run, cause_tags, place_tags
from tuning.tracking.spool import Spool

logger = logging.getLogger(__name__)

SEND_INTERVAL_S = 2.0

MAX_DEATHS = 3
"""Processes that write, one after the other died young, before it is given up."""

YOUNG_S = 60.0

HURRY_S = 5.0
"""How long MLflow is still waited for after a second Ctrl-C."""


class Tracker:
    """A `telling.Recorder` that has MLflow written; `start` it, and `close` it at the end."""

    def __init__(self, spec: SweepSpec, experiment: str, uri: str, home: Path, folder: str) -> None:
        self._job = writer.Job(spec, experiment, uri, home, folder)
        self._queue: queue.SimpleQueue[tuple[int, Run] | writer.Close] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send_all, name="mlflow", daemon=True)
        self._failure: str | None = None
        self._spool = Spool(self._job.spool)
        self._process: subprocess.Popen[bytes] | None = None
        self._is_hurried = False

    def restore(self, trials: Iterable[TrialRecord], histories: dict[int, History]) -> None:
        """Name the trials of earlier drivers: what MLflow lacks of them is written.

        A driver that died, or whose server was away, has told the study more than MLflow.
        """
        self._job.earlier.update({trial.number: (trial, histories.get(trial.number, [])) for trial in trials})

    def start(self) -> None:
        self._thread.start()

    def begin(self, trial: TrialSpec, cohort: Cohort) -> None:
        self._put(trial.number, Run(trial, {"tuning.cohort": cohort.id}))

    def placed(self, place: Place) -> None:
        """Note where a trial runs."""
        self._put(place.trial, Run(tags=place_tags(place.where, place.cohort, place.slot, place.width)))

    def epoch(self, report: EpochReport) -> None:
        now_ms = int(time.time() * 1000)
        points = {(key, report.epoch): (value, now_ms) for key, value in report.metrics.items()}
        self._put(report.trial, Run(metrics=points))

    def end(self, number: int, state: State, cause: str | None) -> None:
        self._put(number, Run(tags=cause_tags(cause), state=state, cause=cause))

    def _put(self, number: int, run: Run) -> None:
        if self._thread.ident is None or self._thread.is_alive():
            self._queue.put((number, run))

    def hurry(self) -> None:
        """Let MLflow be written within `HURRY_S`: what is not by then waits in the spool."""
        self._is_hurried = True
        timer = threading.Timer(HURRY_S, self._stop_writing)
        timer.daemon = True
        timer.start()

    def _stop_writing(self) -> None:
        process = self._process
        if process is not None:
            process.kill()

    def close(self, status: str, best: TrialRecord | None, test: dict[str, float] | None) -> None:
        """Have written what is left, then the parent run ended with `status`.

        Raises:
            SweepError: when MLflow could not be written.
        """
        if self._thread.ident is None:
            self.start()
        self._queue.put(writer.Close(status, best, test))
        self._thread.join()
        if self._failure is not None and not self._is_hurried:
            raise SweepError(
                f"MLflow at {self._job.uri} could not be written: {self._failure}. Study and checkpoints are "
                f"kept, and so is what MLflow lacks: `tuning resume {self._job.spec.name}`, or "
                f"`tuning doctor {self._job.spec.name} --fix`, writes it once that is mended."
            )

    def _send_all(self) -> None:
        """The thread: what comes goes to the spool every few seconds, until `close`."""
        try:
            close = self._have_written()
            while close is None:  # nobody writes any more: the next driver will have it written
                pending, close = self._gather()
                if pending and not self._spooled(pending):
                    return
        except Exception as error:  # here nobody else hears of it
            logger.exception("what is to be written to MLflow cannot be handed on")
            self._failure = f"{type(error).__name__}: {error}"

    def _have_written(self) -> writer.Close | None:
        """Have a process write what is in the spool; return the `Close`, None if it was given up before.

        A process that dies is followed by another one, which finds in the spool what was not written.
        """
        close: writer.Close | None = None
        deaths = 0
        while deaths < MAX_DEATHS and not self._is_hurried:
            start_s = time.monotonic()
            try:
                self._process = process = _start()
                assert process.stdin is not None and process.stdout is not None
                pickle.dump(self._job, process.stdin)
                while close is None:
                    pending, close = self._gather()
                    if pending and not self._spooled(pending):
                        return close
                    pickle.dump(writer.SPOOLED, process.stdin)
                    process.stdin.flush()
                pickle.dump(close, process.stdin)
                process.stdin.flush()
                self._failure = pickle.load(process.stdout)
                return close
            except (OSError, EOFError, pickle.UnpicklingError) as error:  # a broken pipe, half an answer
                logger.warning("the process that writes MLflow has ended: %s", error)
                deaths = deaths + 1 if time.monotonic() - start_s < YOUNG_S else 1
            finally:
                _end(self._process)
                self._process = None
        self._failure = f"the process that writes it has died {deaths} times"
        return close

    def _spooled(self, news: dict[int, Run]) -> bool:
        try:
            self._spool.put(news)
        except OSError as error:
            self._failure = f"its records cannot be kept in the sweep's folder: {error}"
        return self._failure is None

    def _gather(self) -> tuple[dict[int, Run], writer.Close | None]:
        """Wait a while; return all that came, merged per trial, and whether it was the last."""
        pending: dict[int, Run] = {}
        end_s = time.monotonic() + SEND_INTERVAL_S
        while (left_s := end_s - time.monotonic()) > 0:
            try:
                item = self._queue.get(timeout=left_s)
            except queue.Empty:
                break
            if isinstance(item, writer.Close):
                return pending, item
            number, news = item
            pending.setdefault(number, Run()).add(news)
        return pending, None


def _end(process: "subprocess.Popen[bytes] | None") -> None:
    if process is not None:
        process.kill()
        with contextlib.suppress(OSError):  # what it was not told, because it is gone
            process.communicate()


def _start() -> "subprocess.Popen[bytes]":
    """Start the process: in a session of its own, so that Ctrl-C reaches the driver alone.

    With -P the current folder hides none of its modules.
    """
    here = str(Path(__file__).parents[2])
    environment: dict[str, Any] = {
        **os.environ,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        # A run that is asked for again, because the answer was late, would be made twice: the writer
        # itself tries again, once it has looked what is there.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "20"),
        "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH")))),
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "tuning.tracking.writer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
