"""What MLflow should have of a sweep, as study, cards and resume states tell it."""

from tuning.doctor import checkpoints, leftovers
from tuning.ledger import Sweep
from tuning.records import State, TrialRecord
from tuning.tracking.pending import History, Run, cause_tags, lacking
from tuning.tracking.stores import trial_tags


def histories(sweep: Sweep) -> dict[int, History]:
    """Return all that is known of each trial's epochs; where sources differ, the study is right."""
    resumed = leftovers.resumed(sweep)
    return {trial.number: _history(sweep, trial, resumed) for trial in sweep.trials}


def _history(sweep: Sweep, trial: TrialRecord, resumed: dict[int, History]) -> History:
    card = checkpoints.card_of(sweep, trial)
    found = max(card["history"] if card else [], resumed.get(trial.number, []), key=len)
    known = max(trial.values, default=0)
    if not trial.state.has_ended:  # later epochs are the next driver's to tell
        found = found[:known]
    rows: History = [dict(row) for row in found] + [{} for _ in range(known - len(found))]
    for epoch, value in trial.values.items():
        rows[epoch - 1][str(sweep.spec.metric)] = value
    return rows


def run(trial: TrialRecord, history: History) -> Run:
    """Return a trial's run as it should be."""
    found = lacking(trial, history, ())
    found.state = found.state or State.INTERRUPTED
    return found


def tags(sweep: Sweep, trial: TrialRecord, parent_id: str | None) -> dict[str, str]:
    """Return the tags that a trial's run must have; without a parent, none that names it.

    Those of its place are not among them: a cohort that was handed out and never ran may stand there.
    """
    found = {**trial_tags(sweep.spec, parent_id or "", trial.number), **cause_tags(trial.cause)}
    if parent_id is None:
        del found["mlflow.parentRunId"]
    return {**found, "tuning.state": trial.state.value}
