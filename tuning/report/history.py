"""How the best value came about: over the trials, and over the hours that they took."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

import plotly.graph_objects as go

from tuning.cost import LEAST_HOURS, amount
from tuning.records import State, TrialRecord, improves
from tuning.report import palette
from tuning.report.panel import Panel
from tuning.report.scale import fit
from tuning.report.view import View, hover

Step = tuple[float, TrialRecord]
"""Where on an axis a trial became the best."""


def history(view: View) -> Panel:
    """Return every trial's value by its number, with the best so far of those that completed."""
    if not any(trial.value is not None for trial in view.trials):
        return Panel("history", "How the best value came about", "No trial has a value.")
    steps = list(best_so_far(view, ((float(trial.number), trial) for trial in view.trials)))
    ticks = {"dtick": 1} if len(view.trials) <= 20 else {}
    figure = palette.figure(xaxis={"title": {"text": "trial"}, **ticks}, yaxis=view.scale.axis())
    for state, trials in view.by_state(view.shown).items():
        figure.add_trace(
            go.Scatter(
                x=[trial.number for trial in trials],
                y=[view.scale.clip(trial.value) for trial in trials],
                text=[hover(view, trial) for trial in trials],
                name=state.value,
                mode="markers",
                marker={"color": palette.COLOURS[state], "symbol": palette.SYMBOLS[state], "size": 8},
                hovertemplate="%{text}<extra></extra>",
            )
        )
    if steps:
        figure.add_trace(_line(view, steps, end=float(view.trials[-1].number)))
    return Panel(
        "history",
        _found(view, steps),
        "Each mark is a trial at the best value of its epochs; those without a finite one, or with one that "
        "is far worse than the others, stand at the edge. "
        "The line is the best so far of the trials that completed.",
        figure,
    )


def hours(view: View) -> Panel:
    """Return the best so far against the hours of GPUs, or of CPUs, that the trials have taken.

    An epoch counts as what one took on average, as in the sweep's own account of its cost.
    """
    title, cost = "What the best value has cost", view.sweep.cost
    ended = sorted((trial for trial in view.trials if trial.state.has_ended), key=_end)
    epochs = [max(trial.values, default=0) for trial in ended]
    every = sum(max(trial.values, default=0) for trial in view.trials)
    if cost is None or not any(epochs):
        return Panel("hours", title, "No trial that has ended has trained for an epoch.")
    in_hours = cost.used >= LEAST_HOURS
    used = cost.used if in_hours else 3600 * cost.used
    spent = [used * count / every for count in accumulate(epochs)]
    steps = list(best_so_far(view, zip(spent, ended, strict=True)))
    unit = f"{cost.unit.upper()}-{'hours' if in_hours else 'seconds'}"
    if not steps:
        return Panel("hours", title, f"No trial has completed, after {amount(spent[-1])} {unit}.")
    scale = fit(view.metric, view.mode, [trial.value for _, trial in steps if trial.value is not None])
    figure = palette.figure(xaxis_title=unit, xaxis_rangemode="tozero", yaxis=scale.axis())
    figure.add_trace(_line(replace(view, scale=scale), steps, end=spent[-1]))
    return Panel(
        "hours",
        f"The best trial had ended after {amount(steps[-1][0])} of {amount(spent[-1])} {unit}",
        f"{cost.describe()}. Trials stand in the order in which they ended; an epoch counts as what one "
        "took its worker on average, in a cohort as its share.",
        figure,
    )


def best_so_far(view: View, trials: Iterable[Step]) -> Iterator[Step]:
    """Yield the completed trials that were better than all before."""
    best = None
    for at, trial in trials:
        value = trial.value if trial.state is State.COMPLETED else None
        if value is not None and improves(value, best, view.mode):
            best = value
            yield at, trial


def _line(view: View, steps: Sequence[Step], end: float) -> go.Scatter:
    last = steps[-1][1]
    return go.Scatter(
        x=[*(at for at, _ in steps), end],
        y=[*(view.scale.clip(trial.value) for _, trial in steps), view.scale.clip(last.value)],
        text=[*(hover(view, trial) for _, trial in steps), hover(view, last)],
        name="best so far",
        mode="lines+markers",
        line={"color": palette.BEST, "shape": "hv", "width": 2},
        marker={"symbol": "star", "size": [11] * len(steps) + [0.1], "color": palette.BEST},
        hovertemplate="%{text}<extra>best so far</extra>",
    )


def _found(view: View, steps: Sequence[Step]) -> str:
    if not steps:
        return "No trial has completed"
    first, last = steps[0][1], steps[-1][1]
    return f"The best {view.metric} came to {last.value:.5g} with trial {last.number}" + (
        f", from {first.value:.5g} with trial {first.number}" if len(steps) > 1 else ""
    )


def _end(trial: TrialRecord) -> tuple[float, int]:
    """Order trials by when they ended; those of studies that do not tell, by number."""
    return trial.spans[-1].end_s if trial.spans else 0.0, trial.number
