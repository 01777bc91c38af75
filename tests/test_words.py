"""Inputs that are integers, such as numbers of words, come to the model as they are."""

from pathlib import Path
from typing import Any

import pytest
import torch

import tuning
from tests.test_cohorts import CPUS, NONE

WORDS = """\
import torch
from torch.utils.data import Dataset, TensorDataset


class Words(torch.nn.Module):
    def __init__(self, dropout=0.1):
        super().__init__()
        self.table, self.dropout = torch.nn.Embedding(50, 8), torch.nn.Dropout(dropout)
        self.layer = torch.nn.Linear(8, 2)

    def forward(self, x):
        return self.layer(self.dropout(self.table(x).mean(1)))


class ByRow(Dataset):
    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def in_memory():
    generator = torch.Generator().manual_seed(0)
    shapes = [(64, 6), (32, 6), (32, 6)]
    sentences = [torch.randint(0, 50, shape, generator=generator, dtype=torch.int32) for shape in shapes]
    return [TensorDataset(x, (x[:, 0] > 25).long()) for x in sentences]


def by_row():
    return [ByRow(rows) for rows in in_memory()]
"""


@pytest.mark.parametrize("data", ["in_memory", "by_row"])
def test_a_model_of_words_is_swept_in_cohorts_and_comes_back(
    tmp_path: Path, ray_cluster: Any, data: str
) -> None:
    file = tmp_path / "words.py"
    file.write_text(WORDS)
    spec = tuning.SweepSpec(
        name="words",
        model=f"{file}:Words",
        data=f"{file}:{data}",
        trials=3,
        epochs=2,
        cohort=3,
        early_stopping=NONE,
        resources=CPUS,
        max_concurrent=1,
        home=str(tmp_path / "home"),
    )
    result = tuning.sweep(spec)
    assert [trial.state.value for trial in result.trials] == ["completed"] * 3
    assert [stack[2] for trial in result.trials for stack in trial.stacks] == [3] * 3
    best = tuning.load_best("words", home=str(tmp_path / "home"))
    assert best.model(torch.zeros(2, 6, dtype=torch.long)).shape == (2, 2)
