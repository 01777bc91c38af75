"""What a regression predicts against what is true: as a curve, as a series, or point by point."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor, nn

from tuning.data import Splits
from tuning.data.preprocess import input_dtype
from tuning.engine import solo
from tuning.engine.batches import Batch

DROPOUTS = nn.modules.dropout._DropoutNd
NUM_PASSES = 100
GRID = 300
MAX_OUTPUTS = 4
"""Columns of the target that get a figure each."""

HEIGHT = 440
LAYOUT: dict[str, Any] = {"template": "plotly_white", "margin": {"l": 70, "r": 20, "t": 40, "b": 50}}
TRUE, PREDICTED, TRAIN, TEST = "#222222", "#1f6fb4", "#d62728", "#2a9d5c"
CURVES = ("#1f6fb4", "#ff9d2e", "#7a5195")


@dataclass(frozen=True, slots=True)
class Curve:
    """A prediction over the inputs, with a band around it if it varies; shapes (n,)."""

    name: str
    x: Tensor
    y: Tensor
    deviation: Tensor | None = None


def is_curve(splits: Splits) -> bool:
    """Whether one real number goes in and one comes out."""
    is_real = input_dtype(splits.preprocess).is_floating_point
    return splits.task == "regression" and splits.input_shape == (1,) and splits.num_outputs == 1 and is_real


def has_dropout(model: nn.Module) -> bool:
    return any(isinstance(module, DROPOUTS) and module.p > 0 for module in model.modules())


@torch.no_grad()
def predicted_curve(name: str, model: nn.Module, x: Tensor) -> Curve:
    """Return what a model predicts for x (n, 1) in `eval()` mode."""
    return Curve(name, x.squeeze(1), _outputs(model.eval(), x))


@torch.no_grad()
def dropout_curve(name: str, model: nn.Module, x: Tensor) -> Curve:
    """Return mean and standard deviation of `NUM_PASSES` predictions for x (n, 1), dropout on.

    All else, as batch norm, is in `eval()` mode. Each prediction has masks of its own.
    """
    model.eval()
    dropouts = [module for module in model.modules() if isinstance(module, DROPOUTS)]
    for module in dropouts:
        module.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        passes = _outputs(model, x.repeat(NUM_PASSES, 1)).view(NUM_PASSES, len(x))
    model.eval()
    return Curve(name, x.squeeze(1), passes.mean(0), passes.std(0))


def _outputs(model: nn.Module, x: Tensor) -> Tensor:
    """Return predictions (n,) for x (n, 1), also of a model that leaves the last axis out."""
    return solo.predict(model, x, None, carry=False)[0].reshape(len(x))


def grid(points: Iterable[Tensor]) -> Tensor:
    """Return inputs (GRID, 1) evenly from the least to the greatest of these inputs (n, 1)."""
    every = torch.cat(list(points))
    return torch.linspace(float(every.min()), float(every.max()), GRID).unsqueeze(1)


def curve_figure(splits: Splits, curves: Sequence[Curve], train: Batch, test: Batch) -> Any:
    """Draw curves over training and test points (n, 1), in the units of the raw data."""
    figure = go.Figure()
    for (inputs, targets), name, color in ((train, "training points", TRAIN), (test, "test points", TEST)):
        figure.add_scatter(
            x=_numbers(raw_inputs(splits, inputs)),
            y=_numbers(raw_targets(splits, targets)),
            mode="markers",
            name=name,
            marker={"color": color, "size": 7, "opacity": 0.6},
        )
    for curve, color in zip(curves, CURVES, strict=False):
        x = _numbers(raw_inputs(splits, curve.x.unsqueeze(1)))
        if curve.deviation is not None:
            low, high = (
                _numbers(raw_targets(splits, (curve.y + sign * curve.deviation).unsqueeze(1)))
                for sign in (-1, 1)
            )
            figure.add_scatter(
                x=[*x, *reversed(x)],
                y=[*high, *reversed(low)],
                fill="toself",
                mode="none",
                fillcolor=color,
                opacity=0.2,
                name=f"{curve.name}: one standard deviation",
                hoverinfo="skip",
            )
        y = _numbers(raw_targets(splits, curve.y.unsqueeze(1)))
        figure.add_scatter(x=x, y=y, mode="lines", name=curve.name, line={"color": color, "width": 3})
    figure.update_layout(xaxis_title="input", yaxis_title="target", height=HEIGHT, **LAYOUT)
    return figure


@torch.no_grad()
def predict_all(model: nn.Module, batches: Iterable[Batch], *, carry: bool) -> tuple[Tensor, Tensor]:
    """Return targets and outputs of these batches, a hidden state handed on if `carry`."""
    hidden: Any = None
    targets, outputs = [], []
    for x, y in batches:
        found, hidden = solo.predict(model.eval(), x, hidden, carry=carry)
        targets.append(y)
        outputs.append(found)
    return torch.cat(targets), torch.cat(outputs)


def scatter_figure(splits: Splits, targets: Tensor, outputs: Tensor) -> Any:
    """Draw predicted against true values (n, ..., outputs), a panel for each of the first outputs."""
    truths, said = _columns(splits, targets), _columns(splits, outputs)
    figure = _panels(len(truths))
    for number, (true, predicted) in enumerate(zip(truths, said, strict=True), start=1):
        ends = [float(min(true.min(), predicted.min())), float(max(true.max(), predicted.max()))]
        figure.add_scatter(
            x=ends, y=ends, mode="lines", line={"color": TRUE, "dash": "dot"}, row=number, col=1
        )
        figure.add_scatter(
            x=true.tolist(),
            y=predicted.tolist(),
            mode="markers",
            marker={"color": PREDICTED, "opacity": 0.6},
            hovertemplate="true %{x:.4g}, predicted %{y:.4g}<extra></extra>",
            row=number,
            col=1,
        )
    figure.update_xaxes(title="true")
    figure.update_yaxes(title="predicted")
    figure.update_layout(showlegend=False)
    return figure


def series_figure(splits: Splits, targets: Tensor, outputs: Tensor) -> Any:
    """Draw true and predicted series of consecutive windows (windows, time, outputs), joined together."""
    truths, said = _columns(splits, targets), _columns(splits, outputs)
    figure = _panels(len(truths))
    for number, (true, predicted) in enumerate(zip(truths, said, strict=True), start=1):
        steps = list(range(len(true)))
        for values, name, line in (
            (true, "true", {"color": TRUE, "width": 2}),
            (predicted, "predicted", {"color": PREDICTED, "width": 2, "dash": "dash"}),
        ):
            figure.add_scatter(
                x=steps,
                y=values.tolist(),
                mode="lines",
                name=name,
                line=line,
                showlegend=number == 1,
                row=number,
                col=1,
            )
    figure.update_xaxes(title="time step")
    return figure


def raw_inputs(splits: Splits, x: Tensor) -> Tensor:
    """Return inputs as they were before they were standardised."""
    return _unscaled(x, splits.preprocess) if splits.preprocess["kind"] == "standardize" else x


def raw_targets(splits: Splits, y: Tensor) -> Tensor:
    """Return targets or predictions in the units of the raw data."""
    return _unscaled(y, splits.preprocess["target"]) if "target" in splits.preprocess else y


def _unscaled(values: Tensor, scale: dict[str, Any]) -> Tensor:
    mean, std = (torch.tensor(scale[key], dtype=torch.float64) for key in ("mean", "std"))
    return values.double() * std + mean


def _numbers(column: Tensor) -> list[float]:
    return [float(number) for number in column.flatten()]


def _columns(splits: Splits, values: Tensor) -> list[Tensor]:
    """Return the first columns of (n, ..., outputs), all rows and time steps of each one after the other."""
    rows = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values.unsqueeze(1)
    return list(raw_targets(splits, rows).unbind(1))[:MAX_OUTPUTS]


def _panels(count: int) -> Any:
    figure = make_subplots(rows=count, cols=1)
    figure.update_layout(height=HEIGHT * count, **LAYOUT)
    return figure
