"""Sweeps of a small net of one's own that are trained again: in cohorts of several widths, and one by one."""

import shutil
from pathlib import Path
from typing import Any

import torch

import tuning
from tuning import paths, storage
from tuning.engine import checkpoint

NET = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, hidden=16, dropout=0.0, bn_momentum=0.1, fuse=1e9):
        super().__init__()
        self.first, self.out = nn.Linear(1, hidden), nn.Linear(hidden, 1)
        self.norm = nn.BatchNorm1d(hidden, momentum=bn_momentum)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("fuse", torch.tensor(float(fuse)))

    def forward(self, x):
        y = self.out(self.dropout(torch.relu(self.norm(self.first(x)))))
        return y / (self.norm.num_batches_tracked < self.fuse)  # infinite after so many steps
"""

STEPS = 7
"""Of an epoch."""


def spec(home: Path, name: str, **changes: Any) -> tuning.SweepSpec:
    """Return a sweep over the net, whose first two trials diverge: in the third epoch, and in the first."""
    (home / "mine.py").write_text(NET)
    settings: dict[str, Any] = {
        "model": f"{home}/mine.py:Net",
        "data": "noisy_square",
        "name": name,
        "trials": 16,
        "epochs": 9,
        "batch_size": 10,
        "search": {
            "lr": tuning.Float(1e-3, 0.1, log=True),
            "momentum": tuning.Float(0.0, 0.9),
            "dropout": tuning.Float(0.0, 0.3),
            "bn_momentum": tuning.Float(0.05, 0.9),
            "optimizer": tuning.Choice(["sgd", "adagrad", "adam"]),
        },
        "try_": [{"fuse": n * STEPS, "lr": 0.01, "optimizer": "adam"} for n in (2.5, 0.5)],
        "early_stopping": tuning.EarlyStopping(kind="median", grace_epochs=2),
        "resources": tuning.Resources(cpus=1, gpus=0),
        "max_concurrent": 1,
        "home": str(home),
    }
    return tuning.SweepSpec(**{**settings, **changes})


def copied(home: Path, to: Path) -> Path:
    """Return a copy of a home, to do something to."""
    shutil.copytree(home, to)
    return to


def rewrite(home: Path, name: str, number: int, **changes: Any) -> None:
    """Change what stands in a trial's checkpoint, and its card with it."""
    path = paths.checkpoint_file(str(home / name), number)
    content = {**torch.load(path, weights_only=True), **changes}
    encoded = checkpoint.encode(content)
    storage.write(path, encoded)
    storage.write(paths.card_file(str(home / name), number), checkpoint.card(content, encoded))


def told(home: Path, name: str, before: str, after: str) -> None:
    """Put other words into a study."""
    journal = home / name / "study.journal"
    text = journal.read_text()
    assert before in text
    journal.write_text(text.replace(before, after))
