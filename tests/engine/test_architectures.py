"""Parity holds for networks that nobody thought of: small ones drawn at random, layer by layer."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.engine import stacks
from tests.engine.trials import settings as trial_settings
from tuning.engine.grouping import by_structure
from tuning.records import TrialSpec

SPEC, SPLITS = trial_settings("net")
CLASSES, ROWS, WORDS = 3, 7, 9
TRIALS = [{"lr": 0.01, "momentum": 0.9}, {"lr": 0.1, "momentum": 0.2, "weight_decay": 0.01}, {"lr": 0.03}]

Layer = Callable[[float, float], nn.Module]
"""Makes a layer of one trial from its dropout rate and its batch norm momentum."""


def same(kind: Callable[..., nn.Module], *args: Any, **options: Any) -> Layer:
    """Return a layer that is the same in all trials."""
    return lambda rate, momentum: kind(*args, **options)


def norm(kind: Callable[..., nn.Module], width: int, *, averages: bool = False, **options: Any) -> Layer:
    return lambda rate, momentum: kind(width, momentum=None if averages else momentum, **options)


def dropout(kind: Callable[[float], nn.Module]) -> Layer:
    return lambda rate, momentum: kind(rate)


def last_step(kind: Callable[..., nn.RNNBase], features: int, hidden: int, options: dict[str, Any]) -> Layer:
    return lambda rate, momentum: LastStep(kind(features, hidden, batch_first=True, **options))


drawn = settings(max_examples=30, deadline=None, derandomize=True, database=None)


class LastStep(nn.Module):
    """A recurrent layer whose last output goes on."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        output, _ = self.layer(x)
        last: Tensor = output[:, -1]
        return last


activations = st.sampled_from([nn.ReLU, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.GELU, nn.LeakyReLU])


@st.composite
def dense(draw: st.DrawFn, width: int) -> tuple[list[Layer], int]:
    """Draw layers for rows of `width` features; return them and the width that comes out."""
    layers: list[Layer] = []
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["linear", "norm", "dropout", "activation", "layer norm"]))
        if kind == "linear":
            new, bias = draw(st.integers(1, 6)), draw(st.booleans())
            layers.append(same(nn.Linear, width, new, bias=bias))
            width = new
        elif kind == "norm":
            affine, averages = draw(st.booleans()), draw(st.booleans())
            layers.append(norm(nn.BatchNorm1d, width, averages=averages, affine=affine))
        elif kind == "dropout":
            layers.append(dropout(nn.Dropout))
        elif kind == "layer norm":
            layers.append(same(nn.LayerNorm, width))
        else:
            layers.append(same(draw(activations)))
    return layers, width


@st.composite
def convolutional(draw: st.DrawFn) -> tuple[list[Layer], tuple[int, ...]]:
    """Draw layers for images of 6 x 6 pixels."""
    channels, layers = draw(st.integers(1, 2)), []
    shape = (channels, 6, 6)
    for _ in range(draw(st.integers(1, 2))):
        new = draw(st.integers(1, 4))
        layers.append(same(nn.Conv2d, channels, new, 3, padding=1))
        channels = new
        if draw(st.booleans()):
            layers.append(norm(nn.BatchNorm2d, channels))
        if draw(st.booleans()):
            layers.append(dropout(nn.Dropout2d))
        layers.append(same(draw(activations)))
    pool = draw(st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]))
    layers += [same(pool, 2), same(nn.Flatten)]
    more, width = draw(dense(channels * 9))
    return [*layers, *more, same(nn.Linear, width, CLASSES)], shape


@st.composite
def recurrent(draw: st.DrawFn) -> tuple[list[Layer], tuple[int, ...]]:
    """Draw a recurrent layer over sequences of 4 steps, and layers after it."""
    features, hidden = draw(st.integers(1, 3)), draw(st.integers(2, 4))
    kind = draw(st.sampled_from([nn.RNN, nn.GRU, nn.LSTM]))
    options: dict[str, Any] = {
        "num_layers": draw(st.integers(1, 2)),
        "bias": draw(st.booleans()),
        "bidirectional": draw(st.booleans()),
    }
    if kind is nn.LSTM and draw(st.booleans()):
        options["proj_size"] = hidden - 1
    if kind is nn.RNN:
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    width = options.get("proj_size", hidden) * (2 if options["bidirectional"] else 1)
    more, out = draw(dense(width))
    return [last_step(kind, features, hidden, options), *more, same(nn.Linear, out, CLASSES)], (4, features)


