"""What MLflow holds of a sweep: its experiment, its parent run, and the runs of its trials."""

import logging
from collections.abc import Iterable
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
    """Find the sweep's runs; make its experiment and parent run where there are none."""
    found = Known(_experiment_id(client, experiment, uri, home), "")
    for run in find_runs(client, found.experiment_id, str(spec.id)):
        if run.data.tags.get("tuning.kind") == "sweep":
            found.parent_id = run.info.run_id
            continue
        trial = run.data.tags.get("tuning.trial", "")
        if not trial.isdecimal():
            logger.warning("run %s bears the sweep's id and names no trial: `tuning doctor`", run.info.run_id)
            continue
        number = int(trial)
        found.run_ids[number] = run.info.run_id
        if run.info.status in TERMINAL:
            found.ended.add(number)
    if found.parent_id:
        client.update_run(found.parent_id, status="RUNNING")
    else:
        found.parent_id = _make_parent(client, found.experiment_id, spec, home)
    return found


def logged(client: Any, run_id: str, keys: Iterable[str]) -> set[tuple[str, int]]:
    """Return which (metric, step) a run has already."""
    return {(key, point.step) for key in keys for point in client.get_metric_history(run_id, key)}


def sweep_tags(spec: SweepSpec) -> dict[str, str]:
    return {"tuning.sweep": str(spec.name), "tuning.sweep_id": str(spec.id)}


def _make_parent(client: Any, experiment_id: str, spec: SweepSpec, home: Path) -> str:
    tags = {**sweep_tags(spec), "tuning.kind": "sweep", "mlflow.note.content": _description(spec)}
    run_id: str = client.create_run(experiment_id, tags=tags, run_name=spec.name).info.run_id
    client.log_artifact(run_id, str(paths.SweepPaths(home, str(spec.name)).spec))
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
