"""The two ways in which what is pending reaches MLflow: through its client, or into its database.

The client writes run by run, in five calls of some milliseconds each, over a server or not. Where the
tracking URI is a database, all pending runs go into it in one transaction instead, as rows of MLflow's
own tables: thirty times as fast, and nothing is half written.
"""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from tuning import faults, paths, storage
from tuning.records import State
from tuning.spec import SweepSpec
from tuning.tracking import known
from tuning.tracking.known import Known
from tuning.tracking.pending import Run

logger = logging.getLogger(__name__)

STATUS = {
    State.RUNNING: "RUNNING",
    State.COMPLETED: "FINISHED",
    State.PRUNED: "KILLED",
    State.DIVERGED: "FAILED",
    State.FAILED: "FAILED",
    State.INTERRUPTED: "SCHEDULED",
}

FINAL = ("RESOURCE_DOES_NOT_EXIST", "INVALID_STATE", "INVALID_PARAMETER_VALUE")
"""What MLflow would say for ever, as of a run that was deleted in the UI; all else may pass."""

MAX_METRICS = 1000
"""MLflow's limit for one `log_batch`."""

MAX_RUNS = 250
"""Runs in one transaction: it holds a lock on the database for a fraction of a second."""

CAUSE_FILE = "cause.txt"
"""The artifact that says why a trial failed, with its traceback."""

MAX_VALUE = 6000
"""MLflow's limit for the text of a param."""


class Store(Protocol):
    def write(self, runs: Known, pending: dict[int, Run], begun: set[int]) -> None:
        """Write what is pending, by trial number, and take out of `pending` what was written.

        Args:
            runs: what MLflow has; new runs are added.
            begun: trials whose run is RUNNING and has its params; added to.
        """


def store_of(client: Any, spec: SweepSpec, folder: str) -> Store:
    """Return how to write the runs of a sweep whose checkpoints lie in `folder`."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = client._tracking_client.store
    if isinstance(store, SqlAlchemyStore):
        from tuning.tracking.database import DatabaseStore

        return DatabaseStore(store, spec, folder)
    return ClientStore(client, spec, folder)


class ClientStore:
    """Through MLflow's client."""

    def __init__(self, client: Any, spec: SweepSpec, folder: str) -> None:
        self._client = client
        self._spec = spec
        self._folder = folder

    def write(self, runs: Known, pending: dict[int, Run], begun: set[int]) -> None:
        from mlflow.exceptions import MlflowException

        for number in list(pending):
            try:
                self._write_one(runs, number, pending[number], begun)
            except MlflowException as error:
                if error.error_code not in FINAL:
                    raise
                logger.warning("MLflow refuses the run of trial %d: %s", number, error)
            del pending[number]

    def _write_one(self, runs: Known, number: int, run: Run, begun: set[int]) -> None:
        """Write what is pending of one trial: its run, then its numbers, then its end."""
        from mlflow.entities import Metric, Param, RunTag

        if number not in runs.run_ids:
            tags = trial_tags(self._spec, runs.parent_id, number)
            name = paths.trial_name(number)
            runs.run_ids[number] = self._client.create_run(
                runs.experiment_id, start_time=run.began_ms, tags=tags, run_name=name
            ).info.run_id
        elif number not in begun:
            self._client.update_run(runs.run_ids[number], status="RUNNING")
        faults.place("mlflow-flush")
        run_id = runs.run_ids[number]
        params = [Param(*found) for found in params_of(run).items()] if number not in begun else []
        tags = {**run.tags, "tuning.state": (run.state or State.RUNNING).value}
        points = [Metric(key, value, at, step) for (key, step), (value, at) in run.metrics.items()]
        first, *rest = [points[i : i + MAX_METRICS] for i in range(0, len(points), MAX_METRICS)] or [[]]
        self._client.log_batch(run_id, first, params, [RunTag(*found) for found in tags.items()])
        begun.add(number)
        for chunk in rest:
            self._client.log_batch(run_id, chunk)
        if run.state is not None:
            with checkpoint_files(self._folder, number) as files:
                for file in files:
                    self._client.log_artifact(run_id, file, "checkpoint")
            if run.cause:
                self._client.log_text(run_id, run.cause, CAUSE_FILE)
            self._client.set_terminated(run_id, status=STATUS[run.state], end_time=run.ended_ms)
            runs.ended.add(number)


def trial_tags(spec: SweepSpec, parent_id: str, number: int) -> dict[str, str]:
    """Return the tags that a trial's run has from its beginning."""
    tags = {"mlflow.parentRunId": parent_id, "tuning.kind": "trial", "tuning.trial": str(number)}
    return {**tags, **known.sweep_tags(spec)}


def params_of(run: Run) -> dict[str, str]:
    found = run.trial.hyperparameters if run.trial is not None else {}
    return {key: str(value)[:MAX_VALUE] for key, value in found.items()}


@contextlib.contextmanager
def checkpoint_files(folder: str, number: int) -> Iterator[list[str]]:
    """Yield local paths of a trial's checkpoint and its card; none of a trial without a finite epoch."""
    files = [paths.checkpoint_file(folder, number), paths.card_file(folder, number)]
    if not all(storage.exists(file) for file in files):
        yield []
    elif "://" not in folder:
        yield files
    else:
        with tempfile.TemporaryDirectory() as scratch:
            local = [f"{scratch}/{file.rpartition('/')[2]}" for file in files]
            for here, there in zip(local, files, strict=True):
                Path(here).write_bytes(storage.read(there))
            yield local
