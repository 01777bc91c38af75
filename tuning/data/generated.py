"""The regression sets of the documented models, and scikit-learn's diabetes patients."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tuning.data.splits import (
    Arrays,
    Splits,
    fingerprint,
    generator,
    shuffled_parts,
    tensor_datasets,
)

# Everything is computed in float64 and rounded once: float32 sines and normal numbers differ in
# their last bit between processors, and the fingerprint would too.
FLOAT = torch.float64
SINE_STEPS = 10


def parabola(name: str, seed: int, _folder: Path) -> Splits:
    x = torch.linspace(-7, 10, 2500, dtype=FLOAT).unsqueeze(1)
    y = x.square() - 5 + 2 * _normal(name, seed, x)
    parts = _random_parts(name, seed, x, y, (2000, 250, 250))
    mean, std = _statistics(parts[0][0])
    parts = [((inputs - mean) / std, targets) for inputs, targets in parts]
    return _splits(name, parts, {"kind": "standardize"} | _plain(mean, std))


def noisy_line(name: str, seed: int, _folder: Path) -> Splits:
    """So few noisy points that a large net learns the noise: dropout's textbook example."""
    x = torch.linspace(-1, 1, 20, dtype=FLOAT).unsqueeze(1)
    train = (x, x + 0.3 * _normal(name, seed, x, "train noise"))
    y = x + 0.3 * _normal(name, seed, x, "held-out noise")
    return _splits(name, [train, *_random_parts(name, seed, x, y, (10, 10))], {"kind": "none"})


def noisy_square(name: str, seed: int, _folder: Path) -> Splits:
    x = torch.linspace(-1, 1, 100, dtype=FLOAT).unsqueeze(1)
    noise = torch.rand(x.shape, generator=generator(name, seed, "noise"), dtype=FLOAT)
    parts = _random_parts(name, seed, x, x.square() + 0.2 * noise, (80, 10, 10))
    return _splits(name, parts, {"kind": "none"})


def sine(name: str, _seed: int, _folder: Path) -> Splits:
    """Consecutive windows of pi in time: the sine goes in, the cosine is to come out."""
    parts = [_sine_windows(0, 100), _sine_windows(100, 120), _sine_windows(120, 140)]
    return _splits(name, parts, {"kind": "none"}, ordered=True)


def diabetes(name: str, seed: int, _folder: Path) -> Splits:
    from sklearn.datasets import load_diabetes

    # Unscaled, because scikit-learn's own scaling has seen the rows that become test rows.
    rows, progression = load_diabetes(return_X_y=True, scaled=False)
    x, y = torch.from_numpy(rows), torch.from_numpy(progression).unsqueeze(1)
    parts = _random_parts(name, seed, x, y, (354, 44, 44))
    (mean, std), (target_mean, target_std) = (_statistics(tensor) for tensor in parts[0])
    parts = [((x - mean) / std, (y - target_mean) / target_std) for x, y in parts]
    target = {"target": _plain(target_mean, target_std)}
    return _splits(name, parts, {"kind": "standardize"} | _plain(mean, std) | target)


def _normal(name: str, seed: int, like: Tensor, purpose: str = "noise") -> Tensor:
    return torch.randn(like.shape, generator=generator(name, seed, purpose), dtype=FLOAT)


def _sine_windows(first: int, end: int) -> Arrays:
    """Return inputs and targets of shape (end - first, steps, 1)."""
    starts = torch.arange(first, end, dtype=FLOAT).unsqueeze(1)
    time = (starts + torch.linspace(0, 1, SINE_STEPS, dtype=FLOAT)).unsqueeze(2) * math.pi
    return time.sin(), time.cos()


def _random_parts(name: str, seed: int, x: Tensor, y: Tensor, sizes: tuple[int, ...]) -> list[Arrays]:
    return [(x[rows], y[rows]) for rows in shuffled_parts(len(x), sizes, generator(name, seed))]


def _statistics(rows: Tensor) -> Arrays:
    return rows.mean(0), rows.std(0, correction=0)


def _plain(mean: Tensor, std: Tensor) -> dict[str, Any]:
    return {"mean": mean.tolist(), "std": std.tolist()}


def _splits(name: str, parts: list[Arrays], preprocess: dict[str, Any], ordered: bool = False) -> Splits:
    train, validation, test = tensor_datasets(
        [(inputs.float(), targets.float()) for inputs, targets in parts]
    )
    inputs, targets = parts[0]
    return Splits(
        name=name,
        task="regression",
        train=train,
        validation=validation,
        test=test,
        num_outputs=targets.shape[-1],
        input_shape=tuple(inputs.shape[1:]),
        preprocess=preprocess | {"shape": list(inputs.shape[1:])},
        fingerprint=fingerprint(train, validation, test),
        ordered=ordered,
    )
