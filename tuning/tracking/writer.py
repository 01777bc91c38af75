"""The process that writes MLflow: one parent run per sweep, one child run per trial.

It reads from its standard input, pickled by the driver: a `Job`, then a word whenever there is news in the
sweep's spool, then a `Close`; it gives an `Answer`. Where its input ends without a
`Close`, the driver has died: so does it, at once, since the sweep's next driver will have MLflow written.
"""

import contextlib
import errno
import gc
import logging
import math
import os
import pickle
import queue
import sys
import threading
import time
from typing import Any, BinaryIO

from tuning import paths
from tuning.tracking import known, registry
from tuning.tracking.champion import Champion
from tuning.tracking.client import connect, put_file
from tuning.tracking.known import Known
from tuning.tracking.messages import Answer, Close, Job, News
from tuning.tracking.pending import Run, ended_history, lacking
from tuning.tracking.spool import Spool
from tuning.tracking.stores import Store, store_of

logger = logging.getLogger("tuning.tracking.writer")  # also as `__main__`

GIVE_UP_S = 60.0
"""How long the end of a sweep waits for a tracking server that is away."""

RETRY_S = 1.0

LONGEST_RETRY_S = 30.0
"""A server that stays away is asked ever more seldom, up to this; at the end of a sweep each second."""


class Writer:
    """Writes what comes, as it comes; what could not be written waits, also for a server that is away."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._client: Any = None
        self._store: Store | None = None
        self._known: Known | None = None
        """None until it was read, and after a failure: what was written then is uncertain."""
        self._pending: dict[int, Run] = {}
        self._spool = Spool(job.paths.spool)
        self._taken: set[str] = set()
        """Files of the spool that are in `_pending`, and those that are damaged."""
        self._damaged: set[str] = set()
        self._begun: set[int] = set()
        """Trials whose run is RUNNING and has its params."""
        self._has: dict[int, set[tuple[str, int]]] = {}
        """Points that runs of earlier drivers' trials have: what was trained again is told again."""
        self._is_uncertain = not job.is_first
        """Whether what was asked for may have been done although it was not answered."""
        self._ends = dict(job.ends)
        """How trials ended under this driver, which their records in `Job.earlier` do not know."""
        self._retry_s = RETRY_S
        self._next_s = -math.inf
        """When MLflow is asked again after a failure."""
        self._said = ""

    def run(self, news: "queue.SimpleQueue[News]") -> Answer:
        """Write until a `Close` has come and is written.

        Raises:
            Exception: whatever has stood against writing for `GIVE_UP_S` after that, a full disk at once.
        """
        close: Close | None = None
        closed_s = 0.0
        with contextlib.suppress(Exception):  # seconds of imports, while the first news come
            self._client = connect(self._job.uri)
        self._take()
        while True:
            # The first news first: they hold what the sweep's last driver has trained and not yet told.
            with contextlib.suppress(queue.Empty):
                found = news.get(timeout=RETRY_S if self._pending or close else None)
                if isinstance(found, Close):
                    close, closed_s = found, time.monotonic()
                self._take()  # also with a `Close`, before which the last news went to the spool unsaid
            if close is None and time.monotonic() < self._next_s:
                continue
            try:
                self._write()
                if close is not None:
                    runs = self._end_parent(close)
                    return Answer() if close.champion is None else self._register(close.champion, runs)
            except Exception as error:  # the server is away: no trial fails for it, what is pending waits
                self._failed(error)
                if close is not None and (_is_full(error) or time.monotonic() - closed_s > GIVE_UP_S):
                    raise

    def _failed(self, error: Exception) -> None:
        """Note that MLflow could not be written; the log of a night without it stays small."""
        self._known, self._is_uncertain = None, True
        self._next_s = time.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, LONGEST_RETRY_S)
        kind = type(error).__name__  # a message has addresses of objects in it, new each time
        logger.warning("MLflow cannot be written: %s", _short(error), exc_info=kind != self._said)
        self._said = kind

    def _take(self) -> None:
        """Add what is new in the spool to what is pending."""
        for name in sorted(set(self._spool.names()) - self._taken - self._damaged):
            try:
                news = self._spool.read(name)
            except ValueError as error:  # the study, and the trials' cards, know most of it too
                logger.warning("%s", error)
                self._damaged.add(name)
                continue
            self._taken.add(name)
            for number, run in news.items():
                self._pending.setdefault(number, Run()).add(run)
                if run.state is not None:
                    self._ends[number] = run.state

    def _write(self) -> Known:
        runs = self._open()
        assert self._store is not None
        told = {number: set(run.metrics) for number, run in self._pending.items() if number in self._has}
        for number in told:
            pending = self._pending[number]
            pending.metrics = {k: v for k, v in pending.metrics.items() if k not in self._has[number]}
        self._store.write(runs, self._pending, self._begun)
        for number, points in told.items():
            self._has[number] |= points
        self._spool.remove(self._taken)
        self._taken.clear()
        self._retry_s, self._said = RETRY_S, ""
        return runs

    def _open(self) -> Known:
        """Read what MLflow has of the sweep, once, and add to what is pending what it lacks."""
        if self._known is not None:
            return self._known
        job = self._job
        self._client = self._client or connect(job.uri)
        self._store = store_of(self._client, job.spec, job.folder)
        found = _runs(self._client, job)
        for number, (trial, history) in job.earlier.items():
            if number in found.ended and not job.again:
                pending = self._pending.get(number)
                if pending is not None:  # told again after a death: it has not begun anew
                    pending.state = trial.state if trial.state.has_ended else pending.state
                continue
            history = history or ended_history(trial, job.folder, str(job.spec.metric))
            run_id = found.run_ids.get(number)
            self._has[number] = known.logged(self._client, run_id) if run_id else set()
            missing = lacking(trial, history, self._has[number])
            missing.state = missing.state or self._ends.get(number)
            missing.add(self._pending.get(number, Run()))
            if trial.state.has_ended:  # whatever else the spool has kept of it
                missing.state = trial.state
            self._pending[number] = missing
        self._known = found
        return found

    def _end_parent(self, close: Close) -> Known:
        runs, best = self._write(), close.best
        if self._is_uncertain:  # what was made twice is found now
            runs = _runs(self._client, self._job)
        if best is not None and best.value is not None:
            known.tell_best(self._client, runs, self._job.spec, best, close.metrics or {}, close.confirmation)
        if close.report is not None:
            try:
                put_file(self._client, runs.parent_id, close.report, paths.REPORT)
            except Exception as error:  # nothing depends on it: `tuning report` puts it there
                logger.warning("the report is not in MLflow: %s", error)
        self._client.set_terminated(runs.parent_id, status=close.status)
        return runs

    def _register(self, champion: Champion, runs: Known) -> Answer:
        """Register the best model; no sweep fails for a server that has no registry."""
        try:
            run_id = runs.run_ids[champion.trial]
            found = registry.register(self._client, self._job.spec, champion, run_id)
        except Exception as error:  # of MLflow and of whatever stands behind it
            logger.warning("the best model cannot be registered", exc_info=True)
            return Answer(unregistered=_short(error))
        return Answer(registered=found)


