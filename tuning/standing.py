"""How a sweep stands, as plain data: what `--json` prints and texts are made of."""

import time
from typing import Any

from tuning import halving, paths
from tuning.claim import claimed_at_s
from tuning.confirmed import facts_of
from tuning.errors import last_line
from tuning.ledger import Sweep
from tuning.records import State, TrialRecord, begun_by, best_trial, ranked

TOP = 5
"""Trials that are named beside the best."""


def trial_facts(sweep: Sweep, trial: TrialRecord) -> dict[str, Any]:
    """Return what there is to say of a trial, as plain data."""
    return {
        "sweep": sweep.spec.name,
        "trial": trial.number,
        "state": trial.state.value,
        "metric": sweep.spec.metric,
        "mode": sweep.spec.mode,
        "value": trial.value,
        "epoch": trial.epoch,
        "hyperparameters": trial.hyperparameters,
        "test": sweep.test if sweep.best and trial.number == sweep.best.number else None,
        "checkpoint": paths.checkpoint_file(sweep.folder, trial.number),
        "confirmed": _confirmed_facts(sweep, trial),
    }


def top_trials(sweep: Sweep) -> list[TrialRecord]:
    """Return the trials with the best values so far, but for those that went wrong; ties: lower number."""
    if sweep.spec.mode is None:  # a death came before it was settled, and so before any trial
        return []
    wrong = (State.DIVERGED, State.FAILED)
    return ranked((trial for trial in sweep.trials if trial.state not in wrong), sweep.spec.mode)[:TOP]


def workers(sweep: Sweep) -> list[dict[str, Any]]:
    """Return what each worker trains, by what it last told of: a cohort.

    A trial that has come to a rung has left its cohort: it waits for the next one, or has yet to report.
    One whose worker died waits for another, and one that an earlier driver has left for its turn.
    """
    if sweep.claim is None:
        return []
    rungs = halving.rungs_of(sweep.spec.early_stopping, sweep.spec.epochs or 0)
    found: dict[str, dict[str, Any]] = {}
    new: dict[str, Any]
    for trial in sweep.trials:
        epoch = max(trial.values, default=0)
        cohort = trial.cohort or ""
        is_placed = cohort.startswith(begun_by(sweep.claim)) and not trial.waits
        if trial.state is State.RUNNING and is_placed and epoch not in rungs:
            new = {"where": trial.where, "cohort": cohort, "epoch": 0, "trials": []}
            worker = found.setdefault(cohort, new)
            worker["epoch"] = max(worker["epoch"], epoch)
            worker["trials"].append(trial.number)
    return sorted(found.values(), key=lambda one: (one["where"], one["trials"]))


def _confirmed_facts(sweep: Sweep, trial: TrialRecord) -> dict[str, Any] | None:
    """Return what fresh seeds made of a trial, and which one is better by the search's figure alone.

    One that diverged with every fresh seed is no such trial: nobody need confirm it.
    """
    found = sweep.confirmation
    one = found.of(trial.number) if found is not None else None
    if found is None or one is None:
        return None
    searched = best_trial([t for t in sweep.trials if t.number not in found.hopeless], found.mode)
    is_new = searched is not None and found.of(searched.number) is None
    newer = None
    if searched is not None and is_new:
        command = sweep.paths.command("confirm")
        newer = {"trial": searched.number, "value": searched.value, "confirm": command}
    return {**facts_of(found, one), "hopeless": list(found.hopeless), "not_confirmed": newer}


def wall_s(sweep: Sweep) -> float:
    """Return for how long drivers have driven the sweep, with the one that is alive."""
    since_s = claimed_at_s(sweep.paths.claim)
    return sweep.wall_s + (0.0 if since_s is None else max(0.0, time.time() - since_s))


def _last_failure(sweep: Sweep) -> dict[str, Any] | None:
    """Return which trial went wrong last, by number, and why."""
    wrong = [trial for trial in sweep.trials if trial.state in (State.DIVERGED, State.FAILED) and trial.cause]
    if not wrong:
        return None
    last = wrong[-1]
    return {"trial": last.number, "state": last.state.value, "cause": last_line(last.cause)}


def sweep_facts(sweep: Sweep) -> dict[str, Any]:
    """Return how a sweep stands, as plain data."""
    unfinished = [trial for trial in sweep.trials if not trial.state.has_ended]
    return {
        "sweep": sweep.spec.name,
        "resume": sweep.paths.command("resume"),
        "inspect": sweep.paths.command("inspect"),
        "model": sweep.spec.model,
        "data": sweep.spec.data,
        "states": sweep.states,
        "total": sweep.spec.trials,
        "metric": sweep.spec.metric,
        "epochs": sweep.spec.epochs,
        "best": trial_facts(sweep, sweep.best) if sweep.best else None,
        "top": [
            {
                "trial": trial.number,
                "state": trial.state.value,
                "value": trial.value,
                "epoch": trial.epoch,
                "hyperparameters": trial.hyperparameters,
            }
            for trial in top_trials(sweep)
        ],
        "wall_s": round(wall_s(sweep), 3),
        "cohort": sweep.sizing.size,
        "sizing": sweep.sizing.describe(),
        "cost": sweep.cost.to_plain() if sweep.cost else None,
        "spent": sweep.cost.describe() if sweep.cost else None,
        "failure": _last_failure(sweep),
        "notes": sweep.notes,
        "is_running": sweep.is_running,
        "driver": sweep.driver,
        "workers": workers(sweep),
        "unfinished": [trial.number for trial in unfinished],
        "where": {str(trial.number): trial.where for trial in unfinished},
        "cohorts": {str(trial.number): trial.cohort for trial in sweep.trials if trial.cohort},
        "folder": str(sweep.paths.folder),
    }
