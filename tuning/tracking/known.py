"""What MLflow holds of a sweep: its experiment, its parent run, and the runs of its trials."""

import getpass
import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tuning import paths
from tuning.confirmed import Confirmation
from tuning.errors import without_passwords
from tuning.records import TrialRecord
from tuning.spec import SweepSpec
from tuning.tracking import view
from tuning.tracking.client import OWN_DATABASES, default_uri
from tuning.tracking.finding import experiment_of, find_runs

logger = logging.getLogger(__name__)

BEST = "tuning.best"
"""The tag of the best trial's run."""

CONFIRMED = "tuning.confirmed_trial"
"""The tag of the sweep's own run: the trial that is the best by its mean over fresh seeds."""

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


def read(
    client: Any,
    spec: SweepSpec,
    experiment: str,
    uri: str,
    home: Path,
    began_ms: int | None = None,
    is_new: bool = False,
) -> Known:
    """Find the sweep's runs; make its experiment and parent run where there are none.

    What a server was asked for and answered too late to is there twice: the first one stays, as far as
    nothing hangs on another.

    Args:
        began_ms: when the sweep began, if it begins now.
        is_new: whether nothing of it can be there yet, in any experiment.
    """
    named = client.get_experiment_by_name if is_new else partial(experiment_of, client, sweep_id=str(spec.id))
    found = Known(_experiment_id(client, named, experiment, uri, home), "")
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
        found.parent_id = _make_parent(client, found.experiment_id, spec, uri, home, began_ms)
    try:
        view.share(client, found.experiment_id, spec)
    except Exception as error:  # nothing depends on it
        logger.warning("the view of the sweep's trials is not in MLflow: %s", error)
    kept = [item.path for item in client.list_artifacts(found.parent_id)]
    if "spec.yaml" not in kept:  # also where a death came between the two
        text = paths.SweepPaths(home, str(spec.name)).spec.read_text(encoding="utf-8")
        client.log_text(found.parent_id, without_passwords(text), "spec.yaml")
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


def tell_best(
    client: Any,
    runs: Known,
    spec: SweepSpec,
    best: TrialRecord,
    metrics: Mapping[str, float],
    confirmation: Confirmation | None,
) -> None:
    """Have the sweep's own run say which trial is the best, and what it came to; tag that trial's run.

    Args:
        metrics: of the sweep's run beside the best value, as of the best model on the test split.
    """
    from mlflow.entities import Metric, RunTag

    run_id = runs.run_ids.get(best.number)
    tags = {"tuning.best_trial": str(best.number), "tuning.best_run_id": run_id or ""}
    values = {str(spec.metric): best.value or 0.0, **metrics}
    if confirmation is not None:
        tags[CONFIRMED] = str(confirmation.best.trial)
        values |= confirmation.metrics()
    there = client.get_run(runs.parent_id).data.metrics
    values |= dict.fromkeys(outdated(there, values), math.nan)  # MLflow takes no metric away
    now_ms = int(time.time() * 1000)
    client.log_batch(
        runs.parent_id,
        [Metric(key, value, now_ms, 0) for key, value in values.items() if there.get(key) != value],
        tags=[RunTag(key, value) for key, value in tags.items()],
    )
    _mark_best(client, runs.experiment_id, str(spec.id), run_id)


def outdated(there: Mapping[str, float], values: Container[str]) -> list[str]:
    """Return which figures of an earlier confirmation stand beside these: the best one's now has no such."""
    return [
        key
        for key, value in there.items()
        if key.startswith("confirmed_") and key not in values and not math.isnan(value)
    ]


def _mark_best(client: Any, experiment_id: str, sweep_id: str, best: str | None) -> None:
    """Tag the run of the best trial, and no other one."""
    wanted = f"tags.`tuning.sweep_id` = '{sweep_id}' and tags.`{BEST}` = 'true'"
    for run in client.search_runs([experiment_id], wanted):
        if run.info.run_id != best:
            client.delete_tag(run.info.run_id, BEST)
    if best is not None:
        client.set_tag(best, BEST, "true")


def _make_parent(
    client: Any, experiment_id: str, spec: SweepSpec, uri: str, home: Path, began_ms: int | None
) -> str:
    tags = {
        **sweep_tags(spec),
        "tuning.kind": "sweep",
        "mlflow.note.content": _description(experiment_id, spec, uri, home),
        "mlflow.user": _user(),
        "mlflow.source.name": f"tuning sweep {spec.name}",
        "mlflow.source.type": "LOCAL",
    }
    run_id: str = client.create_run(experiment_id, began_ms, tags, spec.name).info.run_id
    return run_id


def _experiment_id(client: Any, named: Callable[[str], Any], name: str, uri: str, home: Path) -> str:
    """Return the id of the experiment of this name, as `named` finds it, or of a new one."""
    from mlflow.exceptions import MlflowException

    found = named(name)
    if found is None:
        # Without a server MLflow would put artifacts wherever this process was started.
        location = paths.tracking_artifacts(home).as_uri() if uri.startswith(OWN_DATABASES) else None
        tags = {"mlflow.experimentKind": "custom_model_development"}
        try:
            made: str = client.create_experiment(name, location, tags)
            return made
        except MlflowException:  # another sweep of this model was quicker
            found = client.get_experiment_by_name(name)
    if found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # as in a container whose user has no name
        return "unknown"


def _description(experiment_id: str, spec: SweepSpec, uri: str, home: Path) -> str:
    """Return what the UI shows of the sweep: how to load its best model, from wherever this is read."""
    own = uri == default_uri(home)
    where = f"home={str(home)!r}" if own else f"tracking_uri={without_passwords(uri)!r}"
    return (
        f"Search of `{spec.model}` on `{spec.data}`: "
        f"[its trials, by their last epoch]({view.link(experiment_id, str(spec.id)).removeprefix('/')}). "
        "The best model:\n\n"
        f'```python\nimport tuning\n\nbest = tuning.load_best("{spec.name}", {where})\n```'
    )
