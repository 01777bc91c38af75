"""Whether a checkpoint, or its card, is what the study says of its trial.

An epoch that a death had trained again, in a cohort of another width or on another machine, has in study
and MLflow the value of the first time and in the checkpoint that of the last: rounding differs there, grows
over an epoch's steps, and flips some of the validation examples.
"""

import math
from collections.abc import Mapping
from typing import Any

from tuning.ledger import Sweep
from tuning.records import State, TrialRecord, best_epoch
from tuning.tracking.pending import is_history

TRAINED_AGAIN = 0.05
"""How far apart two values of one epoch may be: as a part of a loss, as examples among all of an accuracy."""


def disagreement(content: Mapping[str, Any], sweep: Sweep, trial: TrialRecord) -> str | None:
    """Return in what a checkpoint, or its card, is not what the study says of its trial."""
    if (content["sweep_id"], content["trial"]) != (sweep.spec.id, trial.number):
        return f"its checkpoint is of trial {content['trial']} of a sweep {content['sweep']!r}, not of it"
    if trial.state.has_ended and content["hyperparameters"] != trial.hyperparameters:
        return f"its checkpoint was trained with {content['hyperparameters']}, not with the study's values"
    if not is_history(content["history"]):
        return "its checkpoint has a history that is no list of metrics per epoch"
    metric, value, epoch = str(sweep.spec.metric), content["value"], content["epoch"]
    is_last = trial.state in (State.COMPLETED, State.PRUNED)
    known = trial.values.get(epoch)  # of others a death may have kept an epoch from the study
    if not is_same(metric, value, known) and (is_last or known is not None):
        return f"its checkpoint has {metric}={value} at epoch {epoch}, the study {known}"
    own = _values(content["history"], metric)
    if own.get(epoch) != value:
        return f"its checkpoint has {metric}={value} at epoch {epoch}, but its history has {own.get(epoch)}"
    if not is_last:
        return None
    assert sweep.spec.mode is not None
    had, trained = len(content["history"]), max(trial.values, default=0)
    if had < trained:
        return f"its checkpoint was written after epoch {had}, but it was trained up to epoch {trained}"
    if epoch != (best := best_epoch(own, sweep.spec.mode)):
        return f"its checkpoint is of epoch {epoch}, but its best one is {best}"
    if not is_same(metric, value, trial.value):
        return f"its checkpoint is of epoch {epoch}, but its best one is {trial.epoch}"
    return None


def is_same(metric: str, one: float, other: float | None) -> bool:
    """Whether two values can be of one epoch of a trial, trained twice."""
    if other is None:
        return False
    by_part, by_examples = (0.0, TRAINED_AGAIN) if metric.endswith("accuracy") else (TRAINED_AGAIN, 1e-9)
    return math.isclose(one, other, rel_tol=by_part, abs_tol=by_examples)


def _values(history: list[Any], metric: str) -> dict[int, float]:
    """Return a metric by epoch, as far as what may come from anywhere has it."""
    values = {epoch: row.get(metric) for epoch, row in enumerate(history, start=1)}
    return {epoch: value for epoch, value in values.items() if isinstance(value, float)}
