"""Pending runs into MLflow's database, many in one transaction, as rows of MLflow's own tables."""

import logging
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME
from mlflow.utils.uri import append_to_uri_path
from sqlalchemy import bindparam, delete, insert, select, update

from tuning import faults, paths
from tuning.records import State
from tuning.spec import SweepSpec
from tuning.tracking.known import Known
from tuning.tracking.pending import Run
from tuning.tracking.stores import CAUSE_FILE, MAX_RUNS, STATUS, checkpoint_files, params_of, trial_tags

logger = logging.getLogger(__name__)

Row = dict[str, Any]


class DatabaseStore:
    """Straight into the tables that `store` has made."""

    def __init__(self, store: SqlAlchemyStore, spec: SweepSpec, folder: str) -> None:
        self._store = store
        self._spec = spec
        self._folder = folder
        self._location: str | None = None

    def write(self, runs: Known, pending: dict[int, Run], begun: set[int]) -> None:
        while pending:
            chunk = dict(islice(pending.items(), MAX_RUNS))
            ids = self._ids(runs, chunk)
            self._upload(runs, chunk, ids)
            with self._store.ManagedSessionMaker(read_only=False) as session:
                self._write_rows(session, runs, chunk, ids, begun)
            runs.run_ids |= ids
            runs.ended |= {number for number, run in chunk.items() if run.state is not None}
            begun |= set(chunk)
            for number in chunk:
                del pending[number]

    def _ids(self, runs: Known, numbers: Iterable[int]) -> dict[int, str]:
        """Return each trial's run id: of a new run one that follows from the sweep and the number.

        So what was uploaded before a death is found again, and not left in MLflow's folder for ever. Where
        there is such a run and it is not known, as it was deleted or moved, that one stays as it is.
        """
        known = {number: runs.run_ids[number] for number in numbers if number in runs.run_ids}
        ids = {
            n: uuid.uuid5(uuid.NAMESPACE_OID, f"{self._spec.id}/{n}").hex for n in numbers if n not in known
        }
        if not ids:
            return known
        with self._store.ManagedSessionMaker(read_only=True) as session:
            taken = set(session.scalars(select(SqlRun.run_uuid).where(SqlRun.run_uuid.in_(ids.values()))))
        return known | {n: uuid.uuid4().hex if found in taken else found for n, found in ids.items()}

    def _write_rows(
        self, session: Any, runs: Known, chunk: dict[int, Run], ids: dict[int, str], begun: set[int]
    ) -> None:
        new = [number for number in chunk if number not in runs.run_ids]
        _insert(
            session,
            SqlRun,
            [self._run_row(runs, number, ids[number], chunk[number].began_ms) for number in new],
        )
        alive = set(
            session.scalars(
                select(SqlRun.run_uuid).where(
                    SqlRun.run_uuid.in_(list(ids.values())), SqlRun.lifecycle_stage == "active"
                )
            )
        )
        for number in set(chunk) - {number for number in chunk if ids[number] in alive}:
            logger.warning("MLflow refuses the run of trial %d: it was deleted", number)
        going = {ids[number]: (number, run) for number, run in chunk.items() if ids[number] in alive}
        fresh = {ids[number] for number in new}
        _write_status(session, going)
        _write_params(session, {i: params_of(run) for i, (n, run) in going.items() if n not in begun}, fresh)
        _write_tags(session, {i: self._tags(runs, *found, i in fresh) for i, found in going.items()}, fresh)
        faults.place("mlflow-flush")
        self._write_metrics(session, {i: run for i, (_, run) in going.items() if run.metrics}, fresh)

    def _write_metrics(self, session: Any, runs: Mapping[str, Run], fresh: set[str]) -> None:
        """Insert points, and keep the latest of each metric, which is what MLflow shows of a run."""
        points: list[Row] = []
        for run_id, run in runs.items():
            for (key, step), (value, at_ms) in run.metrics.items():
                is_nan, number = self._store.sanitize_metric_value(value)
                row = {"run_uuid": run_id, "key": key, "step": step, "timestamp": at_ms}
                points.append({**row, "value": number, "is_nan": is_nan})
        old = [run_id for run_id in runs if run_id not in fresh]
        written = _written(session, old, min((point["step"] for point in points), default=0))
        points = [
            point for point in points if (point["run_uuid"], point["key"], point["step"]) not in written
        ]
        _insert(session, SqlMetric, points)
        there = session.scalars(select(SqlLatestMetric).where(SqlLatestMetric.run_uuid.in_(old)))
        columns = ("run_uuid", "key", "step", "timestamp", "value", "is_nan")
        known = [{column: getattr(row, column) for column in columns} for row in there]
        _replace(session, SqlLatestMetric, _latest([*known, *points]), fresh)

    def _run_row(self, runs: Known, number: int, run_id: str, began_ms: int | None) -> Row:
        return {
            "run_uuid": run_id,
            "name": paths.trial_name(number),
            "artifact_uri": append_to_uri_path(self._artifacts(runs), run_id, "artifacts"),  # type: ignore[no-untyped-call]
            "experiment_id": int(runs.experiment_id),
            "source_type": "UNKNOWN",
            "source_name": "",
            "entry_point_name": "",
            "source_version": "",
            "user_id": "unknown",
            "status": "RUNNING",
            "start_time": began_ms or int(time.time() * 1000),
            "lifecycle_stage": "active",
        }

    def _tags(self, runs: Known, number: int, run: Run, is_new: bool) -> dict[str, str]:
        tags = {**run.tags, "tuning.state": (run.state or State.RUNNING).value}
        if is_new:
            tags |= {
                **trial_tags(self._spec, runs.parent_id, number),
                MLFLOW_RUN_NAME: paths.trial_name(number),
            }
        return tags

    def _artifacts(self, runs: Known) -> str:
        """Return where the experiment's artifacts lie."""
        if self._location is None:
            experiment = self._store.get_experiment(runs.experiment_id)  # type: ignore[no-untyped-call]
            self._location = str(experiment.artifact_location)
        return self._location

    def _upload(self, runs: Known, chunk: dict[int, Run], ids: dict[int, str]) -> None:
        """Copy the checkpoints of trials that have ended, before anything says that they have."""
        repository = get_artifact_repository(self._artifacts(runs))
        for number, run in chunk.items():
            if run.state is not None:
                with checkpoint_files(self._folder, number) as files:
                    _log_artifacts(repository, files, f"{ids[number]}/artifacts/checkpoint")
            if run.cause:
                with tempfile.TemporaryDirectory() as scratch:
                    file = Path(scratch) / CAUSE_FILE
                    file.write_text(run.cause, encoding="utf-8")
                    _log_artifacts(repository, [str(file)], f"{ids[number]}/artifacts")


