"""Trials on two GPUs each in a sweep that is ended, and one whose worker dies: no rank stays behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import sweeps
from tests.conftest import REPOSITORY
from tests.engine import rank_processes

MODEL = """
import time, torch

class Slow(torch.nn.Linear):
    def __init__(self): super().__init__(1, 1)
    def forward(self, x):
        if self.training: time.sleep(0.05)
        return super().forward(x)
"""

EPOCHS = 20
"""Of two seconds and more."""

FOR_EVER = 100_000


@pytest.fixture
def project(tmp_path: Path, home: Path) -> Path:
    (tmp_path / "slow.py").write_text(MODEL)
    return tmp_path


@pytest.fixture
def sweep(
    project: Path, home: Path, ray_cluster: Any, request: pytest.FixtureRequest
) -> Iterator["subprocess.Popen[str]"]:
    """One of three trials of so many epochs, one after the other, on GPUs that are none: the ranks train on
    the CPU."""
    where = f"--data noisy_square --name two --home {home} --address {ray_cluster.address}"
    size = "--gpus-per-trial 2 --cpus-per-trial 0 --max-concurrent 1"
    length = f"--trials 3 --epochs {request.param} --batch-size 40 --early-stopping none"
    command = ["sweep", "slow.py:Slow", *where.split(), *size.split(), *length.split()]
    process = subprocess.Popen(
        [sys.executable, "-m", "tuning", *command],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def waited_for(what: Callable[[], Any], process: "subprocess.Popen[str]") -> Any:
    end_s = time.monotonic() + 120
    while not (found := what()):
        assert process.poll() is None and time.monotonic() < end_s, "it has not come"
        time.sleep(0.05)
    return found


def ranks(sweep: "subprocess.Popen[str]", before: dict[int, int]) -> tuple[set[int], int]:
    """Wait for a trial's two ranks; return them, and the worker that started them."""

    def two() -> dict[int, int] | None:
        found = {rank: parent for rank, parent in rank_processes.running().items() if rank not in before}
        return found if len(found) == 2 else None

    found = waited_for(two, sweep)
    (worker,) = set(found.values())
    assert b"ray::" in Path(f"/proc/{worker}/cmdline").read_bytes(), (
        "they are children of the trial's own actor"
    )
    return set(found), worker


@pytest.mark.parametrize("sweep", [FOR_EVER], indirect=True)
def test_a_cancelled_sweep_leaves_no_rank(sweep: "subprocess.Popen[str]", home: Path) -> None:
    before = rank_processes.running()
    ranks(sweep, before)
    journal = home / "two" / "study.journal"
    waited_for(lambda: journal.exists() and "intermediate_value" in journal.read_text(), sweep)
    cancel = [sys.executable, "-m", "tuning", "cancel", "two", "--home", str(home)]
    subprocess.run(cancel, cwd=REPOSITORY, check=True, capture_output=True)
    said, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 130, said
    assert rank_processes.running().keys() <= before.keys()
    (trial,) = sweeps.read("two", home).study.trials
    assert trial.state.name == "RUNNING" and (trial.last_step or 0) > 0, "it can be resumed"


@pytest.mark.parametrize("sweep", [EPOCHS], indirect=True)
def test_ranks_die_with_their_worker_and_the_trial_goes_on_with_new_ones(
    sweep: "subprocess.Popen[str]", home: Path
) -> None:
    before = rank_processes.running()
    first, worker = ranks(sweep, before)
    os.kill(worker, signal.SIGKILL)
    waited_for(lambda: not first & rank_processes.running().keys(), sweep)
    second, other = ranks(sweep, before)
    assert other != worker and not first & second
    said, _ = sweep.communicate(timeout=180)
    assert sweep.returncode == 0, said
    ledgers = sweeps.read("two", home)
    assert [(trial.state.name, trial.last_step) for trial in ledgers.study.trials] == [
        ("COMPLETE", EPOCHS)
    ] * 3
    assert len(ledgers.children) == len(ledgers.checkpoints) == 3
    assert rank_processes.running().keys() <= before.keys()
