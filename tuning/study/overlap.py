"""Where an earlier sweep and a new one overlap: which trials fit, and whether their values mean the same."""

import math
import operator
from typing import Any

from tuning.records import State, TrialRecord
from tuning.references import is_same, load_model
from tuning.resolve import applies, defaults, training_defaults
from tuning.space import Choice, Dimension, Float, Int, Scalar
from tuning.spec import SweepSpec

NEAR = 0.1
"""Share of the range searched earlier within which a value counts as that which is fixed now."""


def misfit(trial: TrialRecord, spec: SweepSpec, old: SweepSpec) -> str | None:
    """Say why a trial is no part of the new search's history; None if it is."""
    if not trial.state.has_ended:
        return "not ended"
    if trial.state not in (State.COMPLETED, State.PRUNED) or trial.value is None:
        return "diverged or failed"
    found = _hyperparameters(trial, spec, old)
    optimizer = found["optimizer"]
    for key, dimension in (spec.search or {}).items():
        if applies(key, optimizer) and found.get(key) not in dimension:
            return f"{key} outside {_words(dimension)}" if key in found else f"no {key}"
    for key, value in spec.fixed.items():
        if applies(key, optimizer) and not _is_near(found.get(key), value, (old.search or {}).get(key)):
            return f"{key} is not {value}" if key in found else f"no {key}"
    return None


def params_of(trial: TrialRecord, spec: SweepSpec, old: SweepSpec) -> dict[str, Scalar]:
    found = _hyperparameters(trial, spec, old)
    optimizer = found["optimizer"]
    return {
        key: float(found[key]) if isinstance(dimension, Float) else found[key]
        for key, dimension in (spec.search or {}).items()
        if applies(key, optimizer)
    }


def differences(spec: SweepSpec, old: SweepSpec, trials: list[TrialRecord]) -> list[str]:
    """Return in what the tasks of these trials differ from the new one, so that values cannot be compared."""
    differing = [
        key
        for key in ("model", "data", "epochs", "seed", "precision")
        if not (is_same if key in ("model", "data") else operator.eq)(getattr(old, key), getattr(spec, key))
    ]
    return [*(f"{key} {getattr(old, key)}" for key in differing), *_others(spec, old, trials)]


def _others(spec: SweepSpec, old: SweepSpec, trials: list[TrialRecord]) -> list[str]:
    """Return the hyperparameters that are neither searched nor fixed now and had another value than now."""
    model = load_model(spec.model)
    other: dict[str, set[object]] = {}
    for trial in trials:
        found = _hyperparameters(trial, spec, old)
        now = {"batch_size": spec.batch_size, **defaults(model, found["optimizer"])}
        for key, value in found.items():
            is_open = key not in (spec.search or {}) and key not in spec.fixed and key != "optimizer"
            if is_open and (key not in now or value != now[key]):
                other.setdefault(key, set()).add(value)
    return [
        f"{key} {values.pop()}" if len(values) == 1 else f"other {key}"
        for key, values in sorted(other.items())
    ]


def _hyperparameters(trial: TrialRecord, spec: SweepSpec, old: SweepSpec) -> dict[str, Any]:
    """Return all that the trial had, also what its sweep left at its default.

    Of another model than the new sweep's, which may be gone, the constructor's defaults are not asked for.
    """
    optimizer = str(trial.hyperparameters.get("optimizer", "sgd"))
    if is_same(old.model, spec.model):
        left = defaults(load_model(spec.model), optimizer)
    else:
        left = training_defaults(optimizer)
    return {**left, "optimizer": optimizer, "batch_size": old.batch_size, **trial.hyperparameters}


def _is_near(found: object, wanted: object, searched: Dimension | None) -> bool:
    """Whether a value counts as that which is fixed now: it is, or nearly, in a range that was searched."""
    if found == wanted or not isinstance(searched, Float | Int):
        return found == wanted
    if not (isinstance(found, int | float) and isinstance(wanted, int | float)) or wanted not in searched:
        return False
    scale = math.log if searched.log else float
    return abs(scale(found) - scale(wanted)) <= NEAR * (scale(searched.high) - scale(searched.low))


def _words(dimension: Dimension) -> str:
    if isinstance(dimension, Choice):
        return ", ".join(map(str, dimension.choices))
    return f"{dimension.low:g}:{dimension.high:g}"
