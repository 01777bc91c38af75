"""All that MLflow has of a sweep, read and not changed: what `tuning doctor` compares."""

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuning import paths
from tuning.errors import SweepError, first_line, one_line, without_passwords
from tuning.spec import SweepSpec
from tuning.tracking.client import bound_waiting, connect
from tuning.tracking.finding import experiment_of, find_runs

Points = dict[tuple[str, int], list[float]]
"""Values by (metric, step): more than one where a point is doubled."""

THREADS = 8
"""Histories that are asked for at a time: over a server each is a call of some milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The runs of a sweep, as MLflow's client returns them."""

    client: Any
    experiment_id: str | None = None
    is_deleted: bool = False
    """Whether the experiment is."""
    parents: list[Any] = field(default_factory=list)
    children: dict[int, list[Any]] = field(default_factory=dict)
    """By trial number; there should be one each."""
    nameless: list[Any] = field(default_factory=list)
    """Runs that say of no trial that they are its run."""
    deleted: list[Any] = field(default_factory=list)
    """Runs that were deleted in the UI, say."""
    points: Mapping[str, Points] = field(default_factory=dict)
    """By run."""


def read(spec: SweepSpec, experiment: str, uri: str) -> Inventory | None:
    """Return what MLflow has of a sweep; None where the database was not even made.

    Raises:
        SweepError: when it does not answer.
    """
    bound_waiting()
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return None  # to ask would be to make it
    try:
        return _read(connect(uri), spec, experiment)
    except Exception as error:  # a server that is away, a file that is no database, ...
        reason = one_line(first_line(error))[:300]
        where = without_passwords(uri)
        raise SweepError(f"MLflow at {where} cannot be read: {type(error).__name__}: {reason}") from error


def _read(client: Any, spec: SweepSpec, experiment: str) -> Inventory:
    from mlflow.entities import ViewType

    found = experiment_of(client, experiment, str(spec.id))
    if found is None:
        return Inventory(client=client)
    id_, is_deleted = found.experiment_id, found.lifecycle_stage != "active"
    runs = find_runs(client, id_, str(spec.id), run_view_type=ViewType.ALL)
    active = [run for run in runs if run.info.lifecycle_stage == "active"]
    children: dict[int, list[Any]] = defaultdict(list)
    parents, nameless = [], []
    for run in active:
        number = number_of(run)
        if run.data.tags.get("tuning.kind") == "sweep":
            parents.append(run)
        elif number is None:
            nameless.append(run)
        else:
            children[number].append(run)
    return Inventory(
        client=client,
        experiment_id=id_,
        is_deleted=is_deleted,
        parents=parents,
        children=dict(children),
        nameless=nameless,
        deleted=[run for run in runs if run.info.lifecycle_stage != "active"],
        points=_points(client, str(spec.id), [run for found in children.values() for run in found]),
    )


def number_of(run: Any) -> int | None:
    """Return which trial's run it is, by its tag or else by its name; None if neither says so."""
    number = run.data.tags.get("tuning.trial", "")
    if not number.isdecimal():
        number = str(run.info.run_name).removeprefix("trial-")
    return int(number) if number.isdecimal() else None


def _points(client: Any, sweep_id: str, runs: Iterable[Any]) -> dict[str, Points]:
    """Return all points of these runs: from a database together, from a server run by run."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = client._tracking_client.store
    if isinstance(store, SqlAlchemyStore):
        return _points_in_tables(store, sweep_id)
    with ThreadPoolExecutor(THREADS) as threads:
        return dict(threads.map(lambda run: (run.info.run_id, _points_of_run(client, run)), runs))


def _points_in_tables(store: Any, sweep_id: str) -> dict[str, Points]:
    from mlflow.store.tracking.dbmodels.models import SqlMetric, SqlTag
    from sqlalchemy import select

    tag: Any = SqlTag
    table: Any = SqlMetric
    runs = select(tag.run_uuid).where(tag.key == "tuning.sweep_id", tag.value == sweep_id)
    columns = (table.run_uuid, table.key, table.step, table.value, table.is_nan)
    found: dict[str, Points] = defaultdict(lambda: defaultdict(list))
    with store.ManagedSessionMaker(read_only=True) as session:
        for run_id, key, step, value, is_nan in session.execute(
            select(*columns).where(table.run_uuid.in_(runs))
        ):
            found[run_id][key, step].append(float("nan") if is_nan else value)
    return found


def _points_of_run(client: Any, run: Any) -> Points:
    found: Points = defaultdict(list)
    for key in run.data.metrics:
        for point in client.get_metric_history(run.info.run_id, key):
            found[key, point.step].append(point.value)
    return found


def copy(client: Any, run: Any, name: str) -> bytes | None:
    """Return a file of a run's `checkpoint/`; None if it has none of that name."""
    folder = _local_folder(run)
    if folder is not None:
        file = folder / "checkpoint" / name
        return file.read_bytes() if file.is_file() else None
    if name not in _sizes(client, run):
        return None
    with tempfile.TemporaryDirectory() as scratch:
        return Path(client.download_artifacts(run.info.run_id, f"checkpoint/{name}", scratch)).read_bytes()


def has_copy(client: Any, run: Any, number: int) -> bool:
    """Whether a run has a checkpoint of its trial."""
    name = f"{paths.trial_name(number)}.pt"
    folder = _local_folder(run)
    return (folder / "checkpoint" / name).is_file() if folder is not None else name in _sizes(client, run)


def differing(client: Any, run: Any, files: Mapping[str, bytes]) -> list[str]:
    """Return which of these files a run's `checkpoint/` lacks, or has with another content.

    Over a server a checkpoint is compared by its size, and by its card, in which its hash stands: to
    fetch all checkpoints of a large sweep would take hours.
    """
    if _local_folder(run) is not None:
        return [name for name, content in files.items() if copy(client, run, name) != content]
    sizes = _sizes(client, run)
    return [
        name
        for name, content in files.items()
        if sizes.get(name) != len(content) or (name.endswith(".json") and copy(client, run, name) != content)
    ]


def _sizes(client: Any, run: Any) -> dict[str, int]:
    found = client.list_artifacts(run.info.run_id, "checkpoint")
    return {item.path.rpartition("/")[2]: item.file_size for item in found}


def _local_folder(run: Any) -> Path | None:
    """Return where a run's artifacts lie; None if not on this machine's disks."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    if run.info.artifact_uri.startswith("mlflow-artifacts:"):  # of which only the client knows the server
        return None
    repository = get_artifact_repository(run.info.artifact_uri)
    return Path(repository.artifact_dir) if isinstance(repository, LocalArtifactRepository) else None