def _short(error: Exception) -> str:
    return str(error).partition("\n[SQL")[0] or type(error).__name__


def _runs(client: Any, job: Job) -> Known:
    return known.read(client, job.spec, job.experiment, job.uri, job.home, job.began_ms, job.is_first)


def _is_full(error: Exception) -> bool:
    """Whether a disk is full, by whatever word: nobody mends that within the minute that a server gets."""
    return any(word in str(error) for word in ("disk is full", os.strerror(errno.ENOSPC)))


def _read(source: BinaryIO, news: "queue.SimpleQueue[News]") -> None:
    """The thread that reads: apart, so that the driver never waits for MLflow."""
    try:
        while True:
            found = pickle.load(source)
            news.put(found)
            if isinstance(found, Close):
                return
    except BaseException:  # the driver has died, in the middle of a word perhaps
        os._exit(1)


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print shall not be taken for the answer
    job = pickle.load(sys.stdin.buffer)
    news: queue.SimpleQueue[News] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, news), daemon=True).start()
    try:
        answer = Writer(job).run(news)
    except Exception as error:  # the driver says it
        answer = Answer(failure=_short(error))
    pickle.dump(answer, answers)
    answers.close()
    gc.freeze()  # the driver waits for this exit, which looks for garbage for half a second


if __name__ == "__main__":
    main()
