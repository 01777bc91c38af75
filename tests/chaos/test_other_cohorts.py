"""A sweep whose driver was killed goes on in cohorts of another size, and trains at most one epoch again."""

import os
import signal
from pathlib import Path

import pytest

from tests import sweeps
from tests.chaos import driver
from tests.chaos.driver import BATCHES, EPOCHS, TRIALS
from tuning import ledger

COUNTED = """
import os, time
import torch
from models.mlp import Net

class Counted(Net):
    def forward(self, x):
        y = super().forward(x)
        if self.training and torch.is_grad_enabled() and len(x) > 4:  # a step, and no trial of the model
            inside, functorch = self.hidden.weight, torch._C._functorch
            size = functorch.get_unwrapped(inside).shape[0] if functorch.is_batchedtensor(inside) else 1
            with open(os.environ["STEPS"], "a") as file:
                file.write(f"{size}\\n")
            time.sleep(0.26)  # four of them are an epoch that is saved, however slow the disk
        return y
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [(3, 2), pytest.param(3, 1, marks=pytest.mark.chaos), pytest.param(1, 3, marks=pytest.mark.chaos)],
)
def test_a_killed_sweep_goes_on_in_other_cohorts(
    before: int, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "counted.py").write_text(COUNTED)
    steps = tmp_path / "steps"
    monkeypatch.setenv("STEPS", str(steps))
    spec = {"model": "counted.py:Counted", "data": "noisy_square", "try": []}
    with driver.started(tmp_path, place="mid-epoch", count=12, **spec, cohort=before) as first:
        first.wait_until("mid-epoch")  # its worker stands in the third and last epoch
        os.kill(first.process.pid, signal.SIGKILL)
        assert first.process.wait(30) == -signal.SIGKILL
    with driver.started(tmp_path, **spec, cohort=after) as second:
        assert second.end() == 0, second.output()
    found, ledgers = ledger.open_sweep("chaos", str(second.home)), sweeps.read("chaos", second.home)
    sweeps.assert_they_agree(found, ledgers)
    assert found.states == {"completed": TRIALS}
    assert all(sorted(trial.values) == list(range(1, EPOCHS + 1)) for trial in found.trials)
    widths = [int(run.data.tags["tuning.stack"].split()[-1]) for run in ledgers.children.values()]
    assert max(widths) == after
    trained = sum(map(int, steps.read_text().split()))
    again = trained - TRIALS * EPOCHS * BATCHES
    assert 0 < again <= before * BATCHES, "more than the epoch in which the driver was killed"
