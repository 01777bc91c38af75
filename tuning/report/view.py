"""What all figures of a report look at: the sweep, which trials are drawn, on which axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from tuning.ledger import Sweep
from tuning.records import Mode, State, TrialRecord
from tuning.report import scale
from tuning.report.sample import sample
from tuning.report.scale import Scale
from tuning.space import Choice, Dimension, Float, Int, is_finite

SHOWN = 1000
"""Trials that are drawn, at most."""


NAMED = 16
"""Hyperparameters that are named where one points at a trial, at most."""

FEW = 6
"""Values that were tried, which stand side by side like names; more make a range."""


@dataclass(frozen=True, slots=True)
class View:
    """A sweep as its report shows it."""

    sweep: Sweep
    trials: Sequence[TrialRecord]
    """All of them."""
    shown: Sequence[TrialRecord]
    scale: Scale
    varied: Mapping[str, Dimension]
    """The hyperparameters in which trials differ: what is searched, then what the spec's `try` varies."""

    @property
    def mode(self) -> Mode:
        return self.scale.mode

    @property
    def metric(self) -> str:
        return self.scale.metric

    @property
    def epochs(self) -> int:
        return self.sweep.spec.epochs or 1

    def by_state(self, trials: Sequence[TrialRecord]) -> dict[State, list[TrialRecord]]:
        """Return trials by state, in the order of states; none that is empty."""
        found = {state: [trial for trial in trials if trial.state is state] for state in State}
        return {state: those for state, those in found.items() if those}


def view(sweep: Sweep) -> View:
    spec = sweep.spec
    assert spec.metric is not None and spec.mode is not None
    values = (value for trial in sweep.trials for value in trial.values.values())
    return View(
        sweep=sweep,
        trials=sweep.trials,
        shown=sample(sweep.trials, SHOWN, spec.mode),
        scale=scale.fit(spec.metric, spec.mode, values),
        varied={**(spec.search or {}), **_tried(sweep)},
    )


def _tried(sweep: Sweep) -> dict[str, Dimension]:
    """Return what only the configurations to try vary, with the values that trials have as its range."""
    searched = sweep.spec.search or {}
    keys = dict.fromkeys(key for entry in sweep.spec.try_ for key in entry if key not in searched)
    found: dict[str, Dimension] = {}
    for key in keys:
        values = [trial.hyperparameters.get(key) for trial in sweep.trials]
        distinct = {identity(value): value for value in values if value is not None}
        known = sorted(distinct.values(), key=lambda v: (str(type(v)), v))
        if len(known) + (None in values) < 2:
            continue
        if len(known) > FEW and all(map(is_finite, known)):
            kind = Int if all(isinstance(value, int) for value in known) else Float
            found[key] = kind(min(known), max(known))
        else:
            found[key] = Choice(tuple(known))
    return found


def identity(value: Any) -> tuple[bool, Any]:
    """Return what two values have in common that are one: 1 and 1.0 are, 1 and True are not."""
    return isinstance(value, bool), value


def label(view: View, trial: TrialRecord) -> str:
    """Return in what a trial differs from others, as one line."""
    found = {key: trial.hyperparameters[key] for key in view.varied if key in trial.hyperparameters}
    return " ".join(f"{key}={short(value)}" for key, value in found.items())


def short(value: Any) -> str:
    """Return a value as people read it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def hover(view: View, trial: TrialRecord) -> str:
    """Return what a figure says of a trial where one points at it: text that Plotly reads as markup."""
    lines = [
        f"{key} = {short(found)[:60]}" for key, found in trial.hyperparameters.items() if key in view.varied
    ]
    more = [f"and {len(lines) - NAMED} more, in the table"] if len(lines) > NAMED else []
    return "<br>".join([brief(view, trial), *map(plain, [*lines[:NAMED], *more])])


def brief(view: View, trial: TrialRecord) -> str:
    """Return the same without hyperparameters, for figures that would hold those of a trial many times."""
    value = "no value" if trial.value is None else f"{view.metric} {trial.value:.5g} at epoch {trial.epoch}"
    return f"trial {trial.number}, {trial.state.value}<br>{plain(value)}"


def plain(text: str) -> str:
    """Return text in which Plotly reads no markup."""
    return escape(text, quote=False)
