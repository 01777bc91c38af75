"""What fresh seeds made of a sweep's best trials, in MLflow: on the sweep's own run, and in the registry."""

import os
from collections.abc import Mapping

from tuning.confirmed import Confirmation
from tuning.records import TrialRecord
from tuning.spec import SweepSpec
from tuning.tracking import client, finding, known, registry
from tuning.tracking.champion import Champion
from tuning.tracking.messages import Answer


def tell(
    uri: str,
    experiment: str,
    spec: SweepSpec,
    best: TrialRecord,
    metrics: Mapping[str, float],
    confirmation: Confirmation,
) -> str | None:
    """Have the sweep's run and those of its trials say which is the best by its confirmed mean.

    Args:
        metrics: of the best model on the test split.

    Returns what stood against it, None if nothing did.
    """
    client.bound_waiting()
    try:
        connected = client.connect(uri)
        found = finding.experiment_of(connected, experiment, str(spec.id))
        runs = finding.find_runs(connected, found.experiment_id, str(spec.id)) if found else []
        parents = [run for run in runs if run.data.tags.get("tuning.kind") == "sweep"]
        if len(parents) != 1:
            return f"the sweep has {len(parents)} runs of its own"
        number = str(best.number)
        own = [run.info.run_id for run in runs if run.data.tags.get("tuning.trial") == number]
        ids = {best.number: own[0]} if own else {}
        there = known.Known(found.experiment_id, parents[0].info.run_id, ids)
        known.tell_best(connected, there, spec, best, metrics, confirmation)
    except Exception as error:  # of MLflow, of a database, of a network
        return client.reason(error)
    return None


def register(uri: str, experiment: str, spec: SweepSpec, candidate: Champion) -> Answer:
    """Make the confirmed model the champion in MLflow's registry, if it is better than the one there is."""
    client.bound_waiting()
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"  # what is asked for again would be made twice
    try:
        connected = client.connect(uri)
        run_id = client.run_id_of(uri, experiment, str(spec.id), candidate.trial)
        if run_id is None:
            return Answer(unregistered=f"trial {candidate.trial} has no run there (yet)")
        return Answer(registered=registry.register(connected, spec, candidate, run_id))
    except Exception as error:  # of MLflow and of whatever stands behind it
        return Answer(unregistered=client.reason(error))
