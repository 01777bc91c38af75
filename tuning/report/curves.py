"""Learning curves: the metric of each trial, epoch by epoch."""

from collections.abc import Sequence

import plotly.graph_objects as go

from tuning.records import State, TrialRecord
from tuning.report import palette
from tuning.report.panel import Panel
from tuning.report.sample import sample, thinned
from tuning.report.scale import rounded
from tuning.report.view import View, hover, label, plain

LABELLED = 8
"""So few trials have a line and a name each."""

CURVES = 300
"""More trials than these cannot be told apart."""

POINTS = 20_000
"""Of all curves together."""

LABEL = 70
"""Characters of a name."""


def curves(view: View) -> Panel:
    """Return the learning curves of all trials that have reported, coloured by state."""
    trained = [trial for trial in view.trials if trial.values]
    if not trained:
        return Panel("curves", "Learning curves", "No trial has reported an epoch.")
    chosen = sample(trained, CURVES, view.mode)
    most = max(10, POINTS // len(chosen))
    figure = palette.figure(
        height=460, xaxis={"title": {"text": "epoch"}, "range": _range(trained)}, yaxis=view.scale.axis()
    )
    few = len(trained) <= LABELLED
    if few:
        figure.add_traces([_named(view, trial, index, most) for index, trial in enumerate(chosen)])
        figure.update_layout(legend={"orientation": "v", "y": -0.18, "yanchor": "top"})
        figure.update_layout(height=460 + 24 * len(chosen))
    for state, trials in reversed(view.by_state(chosen).items()):
        figure.add_trace(_ends(view, state, trials) if few else _together(view, state, trials, most))
    of = (
        f"{len(chosen)} of {len(trained)} trials, the best and a random draw of the others"
        if (len(chosen) < len(trained))
        else f"All {len(trained)} trials that have reported"
    )
    how = "each with a line of its own; the mark at its end tells the state" if few else "coloured by state"
    return Panel(
        "curves",
        _found(view, trained),
        f"{of}, {how}. A curve ends where its trial ended or was stopped; values that are far worse "
        "than the others run along the edge.",
        figure,
    )


def _range(trained: Sequence[TrialRecord]) -> list[float]:
    last = max(max(trial.values) for trial in trained)
    room = max(0.1, 0.02 * last)
    return [1 - room, last + room]


def _found(view: View, trained: Sequence[TrialRecord]) -> str:
    whole = sum(max(trial.values) >= view.epochs for trial in trained)
    ended = f"{whole:,} of {len(trained):,} trials have trained for all {view.epochs} epochs"
    return f"Learning curves: {ended}"


def _named(view: View, trial: TrialRecord, index: int, most: int) -> go.Scatter:
    """Return the curve of one of few trials, named by its configuration."""
    epochs = thinned(trial.values, most)
    name = f"trial {trial.number}: {label(view, trial)}" if view.varied else f"trial {trial.number}"
    return go.Scatter(
        x=epochs,
        y=[view.scale.clip(trial.values[epoch]) for epoch in epochs],
        customdata=[trial.values[epoch] for epoch in epochs],
        name=plain(name[:LABEL]),
        mode="lines",
        line={
            "color": palette.LINES[index % len(palette.LINES)],
            "dash": palette.DASHES[index % len(palette.DASHES)],
            "width": 2.5,
        },
        hovertemplate="epoch %{x}: %{customdata:.5g}",
    )


def _ends(view: View, state: State, trials: Sequence[TrialRecord]) -> go.Scatter:
    """Return marks at the ends of curves that tell how the trials ended."""
    ends = [max(trial.values) for trial in trials]
    return go.Scatter(
        x=ends,
        y=[view.scale.clip(trial.values[end]) for trial, end in zip(trials, ends, strict=True)],
        text=[hover(view, trial) for trial in trials],
        name=state.value,
        mode="markers",
        marker={"color": palette.COLOURS[state], "symbol": palette.SYMBOLS[state], "size": 10},
        hovertemplate="%{text}<extra></extra>",
    )


def _together(view: View, state: State, trials: Sequence[TrialRecord], most: int) -> go.Scatter:
    """Return the curves of many trials of one state as one trace, with a gap between any two."""
    x: list[int | None] = []
    y: list[float | None] = []
    said: list[tuple[int, float] | None] = []
    for trial in trials:
        epochs = thinned(trial.values, most)
        x += [*epochs, None]
        y += [*(view.scale.clip(trial.values[epoch]) for epoch in epochs), None]
        said += [*((trial.number, rounded(trial.values[epoch])) for epoch in epochs), None]
    return go.Scatter(
        x=x,
        y=y,
        customdata=said,
        name=state.value,
        mode="lines+markers",
        connectgaps=False,
        line={"color": palette.COLOURS[state], "width": 1},
        marker={"symbol": palette.SYMBOLS[state], "size": 4},
        opacity=0.55 if len(trials) > 20 else 0.85,
        hovertemplate="trial %{customdata[0]}, epoch %{x}: %{customdata[1]:.5g}<extra></extra>",
    )