def _log_artifacts(repository: Any, files: Iterable[str], folder: str) -> None:
    if isinstance(repository, LocalArtifactRepository):  # ten times as fast as its own `log_artifact`
        target = Path(repository.artifact_dir) / folder
        target.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copy2(file, target)
        return
    for file in files:
        repository.log_artifact(file, folder)


def _written(session: Any, run_ids: list[str], first_step: int) -> set[tuple[str, str, int]]:
    """Return run, key and step of the points that are there, as after a commit that nobody heard of."""
    table: Any = SqlMetric
    wanted = select(table.run_uuid, table.key, table.step).where(
        table.run_uuid.in_(run_ids), table.step >= first_step
    )
    return {(run_id, key, step) for run_id, key, step in session.execute(wanted)} if run_ids else set()


def _insert(session: Any, table: Any, rows: list[Row]) -> None:
    if rows:  # past the ORM, which takes as long as the database
        session.connection().execute(insert(table.__table__), rows)


def _write_status(session: Any, going: Mapping[str, tuple[int, Run]]) -> None:
    now_ms = int(time.time() * 1000)
    rows = [
        {
            "id": run_id,
            "new_status": STATUS[run.state or State.RUNNING],
            "ended_at": None if run.state is None else run.ended_ms or now_ms,
        }
        for run_id, (_, run) in going.items()
    ]
    if rows:
        session.connection().execute(
            update(SqlRun)
            .where(SqlRun.run_uuid == bindparam("id"))
            .values(status=bindparam("new_status"), end_time=bindparam("ended_at")),
            rows,
        )


def _write_params(session: Any, params: Mapping[str, Mapping[str, str]], fresh: set[str]) -> None:
    old = [run_id for run_id in params if run_id not in fresh]
    there = set(session.execute(select(SqlParam.run_uuid, SqlParam.key).where(SqlParam.run_uuid.in_(old))))
    _insert(
        session,
        SqlParam,
        [
            {"run_uuid": run_id, "key": key, "value": value}
            for run_id, found in params.items()
            for key, value in found.items()
            if (run_id, key) not in there
        ],
    )


def _write_tags(session: Any, tags: Mapping[str, Mapping[str, str]], fresh: set[str]) -> None:
    rows = [
        {"run_uuid": run_id, "key": key, "value": value}
        for run_id, found in tags.items()
        for key, value in found.items()
    ]
    _replace(session, SqlTag, rows, fresh)


def _latest(points: Iterable[Row]) -> list[Row]:
    found: dict[tuple[str, str], Row] = {}
    for point in points:
        place = point["run_uuid"], point["key"]
        if place not in found or _order(found[place]) <= _order(point):
            found[place] = point
    return list(found.values())


def _order(point: Row) -> tuple[int, int, float]:
    return point["step"], point["timestamp"], point["value"]


def _replace(session: Any, table: Any, rows: list[Row], fresh: set[str]) -> None:
    """Insert rows in the place of those with the same run and key."""
    old = [{"id": row["run_uuid"], "name": row["key"]} for row in rows if row["run_uuid"] not in fresh]
    if old:
        session.connection().execute(
            delete(table).where(table.run_uuid == bindparam("id"), table.key == bindparam("name")), old
        )
    _insert(session, table, rows)
