"""What MLflow holds of a sweep: its experiment, its parent run, and the runs of its trials."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuning import paths
from tuning.spec import SweepSpec
from tuning.tracking.client import default_uri, find_runs

logger = logging.getLogger(__name__)

TERMINAL = ("FINISHED", "KILLED", "FAILED")


@dataclass(slots=True)
class Known:
    """The runs of a sweep, as MLflow has them."""

    experiment_id: str
    parent_id: str
    run_ids: dict[int, str] = field(default_factory=dict)
    """By trial number."""
    ended: set[int] = field(default_factory=set)
    """Trials whose run has its last status."""


def read(client: Any, spec: SweepSpec, experiment: str, uri: str, home: Path) -> Known:
    """Find the sweep's runs; make its experiment and parent run where there are none.

    What a server was asked for and answered too late to is there twice: the first one stays, as far as
    nothing hangs on another.
    """
    found = Known(_experiment_id(client, experiment, uri, home), "")
    parents: list[Any] = []
    children: dict[int, list[Any]] = defaultdict(list)
    for run in find_runs(client, found.experiment_id, str(spec.id)):
        trial = run.data.tags.get("tuning.trial", "")
        if run.data.tags.get("tuning.kind") == "sweep":
            parents.append(run)
        elif trial.isdecimal():
            children[int(trial)].append(run)
        else:
            logger.warning("run %s bears the sweep's id and names no trial: `tuning doctor`", run.info.run_id)
    for number, runs in children.items():
        kept = _one_of(client, runs, lambda run: run.info.status not in TERMINAL)
        found.run_ids[number] = kept.info.run_id
        if kept.info.status in TERMINAL:
            found.ended.add(number)
    if parents:
        hung = Counter(run.data.tags.get("mlflow.parentRunId") for runs in children.values() for run in runs)
        found.parent_id = _one_of(client, parents, lambda run: -hung[run.info.run_id]).info.run_id
        client.update_run(found.parent_id, status="RUNNING")
    else:
        found.parent_id = _make_parent(client, found.experiment_id, spec)
    kept = [item.path for item in client.list_artifacts(found.parent_id)]
    if "spec.yaml" not in kept:  # also where a death came between the two
        client.log_artifact(found.parent_id, str(paths.SweepPaths(home, str(spec.name)).spec))
    return found


def _one_of(client: Any, runs: list[Any], rank: Callable[[Any], int]) -> Any:
    """Return the run of least rank, of those the first one made; delete the others, as the UI does."""
    kept, *surplus = sorted(runs, key=lambda run: (rank(run), run.info.start_time, run.info.run_id))
    for run in surplus:
        logger.warning("run %s is there once too often, beside %s", run.info.run_id, kept.info.run_id)
        client.delete_run(run.info.run_id)
    return kept


def logged(client: Any, run_id: str) -> set[tuple[str, int]]:
    """Return which (metric, step) a run has already."""
    keys = client.get_run(run_id).data.metrics
    return {(key, point.step) for key in keys for point in client.get_metric_history(run_id, key)}


def sweep_tags(spec: SweepSpec) -> dict[str, str]:
    return {"tuning.sweep": str(spec.name), "tuning.sweep_id": str(spec.id)}


def _make_parent(client: Any, experiment_id: str, spec: SweepSpec) -> str:
    tags = {**sweep_tags(spec), "tuning.kind": "sweep", "mlflow.note.content": _description(spec)}
    run_id: str = client.create_run(experiment_id, tags=tags, run_name=spec.name).info.run_id
    return run_id


def _experiment_id(client: Any, name: str, uri: str, home: Path) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        location = paths.tracking_artifacts(home).as_uri() if uri == default_uri(home) else None
        tags = {"mlflow.experimentKind": "custom_model_development"}
        try:
            made: str = client.create_experiment(name, location, tags)
            return made
        except MlflowException:  # another sweep of this model was quicker
            found = client.get_experiment_by_name(name)
    if found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _description(spec: SweepSpec) -> str:
    return (
        f"Search of `{spec.model}` on `{spec.data}`. The best model:\n\n"
        f'```python\nimport tuning\nbest = tuning.load_best("{spec.name}")\n```'
    )
