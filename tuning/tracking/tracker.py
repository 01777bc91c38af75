"""MLflow as the driver sees it: what happens to trials goes to a process of its own, which writes it.

Importing MLflow takes two seconds and writing a trial some milliseconds, in which no other thread of a
Python process gets on: the driver would keep its workers waiting.
"""

import logging
import pickle
import queue
import subprocess
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tuning.confirmed import Confirmation
from tuning.errors import without_passwords
from tuning.records import Cohort, EpochReport, Place, State, TrialRecord, TrialSpec
from tuning.spec import SweepSpec
from tuning.tracking import messages, process
from tuning.tracking.champion import Champion
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
        self._job = messages.Job(spec, experiment, uri, home, folder, began_ms=int(time.time() * 1000))
        self._queue: queue.SimpleQueue[tuple[int, Run] | messages.Close] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send_all, name="mlflow", daemon=True)
        self._failure: str | None = None
        self._news: dict[int, Run] = {}
        """What has come and is not in the spool yet, merged per trial."""
        self._unkept: str | None = None
        """Why the spool has not taken it."""
        self._answer = messages.Answer()
        self._spool = Spool(self._job.paths.spool)
        self._process: subprocess.Popen[bytes] | None = None
        self._is_hurried = False

    def restore(self, trials: Iterable[TrialRecord], histories: dict[int, History]) -> None:
        """Name the trials of earlier drivers: what MLflow lacks of them is written.

        A driver that died, or whose server was away, has told the study more than MLflow.
        """
        self._job.earlier.update({trial.number: (trial, histories.get(trial.number, [])) for trial in trials})

    def start(self) -> None:
        self._spool.tidy()
        self._thread.start()

    def begin(self, trial: TrialSpec, cohort: Cohort) -> None:
        self._put(trial.number, Run(trial, {"tuning.cohort": cohort.id}))

    def placed(self, place: Place) -> None:
        """Note where a trial runs."""
        tags = place_tags(place.where, place.cohort, place.slot, place.width)
        self._put(place.trial, Run(tags=tags, began_ms=int(place.span.begin_s * 1000)))

    def epoch(self, report: EpochReport) -> None:
        now_ms = int(time.time() * 1000)
        points = {(key, report.epoch): (value, now_ms) for key, value in report.metrics.items()}
        self._put(report.trial, Run(metrics=points))

    def end(self, number: int, state: State, cause: str | None) -> None:
        now_ms = int(time.time() * 1000)
        self._put(number, Run(tags=cause_tags(cause), state=state, cause=cause, ended_ms=now_ms))

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
        running = self._process
        if running is not None:
            running.kill()

    def close(
        self,
        status: str,
        best: TrialRecord | None,
        metrics: dict[str, float] | None,
        report: Path | None = None,
        champion: Champion | None = None,
        confirmation: Confirmation | None = None,
    ) -> messages.Answer:
        """Have written what is left, then the parent run ended with `status`, then the best model registered.

        Args:
            metrics: of the parent, beside the best value: of the best model on the test split, hours.
            report: a file that becomes an artifact of the parent.
            confirmation: what fresh seeds made of the best trials, if they were trained again.

        Returns what has become of it; its `failure` also says the way out.
        """
        if self._thread.ident is None:
            self.start()
        self._queue.put(messages.Close(status, best, metrics, report, champion, confirmation))
        self._thread.join()
        if self._failure is None or self._is_hurried:
            return replace(self._answer, failure=None)
        where = self._job.paths
        return replace(
            self._answer,
            failure=f"MLflow at {without_passwords(self._job.uri)} could not be written: "
            f"{without_passwords(self._failure)}. Study and checkpoints "
            f"are kept, and so is what MLflow lacks: `{where.command('resume')}`, or "
            f"`{where.command('doctor')} --fix`, writes it once that is mended.",
        )

    def _send_all(self) -> None:
        """The thread: what comes goes to the spool every few seconds, until `close`."""
        try:
            close = self._have_written()
            while close is None:  # nobody writes any more: the next driver will have it written
                close = self._gather()
            self._failure = self._unkept or self._failure
        except Exception as error:  # here nobody else hears of it
            logger.exception("what is to be written to MLflow cannot be handed on")
            self._failure = f"{type(error).__name__}: {error}"

    def _have_written(self) -> messages.Close | None:
        """Have a process write what is in the spool; return the `Close`, None if it was given up before.

        A process that dies is followed by another one, which finds in the spool what was not written.
        """
        close: messages.Close | None = None
        deaths = 0
        while deaths < MAX_DEATHS and not self._is_hurried:
            start_s = time.monotonic()
            try:
                self._process = running = process.start()
                process.tell(running, replace(self._job, is_first=not deaths and not self._job.earlier))
                while close is None:
                    close = self._gather()
                    if close is None:
                        process.tell(running, messages.SPOOLED)
                if self._unkept is None:  # else its runs would end without it
                    process.tell(running, close)
                    self._answer = process.answer(running)
                    self._failure = self._answer.failure
                return close
            except TimeoutError as error:
                self._failure = str(error)
                return close
            except (OSError, EOFError, pickle.UnpicklingError) as error:  # a broken pipe, half an answer
                logger.warning("the process that writes MLflow has ended: %s", error)
                deaths = deaths + 1 if time.monotonic() - start_s < YOUNG_S else 1
            finally:
                process.end(self._process)
                self._process = None
        self._failure = f"the process that writes it has died {deaths} times"
        return close

    def _gather(self) -> messages.Close | None:
        """Wait a while, then put all that came into the spool; return the `Close` if that came."""
        close = None
        end_s = time.monotonic() + SEND_INTERVAL_S
        while close is None and (left_s := end_s - time.monotonic()) > 0:
            try:
                item = self._queue.get(timeout=left_s)
            except queue.Empty:
                break
            if isinstance(item, messages.Close):
                close = item
            else:
                number, news = item
                self._news.setdefault(number, Run()).add(news)
        self._spool_news()
        return close

    def _spool_news(self) -> None:
        if not self._news:
            return
        try:
            self._spool.put(self._news)
            self._job.ends.update({n: run.state for n, run in self._news.items() if run.state is not None})
            self._news, self._unkept = {}, None
        except OSError as error:  # tried again with what comes next: there may be room by then
            self._unkept = f"its records cannot be kept in the sweep's folder: {error}"
