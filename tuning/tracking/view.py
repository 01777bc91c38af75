"""The MLflow UI's table of a sweep's trials: with their hyperparameters, sorted by the metric.

MLflow sorts by the last epoch's value; the best trial, which is that by its best epoch, has a tag of its own.

The UI begins with columns that say nothing of a search. It can be opened with others: what its "Share" button
keeps as a tag of the experiment, and names in the address.
"""

import json
from typing import Any
from urllib.parse import urlencode

from tuning.spec import SweepSpec
from tuning.tracking.client import ID_BEGIN, connect
from tuning.tracking.finding import pages

SHARED = "mlflow.sharedViewState."
"""Tags of an experiment that begin so are views; the rest is what the address names."""

METRICS = ("val_loss", "val_accuracy", "train_loss")


def share(client: Any, experiment_id: str, spec: SweepSpec) -> None:
    """Keep the sweep's view where the UI looks for it."""
    key, value = SHARED + _name(str(spec.id)), json.dumps(_state(spec))
    if client.get_experiment(experiment_id).tags.get(key) != value:
        client.set_experiment_tag(experiment_id, key, value)


def link(experiment_id: str, sweep_id: str) -> str:
    """Return where the view is, after the server's address."""
    shown = urlencode({"workflowType": "machine_learning", "viewStateShareKey": _name(sweep_id)})
    return f"/#/experiments/{experiment_id}/runs?{shown}"


def newest(uri: str) -> tuple[str, str] | None:
    """Return the name of the sweep that began last, and its view's link; None where there is none."""
    client = connect(uri)
    experiments = {one.experiment_id: one for one in pages(client.search_experiments)}
    runs = client.search_runs(
        list(experiments), "tags.`tuning.kind` = 'sweep'", max_results=1, order_by=["start_time DESC"]
    )
    for run in runs:
        id_, sweep_id = run.info.experiment_id, run.data.tags["tuning.sweep_id"]
        if SHARED + _name(sweep_id) in experiments[id_].tags:
            return run.info.run_name, link(id_, sweep_id)
    return None


def _name(sweep_id: str) -> str:
    return sweep_id[:ID_BEGIN]


def _state(spec: SweepSpec) -> dict[str, Any]:
    """Return what MLflow calls the state of its page, as far as it differs from an empty one."""
    metrics = dict.fromkeys((str(spec.metric), *METRICS))
    searched = dict.fromkeys([*(spec.search or {}), *(key for entry in spec.try_ for key in entry)])
    return {
        "searchFilter": f"tags.`tuning.sweep_id` = '{spec.id}' and tags.`tuning.kind` = 'trial'",
        "orderByKey": f"metrics.`{spec.metric}`",
        "orderByAsc": spec.mode == "min",
        "selectedColumns": [
            "attributes.`Duration`",
            "tags.`tuning.state`",
            "tags.`tuning.best`",
            *(f"metrics.`{key}`" for key in metrics),
            *(f"params.`{key}`" for key in searched),
        ],
    }
