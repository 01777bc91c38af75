"""Distributions of what goes into the layers and comes out of them, as one figure of small histograms."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from plotly.subplots import make_subplots
from torch import Tensor

from tuning.inspection.activations import Layer

NUM_BINS = 50
MANY_ZEROS = 0.1
"""A share of all values."""

MAX_LAYERS = 24
"""Rows of a figure; of more layers so many are drawn, evenly from the first to the last."""

ROW_HEIGHT = 95
GREY, BLUE = "#9a9a9a", "#1f6fb4"


@dataclass(frozen=True, slots=True)
class Column:
    """One network at one moment."""

    title: str
    layers: dict[str, Layer]


def histogram(values: Tensor, low: float, high: float) -> Tensor:
    """Count values in `NUM_BINS` equal bins; what lies outside [low, high] counts into the outermost."""
    return torch.histc(values.clamp(low, high), NUM_BINS, low, high)


def noted(values: Tensor) -> tuple[Tensor, list[str]]:
    """Return the values that are drawn, and what is to be said of those that are not.

    These are NaN and infinity, and zeros that are so many that beside them no other bar could be seen.
    """
    finite = values[values.isfinite()]
    lost = len(values) - len(finite)
    notes = [f"{lost / len(values):.0%} NaN or infinite"] if lost else []
    zeros = int((finite == 0).sum())
    if not MANY_ZEROS * len(values) < zeros < len(finite):
        return finite, notes
    return finite[finite != 0], [*notes, f"{zeros / len(values):.0%} are 0"]


def limits(distributions: Sequence[Tensor]) -> tuple[float, float]:
    """Return a common range of these values, each one's outermost thousandths left out."""
    ends = torch.tensor([0.001, 0.999], dtype=torch.float64)
    finite = [values[values.isfinite()] for values in distributions]
    found = [torch.quantile(values, ends) for values in finite if len(values)]
    if not found:
        return 0.0, 1.0
    low = min(float(quantiles[0]) for quantiles in found)
    high = max(float(quantiles[1]) for quantiles in found)
    margin = 1e-6 * max(abs(low), abs(high), 1e-6)
    return (low, high) if high - low > margin else (low - 0.5, high + 0.5)


def inputs_figure(columns: Sequence[Column]) -> Any:
    """Draw what goes into each layer: a row for each layer, the same range in all columns."""
    return _figure(columns, lambda layer: [(torch.cat(layer.inputs).double(), BLUE, "inputs")])


def pre_activations_figure(columns: Sequence[Column]) -> Any:
    """Draw what comes out of each layer, grey, and that after the batch norm which follows, blue."""

    def seen(layer: Layer) -> list[tuple[Tensor, str, str]]:
        outputs = torch.cat(layer.outputs).double()
        if not layer.normalized:
            return [(outputs, BLUE, "outputs")]
        normalized = torch.cat(layer.normalized).double()
        return [(outputs, GREY, "before batch norm"), (normalized, BLUE, "after batch norm")]

    return _figure(columns, seen)


def drawn_layers(columns: Sequence[Column]) -> tuple[list[str], int]:
    """Return the layers that get a row, in order of calls, and how many there are."""
    longest = max((column.layers for column in columns), key=len)
    names = list(longest)
    if len(names) <= MAX_LAYERS:
        return names, len(names)
    rows = torch.linspace(0, len(names) - 1, MAX_LAYERS).long().tolist()
    return [names[row] for row in rows], len(names)


def _figure(columns: Sequence[Column], seen: Any) -> Any:
    names, _ = drawn_layers(columns)
    figure = make_subplots(
        rows=len(names),
        cols=len(columns),
        column_titles=[html.escape(column.title) for column in columns],
        horizontal_spacing=0.025,
        vertical_spacing=0.35 / len(names) if len(names) > 1 else 0,
    )
    for row, name in enumerate(names, start=1):
        cells = [seen(column.layers[name]) if name in column.layers else [] for column in columns]
        low, high = limits([values for cell in cells for values, _, _ in cell])
        for number, cell in enumerate(cells, start=1):
            _cell(figure, row, number, cell, low, high)
        kind = next(column.layers[name].kind for column in columns if name in column.layers)
        label = f"{_short(name) or 'the model'}<br><i>{_short(kind)}</i>"
        middle = sum(figure.get_subplot(row, 1).yaxis.domain) / 2
        _write(figure, label, 0, middle, xanchor="right", align="right", xshift=-10)
    figure.update_layout(
        template="plotly_white",
        height=ROW_HEIGHT * len(names) + 90,
        margin={"l": 170, "r": 20, "t": 60, "b": 30},
        showlegend=False,
        barmode="overlay",
        bargap=0,
    )
    figure.update_yaxes(showticklabels=False, rangemode="tozero", showgrid=False)
    figure.update_xaxes(tickfont={"size": 10}, nticks=5)
    return figure


def _cell(
    figure: Any, row: int, column: int, cell: list[tuple[Tensor, str, str]], low: float, high: float
) -> None:
    width = (high - low) / NUM_BINS
    centers = low + width * (torch.arange(NUM_BINS, dtype=torch.float64) + 0.5)
    notes = [] if cell else ["no such layer"]
    for values, color, name in cell:
        kept, said = noted(values)
        notes += [f"{note} ({name})" if len(cell) > 1 else note for note in said]
        figure.add_bar(
            x=centers.tolist(),
            y=histogram(kept, low, high).int().tolist(),
            width=width,
            marker={"color": color, "line_width": 0},
            opacity=0.75,
            name=name,
            hovertemplate="%{x:.4g}: %{y}<extra>" + name + "</extra>",
            row=row,
            col=column,
        )
    figure.update_xaxes(range=[low, high], row=row, col=column)
    if notes:
        place = figure.get_subplot(row, column)
        x, y = place.xaxis.domain[1], place.yaxis.domain[1]
        _write(figure, "<br>".join(notes), x, y, xanchor="right", yanchor="top", font_size=11)


def _write(figure: Any, text: str, x: float, y: float, **options: Any) -> None:
    figure.add_annotation(text=text, x=x, y=y, xref="paper", yref="paper", showarrow=False, **options)


def _short(name: str) -> str:
    """Return a name as text for a figure, its end if it is long."""
    return html.escape(name if len(name) <= 22 else f"…{name[-21:]}")
