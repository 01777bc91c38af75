"""Where a classifier is wrong: its confusion matrix and its worst mistakes."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor, nn

from tuning.engine import solo
from tuning.engine.batches import Batch
from tuning.inspection.pictures import data_uri

MAX_CLASSES = 25
"""Rows of a matrix that can be read; of more classes the rest goes together."""

MAX_MISTAKES = 20
PER_ROW = 5


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a classifier says of n examples."""

    inputs: Tensor
    targets: Tensor
    """(n,)"""
    logits: Tensor
    """(n, number of classes)"""

    @property
    def predicted(self) -> Tensor:
        return self.logits.argmax(dim=1)


@torch.no_grad()
def predictions(model: nn.Module, batches: Iterable[Batch]) -> Predictions:
    """Return what a model in `eval()` mode says of these examples."""
    model.eval()
    found = [(x, y, solo.predict(model, x, None, carry=False)[0]) for x, y in batches]
    return Predictions(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def confusion(targets: Tensor, predicted: Tensor, num_classes: int) -> Tensor:
    """Return how often each class (row) was taken for each (column), shape (classes, classes)."""
    counts = torch.bincount(targets * num_classes + predicted, minlength=num_classes**2)
    return counts.view(num_classes, num_classes)


def readable(matrix: Tensor, names: Sequence[str]) -> tuple[Tensor, list[str]]:
    """Return a matrix with its names; of more than `MAX_CLASSES` classes those with the most mistakes stay.

    All others go together into one last row and column, so that the counts add up as before.
    """
    if len(matrix) <= MAX_CLASSES:
        return matrix, list(names)
    mistakes = matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal()
    kept = mistakes.argsort(descending=True, stable=True)[: MAX_CLASSES - 1].sort().values
    place = torch.full((len(matrix),), len(kept))
    place[kept] = torch.arange(len(kept))
    rows = torch.zeros(len(kept) + 1, len(matrix), dtype=matrix.dtype).index_add_(0, place, matrix)
    both = torch.zeros(len(kept) + 1, len(kept) + 1, dtype=matrix.dtype).index_add_(1, place, rows)
    return both, [names[i] for i in kept.tolist()] + [f"{len(matrix) - len(kept)} others"]


def worst(found: Predictions, most: int = MAX_MISTAKES) -> Tensor:
    """Return the rows of the wrong predictions with the largest loss, the largest first."""
    losses = nn.functional.cross_entropy(found.logits.double(), found.targets, reduction="none")
    wrong = (found.predicted != found.targets).nonzero().squeeze(1)
    return wrong[losses[wrong].argsort(descending=True, stable=True)[:most]]


def confusion_figure(matrix: Tensor, names: Sequence[str]) -> Any:
    """Draw how often each class was taken for each; colours are shares of a row."""
    labels = [_short(name) for name in names]
    shares = matrix / matrix.sum(1, keepdim=True).clamp(min=1)
    counts = matrix.tolist()
    figure = go.Figure(
        go.Heatmap(
            z=shares.tolist(),
            text=[[count or "" for count in row] for row in counts],
            customdata=counts,
            texttemplate="%{text}",
            colorscale="Blues",
            zmin=0,
            zmax=1,
            showscale=False,
            xgap=1,
            ygap=1,
            hovertemplate="%{y}, taken for %{x}: %{customdata} (%{z:.1%})<extra></extra>",
        )
    )
    side = 28 * len(names) + 260
    ticks = {"tickvals": list(range(len(labels))), "ticktext": labels}
    figure.update_layout(
        template="plotly_white",
        width=side + 60,
        height=side,
        xaxis={"title": "predicted", "side": "top", "showgrid": False, "constrain": "domain", **ticks},
        yaxis={
            "title": "true",
            "autorange": "reversed",
            "scaleanchor": "x",
            "showgrid": False,
            "constrain": "domain",
            **ticks,
        },
        margin={"l": 120, "r": 20, "t": 110, "b": 20},
    )
    return figure


def worst_figure(found: Predictions, rows: Tensor, pictures: Tensor, names: Sequence[str]) -> Any:
    """Draw the mistakes in these rows as pictures (n, h, w, c) with what they are and were taken for."""
    shares = found.logits[rows].double().softmax(dim=1)
    titles = [
        f"{_short(names[true])} ({share[true]:.1%}), taken<br>for {_short(names[said])} ({share[said]:.1%})"
        for true, said, share in zip(
            found.targets[rows].tolist(), found.predicted[rows].tolist(), shares, strict=True
        )
    ]
    num_lines = -(-len(rows) // PER_ROW)
    height = 210 * num_lines + 40
    figure = make_subplots(
        rows=num_lines,
        cols=PER_ROW,
        subplot_titles=titles,
        horizontal_spacing=0.03,
        vertical_spacing=50 / height if num_lines > 1 else 0,
    )
    for i, picture in enumerate(pictures):
        image = go.Image(source=data_uri(picture), hoverinfo="skip")
        figure.add_trace(image, row=i // PER_ROW + 1, col=i % PER_ROW + 1)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.update_annotations(font_size=12)
    figure.update_layout(template="plotly_white", height=height, margin={"l": 10, "r": 10, "t": 70, "b": 10})
    return figure


def _short(name: str) -> str:
    return html.escape(name if len(name) <= 20 else f"{name[:19]}…")
