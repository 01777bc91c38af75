"""Optuna's view of a trial, in this project's words."""

from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tuning.records import Mode, State, TrialRecord, best_epoch
from tuning.resolve import applies
from tuning.study import spans

ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def record(frozen: FrozenTrial, fixed: Mapping[str, Any], mode: Mode) -> TrialRecord:
    """Return what is known of a trial.

    Args:
        fixed: hyperparameters that the sweep's spec fixes.
    """
    found = {**fixed, **frozen.user_attrs.get("fixed", {}), **frozen.params}
    values = frozen.intermediate_values
    epoch = best_epoch(values, mode)
    stacks = frozen.user_attrs.get("stacks", ())
    _, slot, width = stacks[-1] if stacks else (0, 0, 1)
    return TrialRecord(
        number=frozen.number,
        state=state(frozen),
        hyperparameters=used(found),
        values=values,
        value=None if epoch is None else values[epoch],
        epoch=epoch,
        where=frozen.user_attrs.get("where"),
        cohort=frozen.user_attrs.get("cohort"),
        waits=frozen.user_attrs.get("waits", False),
        slot=slot,
        width=width,
        spans=tuple(spans.read(frozen.user_attrs.get(spans.ATTRIBUTE, []))),
        stacks=stacks,
        machines=frozen.user_attrs.get("machines", ()),
        # Where a death cut off a trial's end, it may stand there alone: the trial has gone on since.
        cause=frozen.user_attrs.get("cause") if frozen.state is TrialState.FAIL else None,
    )


def used(found: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out fixed hyperparameters that the trial's optimizer does not have."""
    optimizer = found.get("optimizer", "sgd")
    return {key: value for key, value in found.items() if applies(key, optimizer)}


def state(frozen: FrozenTrial) -> State:
    if frozen.state is TrialState.FAIL:
        return State(frozen.user_attrs.get("state", State.FAILED.value))
    return {
        TrialState.COMPLETE: State.COMPLETED,
        TrialState.PRUNED: State.PRUNED,
        TrialState.RUNNING: State.RUNNING,
    }[frozen.state]


def best_value(values: dict[int, float], mode: Mode) -> float:
    """Return the value of the best epoch of a trial that completes: it is finite at every one."""
    epoch = best_epoch(values, mode)
    assert epoch is not None
    return values[epoch]
