"""A folder of a user's own, and what a refusal looks like."""

from collections.abc import Callable
from pathlib import Path

OWN = """
import torch
from torch import nn
from torch.utils.data import TensorDataset

class Net(nn.Module):
    def __init__(self, width=4, dropout=0.0):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, 1))
    def forward(self, x):
        return self.layers(x)

class Three(Net):
    def forward(self, x):
        return x.expand(-1, 3)

class Listed(Net):
    def forward(self, x):
        return [x]

def needs(height):
    return Net(height)

def momentous(momentum):
    return Net()

def number():
    return 3

def raises():
    raise RuntimeError("no such layer")

not_callable = Net()
three = 3

def sets(*shape, classes=0):
    y = torch.arange(8) % classes if classes else torch.rand(8)
    return [TensorDataset(torch.rand(8, *shape), y) for _ in range(3)]

def pictures():
    return sets(1, 8, 8)

def colours():
    return sets(3, 8, 8, classes=2)

def two_sets():
    return sets(1)[:2]
"""


Refused = Callable[..., None]


def everything_in(home: Path) -> dict[str, bytes] | None:
    if not home.exists():
        return None
    return {str(path): path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}


HERE = Path("/specs")
