"""A user's model and data: they read files that lie beside them, and in the current folder."""

from pathlib import Path

import torch
from layers import Slow
from torch.utils.data import TensorDataset


class Net(torch.nn.Sequential):
    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(Slow(seconds), torch.nn.Linear(1, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))


def points() -> tuple[TensorDataset, ...]:
    numbers = [float(line) for line in Path("points.txt").read_text().split()]
    assert Path(__file__).with_name("points.txt").exists()
    x = torch.tensor(numbers).unsqueeze(1)
    return tuple(TensorDataset(part, part.square()) for part in x.split([64, 16, 16]))
