"""A line to be swept over data of which any part may be wrong."""

from pathlib import Path
from typing import Any

import tuning

DATA = """
import os
import pathlib
import random
import sys

import torch
from torch.utils.data import TensorDataset

def good(seed=0, wrong_test=False):
    generator = torch.Generator().manual_seed(seed)
    def part(n):
        x = torch.randn(n, 4, generator=generator)
        return TensorDataset(x, (x.sum(1) > 0).long())
    return part(200), part(50), part(50)

class Unreadable(torch.utils.data.Dataset):
    def __init__(self, rows=400): self.rows = rows
    def __len__(self): return self.rows
    def __getitem__(self, i):
        if i == 5: raise OSError('row 5 is damaged')
        return torch.zeros(4), i % 2

def damaged_test(): return (*good()[:2], Unreadable())

def damaged(): return (Unreadable(6), *good()[1:])

def unseeded():
    rows = torch.randperm(300)
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    parts = [TensorDataset(x[r], (x[r].sum(1) > 0).long()) for r in rows.split([200, 50, 50])]
    return tuple(parts)

class OneByOne(torch.utils.data.Dataset):
    def __init__(self, rows): self.rows = rows
    def __len__(self): return self.rows
    def __getitem__(self, i): return torch.zeros(4), random.Random(f"{os.getpid()} {i}").randrange(2)

class OnceDamaged(OneByOne):
    # its row 150 cannot be read the first time that a worker tries, where a file says so
    def __getitem__(self, i):
        marker = pathlib.Path(__file__).with_name("damaged")
        if i == 150 and "default_worker" in sys.argv[0] and marker.exists():
            marker.unlink()
            raise OSError('row 150 is damaged')
        return torch.full((4,), float(i)), i % 2

def once_damaged(): return OnceDamaged(200), OnceDamaged(50), OnceDamaged(50)

def of_the_process(): return OneByOne(200), OneByOne(50), OneByOne(50)
"""

MODEL = """
import torch
class Line(torch.nn.Linear):
    def __init__(self): super().__init__(4, 2)
"""


def spec(own: Path, data: str, **keys: Any) -> tuning.SweepSpec:
    return tuning.SweepSpec(
        model=f"{own}/own_line.py:Line",
        data=f"{own}/own_data.py:{data}",
        epochs=2,
        batch_size=50,
        search={"lr": tuning.Float(0.01, 0.1)},
        early_stopping=tuning.EarlyStopping(kind="none"),
        **{"trials": 2, "name": "line", "max_concurrent": 1, **keys},
    )
