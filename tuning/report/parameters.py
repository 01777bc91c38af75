"""The values over the hyperparameters: all at once as parallel coordinates, and one by one as slices."""

import random
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from tuning.records import State, TrialRecord
from tuning.report import palette
from tuning.report.axis import MISSING, Axis, axis_of
from tuning.report.panel import Panel
from tuning.report.sample import sample
from tuning.report.view import View, plain, short
from tuning.space import Choice, Float, Int

COLUMNS = 3
ROW_PX = 260

MARKS = 16_000
"""Of all hyperparameters together; where there are more than 16 of them, fewer trials are drawn."""

NOTHING = "All trials have the same hyperparameters."


def parallel(view: View) -> Panel:
    """Return a line per trial through its hyperparameters, its epochs and its value."""
    title = "Which hyperparameters go with good values"
    if not view.varied:
        return Panel("parallel", title, NOTHING)
    drawn, left_out = _drawn(view)
    trials = [trial for trial in drawn if trial.value is not None or trial.state.has_ended]
    if not trials:
        return Panel("parallel", title, "No trial has a value.")
    scale = view.scale
    found = [(scale.clip(_standing(trial)), trial) for trial in trials]
    found.sort(key=lambda one: one[0], reverse=view.mode == "min")
    places, trials = [place for place, _ in found], [trial for _, trial in found]
    values = Axis(Float(scale.low, scale.high, scale.log))
    epochs = Axis(Int(0, view.epochs))
    placed = list(map(values.place, places))
    tickvals, ticktext = values.ticks()
    dimensions = [_dimension(key, *_of(view, key, trials)) for key in view.varied]
    dimensions.append(_dimension("epochs", epochs, [max(trial.values, default=0) for trial in trials]))
    dimensions.append(_dimension(view.metric, values, places))
    figure = palette.figure(height=430, margin={"l": 70, "r": 30, "t": 60, "b": 30})
    figure.add_trace(
        go.Parcoords(
            dimensions=dimensions,
            line={
                "color": placed,
                "colorscale": "Cividis",
                "reversescale": view.mode == "max",
                "cmin": 0,
                "cmax": 1,
                "showscale": True,
                "colorbar": {"title": {"text": view.metric}, "tickvals": tickvals, "ticktext": ticktext},
            },
        )
    )
    return Panel(
        "parallel",
        title,
        "A line is a trial; the darker, the better. Drag along an axis to see only trials that pass there: "
        f"the top of `epochs` leaves those that have trained for all {view.epochs}. A trial that was stopped "
        "early stands with its best value until then, one that diverged or failed at the bad edge."
        f"{left_out}",
        figure,
    )


def _standing(trial: TrialRecord) -> float | None:
    """Return the value by which a trial can be the best: of one that came to grief there is none."""
    return None if trial.state in (State.DIVERGED, State.FAILED) else trial.value


def slices(view: View) -> Panel:
    """Return a figure per hyperparameter: its values against the trials' values."""
    title = "The values over each hyperparameter"
    if not view.varied:
        return Panel("slices", title, NOTHING)
    if not view.shown:
        return Panel("slices", title, "No trial has begun.")
    drawn, left_out = _drawn(view)
    columns = min(COLUMNS, len(view.varied))
    rows = -(-len(view.varied) // columns)
    figure = make_subplots(
        rows=rows, cols=columns, shared_yaxes=True, horizontal_spacing=0.04, vertical_spacing=0.28 / rows
    )
    figure.update_layout(palette.style(height=ROW_PX * rows + 90))
    for index, key in enumerate(view.varied):
        where = {"row": index // columns + 1, "col": index % columns + 1}
        axis, _ = _of(view, key, drawn)
        places, names = axis.ticks()
        for state, trials in view.by_state(drawn).items():
            figure.add_trace(
                go.Scatter(
                    x=_beside_each_other(axis, [trial.hyperparameters.get(key) for trial in trials]),
                    y=[view.scale.clip(trial.value) for trial in trials],
                    customdata=[_said(trial, key) for trial in trials],
                    name=state.value,
                    legendgroup=state.value,
                    showlegend=index == 0,
                    mode="markers",
                    marker={
                        "color": palette.COLOURS[state],
                        "symbol": palette.SYMBOLS[state],
                        "size": 7,
                        "opacity": 0.75,
                    },
                    hovertemplate=f"trial %{{customdata[0]}}, {state.value}<br>"
                    f"{plain(view.metric)} %{{customdata[1]}}<br>{plain(key)} = %{{customdata[2]}}"
                    "<extra></extra>",
                ),
                **where,
            )
        figure.update_xaxes(
            title={"text": plain(key), "standoff": 6},
            tickvals=places,
            ticktext=list(map(plain, names)),
            range=axis.range(room=0.08),
            zeroline=False,
            **where,
        )
        shown = view.scale.axis()
        figure.update_yaxes({**shown, "title": shown["title"] if where["col"] == 1 else None}, **where)
    return Panel(
        "slices",
        title,
        "A mark is a trial at its best value, which of those that were stopped early is one of few epochs. "
        f"Those without a finite value, or with a far worse one, stand at the edge.{left_out}",
        figure,
    )


def _drawn(view: View) -> tuple[Sequence[TrialRecord], str]:
    """Return the trials to draw, each once per hyperparameter, and what to say of those left out."""
    drawn = sample(view.shown, MARKS // len(view.varied), view.mode)
    if len(drawn) == len(view.shown):
        return drawn, ""
    return drawn, f" Of so many hyperparameters those of {len(drawn):,} trials are drawn."


def _said(trial: TrialRecord, key: str) -> tuple[int, str, str]:
    """Return what is said of a trial at a mark: all its hyperparameters in each slice would be too much."""
    value = "none" if trial.value is None else f"{trial.value:.5g}"
    found = trial.hyperparameters.get(key)
    return trial.number, value, MISSING if found is None else plain(short(found)[:60])


def _beside_each_other(axis: Axis, values: Sequence[Any]) -> list[float]:
    """Return places, of which those of equal names differ a little: they would hide each other."""
    draw = random.Random(0)
    spread = min(0.05, 0.15 / len(axis.dimension.choices)) if isinstance(axis.dimension, Choice) else 0.0
    places = [axis.place(value) for value in values]
    return [round(place + draw.uniform(-spread, spread), 5) for place in places]


def _of(view: View, key: str, trials: Sequence[TrialRecord]) -> tuple[Axis, list[Any]]:
    """Return a hyperparameter's axis, and its value in each trial."""
    values = [trial.hyperparameters.get(key) for trial in trials]
    return axis_of(view.varied[key], values), values


def _dimension(key: str, axis: Axis, values: Sequence[Any]) -> dict[str, Any]:
    """Return an axis of parallel coordinates."""
    places, names = axis.ticks()
    return {
        "label": plain(key),
        "values": [axis.place(value) for value in values],
        "range": axis.range(),
        "tickvals": places,
        "ticktext": names,
    }
