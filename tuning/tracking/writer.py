"""MLflow: one parent run per sweep, one child run per trial.

Written by the driver in batches, from a thread of its own: nothing in the loop waits for MLflow, and
one `log_batch` of a hundred points costs little more than one point.
"""

import logging
import queue
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuning import paths, storage
from tuning.errors import SweepError
from tuning.records import Cohort, EpochReport, State, TrialRecord, TrialSpec
from tuning.spec import SweepSpec
from tuning.tracking.client import connect, default_uri, find_runs

logger = logging.getLogger(__name__)

STATUS = {
    State.COMPLETED: "FINISHED",
    State.PRUNED: "KILLED",
    State.DIVERGED: "FAILED",
    State.FAILED: "FAILED",
    State.INTERRUPTED: "SCHEDULED",
}

FLUSH_INTERVAL_S = 2.0
GIVE_UP_S = 60.0
"""How long the end of a sweep waits for a tracking server that is away."""

MAX_METRICS = 1000
"""MLflow's limit for one `log_batch`."""


@dataclass(slots=True)
class _Run:
    """What is still to be written of one trial's run."""

    trial: TrialSpec | None = None
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)
    """(key, value, timestamp in ms, step)"""
    state: State | None = None


class Tracker:
    """A `dispatch.Recorder` that writes to MLflow; `start` it, and `close` it at the end."""

    def __init__(self, spec: SweepSpec, experiment: str, uri: str, home: Path, folder: str) -> None:
        self._spec = spec
        self._experiment = experiment
        self._uri = uri
        self._home = home
        self._folder = folder
        self._queue: queue.SimpleQueue[tuple[int, _Run] | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._write_all, name="mlflow-writer", daemon=True)
        self._client: Any = None
        self._experiment_id = ""
        self._parent_id = ""
        self._run_ids: dict[int, str] = {}
        self._begun: set[int] = set()
        """Trials whose run is RUNNING and has its params."""

    def start(self) -> None:
        self._thread.start()

    def begin(self, trial: TrialSpec, cohort: Cohort) -> None:
        self._queue.put((trial.number, _Run(trial, {"tuning.cohort": str(len(cohort.members))})))

    def placed(self, worker: dict[str, Any], reports: Iterable[EpochReport]) -> None:
        """Note where a trial runs."""
        for number in {report.trial for report in reports}:
            tags = {"tuning.host": worker["host"], "tuning.gpus": worker["gpus"]}
            self._queue.put((number, _Run(tags=tags)))

    def epoch(self, report: EpochReport) -> None:
        now_ms = int(time.time() * 1000)
        points = [(key, value, now_ms, report.epoch) for key, value in report.metrics.items()]
        self._queue.put((report.trial, _Run(metrics=points)))

    def end(self, number: int, state: State, cause: str | None) -> None:
        tags = {"tuning.cause": cause[-5000:]} if cause else {}
        self._queue.put((number, _Run(tags=tags, state=state)))

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
        pending: dict[int, _Run] = {}
        is_open, failing_since_s = True, 0.0
        while is_open or pending:
            is_open = self._gather(pending) and is_open
            try:
                self._open()
                for number in list(pending):
                    self._write(number, pending[number])
                    del pending[number]
                failing_since_s = 0.0
            except Exception as error:  # the server is away: no trial fails for it, what is pending waits
                logger.warning("MLflow cannot be written: %s", error, exc_info=True)
                failing_since_s = failing_since_s or time.monotonic()
                if not is_open and time.monotonic() - failing_since_s > GIVE_UP_S:
                    self._failure = error
                    return
                time.sleep(1)

    def _gather(self, pending: dict[int, _Run]) -> bool:
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
            run = pending.setdefault(number, _Run())
            run.trial = news.trial or run.trial
            run.tags |= news.tags
            run.metrics += news.metrics
            run.state = news.state or run.state
        return True

    def _open(self) -> None:
        """Find or make the experiment, the parent run and what runs there are; once."""
        if self._parent_id:
            return
        self._client = connect(self._uri)
        self._experiment_id = self._find_experiment()
        sweep = {"tuning.sweep": str(self._spec.name), "tuning.sweep_id": str(self._spec.id)}
        parent_id = ""
        for run in find_runs(self._client, self._experiment_id, str(self._spec.id)):
            if run.data.tags.get("tuning.kind") == "sweep":
                parent_id = run.info.run_id
            else:
                self._run_ids[int(run.data.tags["tuning.trial"])] = run.info.run_id
        if parent_id:
            self._client.update_run(parent_id, status="RUNNING")
        else:
            tags = {**sweep, "tuning.kind": "sweep", "mlflow.note.content": _description(self._spec)}
            run = self._client.create_run(self._experiment_id, tags=tags, run_name=self._spec.name)
            parent_id = run.info.run_id
            spec_file = paths.SweepPaths(self._home, str(self._spec.name)).spec
            self._client.log_artifact(parent_id, str(spec_file))
        self._parent_id = parent_id

    def _find_experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(self._experiment)
        if found is None:
            is_local = self._uri == default_uri(self._home)
            location = paths.tracking_artifacts(self._home).as_uri() if is_local else None
            tags = {"mlflow.experimentKind": "custom_model_development"}
            try:
                made: str = self._client.create_experiment(self._experiment, location, tags)
                return made
            except MlflowException:  # another sweep of this model was quicker
                found = self._client.get_experiment_by_name(self._experiment)
        if found.lifecycle_stage != "active":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _write(self, number: int, run: _Run) -> None:
        """Write what is pending of one trial: its run, then its numbers, then its end."""
        from mlflow.entities import Metric, Param, RunTag

        params = []
        if number not in self._run_ids:
            made = self._client.create_run(
                self._experiment_id, tags=self._trial_tags(number), run_name=paths.trial_name(number)
            )
            self._run_ids[number] = made.info.run_id
        elif number not in self._begun:
            self._client.update_run(self._run_ids[number], status="RUNNING")
        run_id = self._run_ids[number]
        if run.trial is not None and number not in self._begun:
            params = [Param(key, str(value)) for key, value in run.trial.hyperparameters.items()]
        state = run.state or State.RUNNING
        tags = [RunTag(key, value) for key, value in {**run.tags, "tuning.state": state.value}.items()]
        first, *rest = _chunks(run.metrics)
        self._client.log_batch(run_id, [Metric(*point) for point in first], params, tags)
        self._begun.add(number)
        for chunk in rest:
            self._client.log_batch(run_id, [Metric(*point) for point in chunk])
        if run.state is not None:
            self._upload_checkpoint(run_id, number)
            self._client.set_terminated(run_id, status=STATUS[run.state])

    def _trial_tags(self, number: int) -> dict[str, str]:
        return {
            "mlflow.parentRunId": self._parent_id,
            "tuning.kind": "trial",
            "tuning.sweep": str(self._spec.name),
            "tuning.sweep_id": str(self._spec.id),
            "tuning.trial": str(number),
        }

    def _upload_checkpoint(self, run_id: str, number: int) -> None:
        """Log a trial's checkpoint and its card; a trial without one finite epoch has none."""
        files = [paths.checkpoint_file(self._folder, number), paths.card_file(self._folder, number)]
        if not all(storage.exists(file) for file in files):
            return
        with tempfile.TemporaryDirectory() as scratch:
            for file in files:
                local = file
                if "://" in file:
                    local = f"{scratch}/{file.rpartition('/')[2]}"
                    Path(local).write_bytes(storage.read(file))
                self._client.log_artifact(run_id, local, "checkpoint")

    def _end_parent(self, status: str, best: TrialRecord | None, test: dict[str, float] | None) -> None:
        from mlflow.entities import Metric, RunTag

        self._open()
        if best is not None and best.value is not None:
            now_ms = int(time.time() * 1000)
            values = {str(self._spec.metric): best.value, **(test or {})}
            tags = {
                "tuning.best_trial": str(best.number),
                "tuning.best_run_id": self._run_ids.get(best.number, ""),
            }
            self._client.log_batch(
                self._parent_id,
                [Metric(key, value, now_ms, 0) for key, value in values.items()],
                tags=[RunTag(key, value) for key, value in tags.items()],
            )
        self._client.set_terminated(self._parent_id, status=status)


def _chunks(metrics: list[Any]) -> list[list[Any]]:
    return [metrics[i : i + MAX_METRICS] for i in range(0, len(metrics), MAX_METRICS)] or [[]]


def _description(spec: SweepSpec) -> str:
    return (
        f"Search of `{spec.model}` on `{spec.data}`. The best model:\n\n"
        f'```python\nimport tuning\nbest = tuning.load_best("{spec.name}")\n```'
    )
