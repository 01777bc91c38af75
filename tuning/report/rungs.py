"""Early stopping: how many trials came to each rung, which went on, which were stopped, with which values."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tuning import halving
from tuning.records import State, TrialRecord
from tuning.report import palette
from tuning.report.panel import Panel
from tuning.report.sample import sample
from tuning.report.view import View, brief

WENT_ON = palette.NEUTRAL
POINTS = 1500


@dataclass(frozen=True, slots=True)
class Rung:
    """The trials that have a value at a rung."""

    epoch: int
    went_on: Sequence[TrialRecord]
    stopped: Sequence[TrialRecord]
    undecided: Sequence[TrialRecord]
    """Those that wait there: the sweep is not over."""

    @property
    def came(self) -> int:
        return len(self.went_on) + len(self.stopped) + len(self.undecided)


def rungs_of(view: View) -> list[Rung]:
    """Return the sweep's rungs in order of epochs."""
    epochs = halving.rungs_of(view.sweep.spec.early_stopping, view.epochs)
    return [_rung(epoch, [trial for trial in view.trials if epoch in trial.values]) for epoch in epochs]


def _rung(epoch: int, came: Sequence[TrialRecord]) -> Rung:
    last = [trial for trial in came if max(trial.values) == epoch]
    stopped = [trial for trial in last if trial.state is State.PRUNED]
    undecided = [trial for trial in last if not trial.state.has_ended]
    rest = {trial.number for trial in (*stopped, *undecided)}
    return Rung(epoch, [trial for trial in came if trial.number not in rest], stopped, undecided)


def rungs(view: View) -> Panel:
    """Return, per rung, counts and values."""
    found = rungs_of(view)
    if not found:
        why = "asks for none" if view.sweep.spec.early_stopping.kind == "none" else "has no epoch for one"
        return Panel("rungs", "No trial was to be stopped early", f"The sweep {why}.")
    stopped = sum(len(rung.stopped) for rung in found)
    came = found[0].came
    if not came:
        return Panel("rungs", "Who was stopped early", "No trial has come to the first rung.")
    return Panel(
        "rungs",
        f"{stopped:,} of {came:,} trials that came to the first rung were stopped early, there or later",
        f"{_rule(view)} Left: how many trials came to each rung and what became of them. Right: their values "
        "at that epoch, "
        f"{'a sample of them, ' if any(rung.came > POINTS // len(found) for rung in found) else ''}"
        "a mark each.",
        _figure(view, found),
    )


def _rule(view: View) -> str:
    stopping = view.sweep.spec.early_stopping
    if stopping.kind == "median":
        return "A trial goes on if it is no worse than the median of the others at its rung."
    return (
        f"A trial goes on if it is among the best 1/{stopping.reduction} of all that had come to its rung "
        "by then, so the first ones go on more easily."
    )


def _figure(view: View, found: Sequence[Rung]) -> go.Figure:
    figure = make_subplots(rows=1, cols=2, column_widths=[0.42, 0.58], horizontal_spacing=0.1)
    figure.update_layout(palette.style(barmode="stack"))
    names = [f"epoch {rung.epoch}" for rung in found]
    most = max(1, POINTS // len(found))
    kinds = (
        ("went on", WENT_ON, "circle", [rung.went_on for rung in found]),
        ("stopped", palette.COLOURS[State.PRUNED], palette.SYMBOLS[State.PRUNED], [r.stopped for r in found]),
        ("undecided", palette.COLOURS[State.RUNNING], "diamond", [rung.undecided for rung in found]),
    )
    draw = random.Random(0)
    for name, colour, symbol, groups in kinds:
        if not any(groups):
            continue
        counts = [len(group) for group in groups]
        figure.add_trace(
            go.Bar(x=names, y=counts, text=[count or "" for count in counts], name=name, marker_color=colour),
            row=1,
            col=1,
        )
        marks = [
            (index, rung.epoch, trial)
            for index, (rung, group) in enumerate(zip(found, groups, strict=True))
            for trial in sample(group, max(1, most * len(group) // max(1, rung.came)), view.mode)
        ]
        figure.add_trace(
            go.Scatter(
                x=[index + draw.uniform(-0.28, 0.28) for index, _, _ in marks],
                y=[view.scale.clip(trial.values[epoch]) for _, epoch, trial in marks],
                text=[brief(view, trial) for _, _, trial in marks],
                customdata=[trial.values[epoch] for _, epoch, trial in marks],
                name=name,
                mode="markers",
                showlegend=False,
                marker={"color": colour, "symbol": symbol, "size": 6, "opacity": 0.75},
                hovertemplate=f"{view.metric} here: %{{customdata:.5g}}<br>%{{text}}<extra>{name}</extra>",
            ),
            row=1,
            col=2,
        )
    figure.update_yaxes(title_text="trials", row=1, col=1)
    figure.update_xaxes(tickvals=list(range(len(found))), ticktext=names, zeroline=False, row=1, col=2)
    figure.update_yaxes(view.scale.axis(), row=1, col=2)
    return figure
