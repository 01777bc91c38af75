"""The sweep's own run in MLflow: how the sweep ended, and which trial is the best."""

from typing import Any

from tuning.doctor.difference import few
from tuning.ledger import Sweep
from tuning.records import State
from tuning.tracking.inventory import Inventory
from tuning.tracking.known import BEST, CONFIRMED, outdated


def parent_texts(sweep: Sweep, held: Inventory) -> list[str]:
    """Return what is not right of the parent run, in words."""
    if not held.parents:
        return ["the sweep has no run of its own in MLflow"] if sweep.trials else []
    if len(held.parents) > 1:
        return [f"the sweep has {len(held.parents)} runs of its own in MLflow"]
    (run,) = held.parents
    may = _statuses(sweep)
    if run.info.status not in may:
        return [f"the sweep's run in MLflow is {run.info.status}, but should be {' or '.join(may)}"]
    if "spec.yaml" not in [item.path for item in held.client.list_artifacts(run.info.run_id)]:
        return ["the sweep's run in MLflow has no spec.yaml, without which its models do not load from there"]
    if other := _other(sweep, run, held):
        return [f"the sweep's run in MLflow does not say of the best trial what the study does: {few(other)}"]
    return []


def settled_status(sweep: Sweep, held: Inventory | None) -> str:
    """Return the status to end the parent with: its own, if it may have that."""
    may = _statuses(sweep)
    own = [run.info.status for run in held.parents if run.info.status in may] if held is not None else []
    return (own or may)[0]


def _statuses(sweep: Sweep) -> tuple[str, ...]:
    """Return the parent's status; others that there may have been a reason for follow."""
    states = [trial.state for trial in sweep.trials]
    have_ended = all(state.has_ended for state in states)
    is_over = have_ended and len(states) >= sweep.spec.trials
    if is_over and State.COMPLETED not in states:
        return "FAILED", "KILLED"
    if is_over and sweep.test is not None:  # a command that was interrupted at its end has ended as KILLED
        may_have_halted = states.count(State.FAILED) >= sweep.spec.max_failures
        return ("FINISHED", "KILLED", "FAILED") if may_have_halted else ("FINISHED", "KILLED")
    if have_ended and sweep.test is not None:
        return "KILLED", "FAILED", "FINISHED"  # the last: by `tuning stop`
    return "KILLED", "FAILED"  # interrupted, or halted


def _other(sweep: Sweep, run: Any, held: Inventory) -> list[str]:
    """Return the tags and metrics of the best trial that the parent lacks or has otherwise."""
    best = sweep.best
    if best is None:
        return []
    ids = [child.info.run_id for child in held.children.get(best.number, [])]
    confirmed = sweep.confirmation
    metrics = {
        str(sweep.spec.metric): best.value,
        **(sweep.test or {}),
        **(confirmed.metrics() if confirmed is not None else {}),
    }
    there = run.data.metrics
    found = [key for key, value in metrics.items() if not _is_same(there.get(key), value)]
    found += outdated(there, metrics)
    if run.data.tags.get("tuning.best_trial") != str(best.number):
        found.append("tuning.best_trial")
    if len(ids) == 1 and run.data.tags.get("tuning.best_run_id") != ids[0]:
        found.append("tuning.best_run_id")
    if confirmed is not None and run.data.tags.get(CONFIRMED) != str(confirmed.best.trial):
        found.append(CONFIRMED)
    marked = [n for n, runs in held.children.items() for run in runs if run.data.tags.get(BEST) == "true"]
    if marked != [best.number]:
        found.append(f"{BEST} of trial {few(marked) or 'none'}")
    return found


def _is_same(found: float | None, wanted: float | None) -> bool:
    """Whether MLflow has this figure; NaN is one, too."""
    return found == wanted or (
        found is not None and wanted is not None and found != found and wanted != wanted
    )