@st.composite
def perceptron(draw: st.DrawFn) -> tuple[list[Layer], tuple[int, ...]]:
    features = draw(st.integers(1, 4))
    layers, width = draw(dense(features))
    return [*layers, same(nn.Linear, width, CLASSES)], (features,)


@st.composite
def worded(draw: st.DrawFn) -> tuple[list[Layer], tuple[int, ...]]:
    """Draw an embedding of the words of a sentence of four, and layers after it."""
    width = draw(st.integers(1, 3))
    layers: list[Layer] = [same(nn.Embedding, WORDS, width, padding_idx=draw(st.sampled_from([None, 0])))]
    if draw(st.booleans()):
        kind, hidden = draw(st.sampled_from([nn.RNN, nn.GRU, nn.LSTM])), draw(st.integers(1, 3))
        layers.append(last_step(kind, width, hidden, {}))
        width = hidden
    else:
        layers.append(same(nn.Flatten))
        width *= 4
    more, out = draw(dense(width))
    return [*layers, *more, same(nn.Linear, out, CLASSES)], (4,)


def check(layers: list[Layer], shape: tuple[int, ...], seed: int, classifies: bool, words: int = 0) -> None:
    """Compare two steps of three trials in a stack with those of each alone.

    Args:
        words: inputs are integers below it; 0: they are floats.
    """
    torch.manual_seed(seed)
    numbers = [(0.1, 0.3), (0.5, 0.05), (0.8, 1.0)]
    built = [nn.Sequential(*(layer(*found) for layer in layers)).double() for found in numbers]
    assert by_structure(built) == [[0, 1, 2]]
    specs = [TrialSpec(number=number, hyperparameters=found) for number, found in enumerate(TRIALS)]
    splits = replace(SPLITS, task="classification" if classifies else "regression")
    stack = stacks.stacked(specs, built, SPEC, splits)
    members = [stacks.alone(t, copy.deepcopy(m), SPEC) for t, m in zip(specs, built, strict=True)]
    for step in range(2):
        floats = torch.randn(ROWS, *shape, dtype=torch.float64)
        inputs = torch.randint(words, (ROWS, *shape)) if words else floats
        classes = torch.randint(CLASSES, (ROWS,))
        targets = classes if classifies else torch.randn(ROWS, CLASSES, dtype=torch.float64)
        for row, member in enumerate(members):
            member.set_to(stack, row, ())
        losses, gradients, _ = stack.gradients(inputs, targets, (), step)
        for row, member in enumerate(members):
            loss, flat = member.gradients(inputs, targets, step, splits)
            torch.testing.assert_close(losses[row], loss, rtol=1e-9, atol=1e-12)
            together = torch.cat([gradient[row].reshape(-1) for gradient in gradients])
            assert (together - flat).norm() <= 1e-9 * max(flat.norm(), 1e-6)
            for key, value in stack.layout.state_dict(stack.rows, row).items():
                torch.testing.assert_close(value, member.model.state_dict()[key], rtol=1e-9, atol=1e-12)
        stack.optimizer.step(gradients)


@drawn
@given(perceptron(), st.integers(0, 2**20), st.booleans())
def test_perceptrons(drawn_layers: tuple[list[Layer], tuple[int, ...]], seed: int, classifies: bool) -> None:
    check(*drawn_layers, seed, classifies)


@drawn
@given(convolutional(), st.integers(0, 2**20), st.booleans())
def test_convolutional_networks(
    drawn_layers: tuple[list[Layer], tuple[int, ...]], seed: int, classifies: bool
) -> None:
    check(*drawn_layers, seed, classifies)


@drawn
@given(recurrent(), st.integers(0, 2**20), st.booleans())
def test_recurrent_networks(
    drawn_layers: tuple[list[Layer], tuple[int, ...]], seed: int, classifies: bool
) -> None:
    check(*drawn_layers, seed, classifies)


@drawn
@given(worded(), st.integers(0, 2**20), st.booleans())
def test_networks_of_words(
    drawn_layers: tuple[list[Layer], tuple[int, ...]], seed: int, classifies: bool
) -> None:
    check(*drawn_layers, seed, classifies, words=WORDS)
