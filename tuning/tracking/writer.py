"""MLflow: one parent run per sweep, one child run per trial.

Written by the driver in batches, from a thread of its own: nothing in the loop waits for MLflow, and
one `log_batch` of a hundred points costs little more than one point.
"""

import logging
import queue
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tuning.errors import SweepError
from tuning.records import Cohort, EpochReport, Place, State, TrialRecord, TrialSpec
from tuning.spec import SweepSpec
from tuning.tracking import known
from tuning.tracking.client import connect
from tuning.tracking.known import Known
from tuning.tracking.pending import Run, ended_history, lacking
from tuning.tracking.stores import Store, store_of

logger = logging.getLogger(__name__)

FLUSH_INTERVAL_S = 2.0
GIVE_UP_S = 60.0
"""How long the end of a sweep waits for a tracking server that is away."""


class Tracker:
    """A `dispatch.Recorder` that writes to MLflow; `start` it, and `close` it at the end."""

    def __init__(self, spec: SweepSpec, experiment: str, uri: str, home: Path, folder: str) -> None:
        self._spec = spec
        self._experiment = experiment
        self._uri = uri
        self._home = home
        self._folder = folder
        self._queue: queue.SimpleQueue[tuple[int, Run] | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._write_all, name="mlflow-writer", daemon=True)
        self._client: Any = None
        self._store: Store | None = None
        self._known: Known | None = None
        """None until it was read, and after a failure: what was written then is uncertain."""
        self._begun: set[int] = set()
        """Trials whose run is RUNNING and has its params."""
        self._earlier: dict[int, tuple[TrialRecord, list[dict[str, float]]]] = {}
        self._ends: dict[int, State] = {}
        """How trials ended under this driver, which their records in `_earlier` do not know."""

    def restore(self, trials: Iterable[TrialRecord], histories: dict[int, list[dict[str, float]]]) -> None:
        """Name the trials of earlier drivers: what MLflow lacks of them is written.

        A driver that died, or whose server was away, has told the study more than MLflow.
        """
        self._earlier = {trial.number: (trial, histories.get(trial.number, [])) for trial in trials}

    def start(self) -> None:
        self._thread.start()

    def begin(self, trial: TrialSpec, cohort: Cohort) -> None:
        self._queue.put((trial.number, Run(trial, {"tuning.cohort": cohort.id})))

    def placed(self, place: Place, gpus: str) -> None:
        """Note where a trial runs."""
        tags = {
            "tuning.host": place.where.partition(",")[0],
            "tuning.gpus": gpus,
            "tuning.cohort": place.cohort,
            "tuning.stack": f"{place.slot + 1} of {place.width}",
        }
        self._queue.put((place.trial, Run(tags=tags)))

    def epoch(self, report: EpochReport) -> None:
        now_ms = int(time.time() * 1000)
        points = {(key, report.epoch): (value, now_ms) for key, value in report.metrics.items()}
        self._queue.put((report.trial, Run(metrics=points)))

    def end(self, number: int, state: State, cause: str | None) -> None:
        self._ends[number] = state
        tags = {"tuning.cause": cause[-5000:]} if cause else {}
        self._queue.put((number, Run(tags=tags, state=state)))

    def close(self, status: str, best: TrialRecord | None, test: dict[str, float] | None) -> None:
        """Write what is left, then end the parent run with `status`.

        Raises:
            SweepError: when MLflow could not be written.
        """
        if not self._thread.is_alive() and self._failure is None:
            self.start()
        self._queue.put(None)
        self._thread.join()
        if self._failure is None:
            try:
                self._end_parent(status, best, test)
            except Exception as error:
                self._failure = error
        if self._failure is not None:
            raise SweepError(
                f"MLflow at {self._uri} could not be written: {self._failure}. "
                "Study and checkpoints are complete; run the same command again once it is back."
            ) from self._failure

    def _write_all(self) -> None:
        """The thread: gather what comes, write it every few seconds, until `close`."""
        pending: dict[int, Run] = {}
        is_open, failing_since_s = True, 0.0
        while is_open or pending:
            is_open = self._gather(pending) and is_open
            try:
                self._write_pending(pending)
                failing_since_s = 0.0
            except Exception as error:  # the server is away: no trial fails for it, what is pending waits
                logger.warning("MLflow cannot be written: %s", error, exc_info=True)
                self._known = None
                failing_since_s = failing_since_s or time.monotonic()
                if not is_open and time.monotonic() - failing_since_s > GIVE_UP_S:
                    self._failure = error
                    return
                time.sleep(1)

    def _gather(self, pending: dict[int, Run]) -> bool:
        """Move all that waits into `pending`, merged per trial; return False once it was closed."""
        end_s = time.monotonic() + FLUSH_INTERVAL_S
        while (left_s := end_s - time.monotonic()) > 0:
            try:
                item = self._queue.get(timeout=left_s)
            except queue.Empty:
                break
            if item is None:
                return False
            number, news = item
            pending.setdefault(number, Run()).add(news)
        return True

    def _write_pending(self, pending: dict[int, Run]) -> None:
        runs = self._open(pending)
        assert self._store is not None
        self._store.write(runs, pending, self._begun)

    def _open(self, pending: dict[int, Run]) -> Known:
        """Read what MLflow has of the sweep, once, and add to `pending` what it lacks."""
        if self._known is not None:
            return self._known
        self._client = self._client or connect(self._uri)
        self._store = store_of(self._client, self._spec, self._folder)
        found = known.read(self._client, self._spec, self._experiment, self._uri, self._home)
        for number, (trial, history) in self._earlier.items():
            if number in found.ended:
                continue
            history = history or ended_history(trial, self._folder, str(self._spec.metric))
            run_id = found.run_ids.get(number)
            has = (
                known.logged(self._client, run_id, {key for row in history for key in row})
                if run_id
                else set()
            )
            missing = lacking(trial, history, has)
            missing.state = missing.state or self._ends.get(number)
            missing.add(pending.get(number, Run()))
            pending[number] = missing
        self._known = found
        return found

    def _end_parent(self, status: str, best: TrialRecord | None, test: dict[str, float] | None) -> None:
        from mlflow.entities import Metric, RunTag

        pending: dict[int, Run] = {}
        parent_id = self._open(pending).parent_id
        self._write_pending(pending)
        if best is not None and best.value is not None:
            now_ms = int(time.time() * 1000)
            values = {str(self._spec.metric): best.value, **(test or {})}
            tags = {
                "tuning.best_trial": str(best.number),
                "tuning.best_run_id": self._open(pending).run_ids.get(best.number, ""),
            }
            self._client.log_batch(
                parent_id,
                [Metric(key, value, now_ms, 0) for key, value in values.items()],
                tags=[RunTag(key, value) for key, value in tags.items()],
            )
        self._client.set_terminated(parent_id, status=status)
