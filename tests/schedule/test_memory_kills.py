"""A worker that Ray kills for want of memory on its node: its trial fails for it, and the sweep goes on."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ray._private.utils import get_system_memory, get_used_memory

from tests import sweeps
from tuning import ledger

GB = 10**9
LEFT, HOGGED = 4 * GB, 7 * GB
"""What more the node may use before Ray kills, and what a trial takes of it: others use memory, too."""

MODEL = """
import time
import torch

class Hog(torch.nn.Linear):
    '''Takes memory in training, and keeps it.'''

    def __init__(self, gigabytes=0):
        super().__init__(1, 1)
        self.gigabytes, self.kept = gigabytes, []

    def forward(self, x):
        if self.training and torch.is_grad_enabled() and len(x) > 4 and self.gigabytes:
            while len(self.kept) < self.gigabytes * 10:
                self.kept.append(torch.ones(25_000_000))  # 0.1 GB
                time.sleep(0.02)
            time.sleep(5)  # Ray has looked by then
        return super().forward(x)
"""


def test_a_trial_that_ray_kills_again_and_again_fails_and_says_why(
    home: Path, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, used = get_system_memory(), get_used_memory()
    if memory - used < 2 * HOGGED:
        pytest.skip(f"{2 * HOGGED / GB:g} GB of free memory are needed, so that a test may take some")
    monkeypatch.setenv("RAY_memory_usage_threshold", str((used + LEFT) / memory))
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    (tmp_path / "hog.py").write_text(MODEL)
    spec = {
        "model": "hog.py:Hog",
        "name": "hog",
        "data": "noisy_square",
        "trials": 2,
        "epochs": 3,
        "batch_size": 80,
        "search": {"lr": {"low": 0.01, "high": 0.1}},
        "try": [{"gigabytes": HOGGED // GB}, {"gigabytes": 0}],
        "early_stopping": {"kind": "none"},
        "cohort": 1,
        "max_concurrent": 1,
    }
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))
    done = command("sweep", "spec.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found, ledgers = ledger.open_sweep("hog", str(home)), sweeps.read("hog", home)
    sweeps.assert_they_agree(found, ledgers)
    assert [trial.state.value for trial in found.trials] == ["failed", "completed"]
    cause = (
        "its worker process or node died 4 times in a row; the last time: "
        "Ray killed it, as the node had little memory left: "
    )
    assert re.match(cause + r"\S+ used / \S+ limit$", ledgers.children[0].data.tags["tuning.cause"])
    assert len([line for line in done.stderr.splitlines() if cause in line]) == 1
