"""Sweeps whose trials train together, from measuring how many to the records of each trial."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tuning
from tests import sweeps
from tuning import ledger
from tuning.cli import main
from tuning.paths import SweepPaths
from tuning.sizing import Measured, Sizing

NONE = tuning.EarlyStopping(kind="none")
CPUS = tuning.Resources(cpus=1, gpus=0)


def own(tmp_path: Path, forward: str, **changes: Any) -> tuning.SweepSpec:
    """A sweep of a model of one's own, `Own`, with `size` for the trials of its stack (1 if it has none)."""
    (tmp_path / "own.py").write_text(
        "import os, pathlib, signal, time\n"
        "import torch\n"
        "class Own(torch.nn.Module):\n"
        "    def __init__(self, folder=''):\n"
        "        super().__init__()\n"
        "        self.out, self.folder = torch.nn.Linear(1, 1), pathlib.Path(folder)\n"
        "    def forward(self, x):\n"
        "        y = self.out(x)\n"
        "        inside, functorch = self.out.weight, torch._C._functorch\n"
        "        is_stacked = functorch.is_batchedtensor(inside)\n"
        "        size = functorch.get_unwrapped(inside).shape[0] if is_stacked else 1\n"
        f"{forward}"
        "        return y\n"
    )
    settings: dict[str, Any] = {
        "name": "own",
        "data": "noisy_square",
        "epochs": 3,
        "batch_size": 80,
        "search": {"lr": tuning.Float(0.01, 0.1)},
        "fixed": {"folder": str(tmp_path)},
        "early_stopping": NONE,
        "resources": CPUS,
        "max_concurrent": 1,
    }
    return tuning.SweepSpec(model=f"{tmp_path}/own.py:Own", **{**settings, **changes})


def widths(ledgers: sweeps.Ledgers) -> list[int]:
    """Return the width of the stack in which each trial trained last."""
    return [int(run.data.tags["tuning.stack"].split()[-1]) for _, run in sorted(ledgers.children.items())]


def test_where_no_stack_is_faster_a_worker_gets_a_few_trials_at_a_time(
    tmp_path: Path, home: Path, ray_cluster: Any
) -> None:
    alone = Measured(size=1, trials_per_s=1.0, memory_bytes=1)
    kept = Sizing(size=1, in_turn=3, why="so", device="", asked=(1, 2, 4), measured=(alone,))
    spec = own(tmp_path, "", trials=3)
    tuning.sweep(spec)
    kept.keep(SweepPaths(home, "own").sizing)
    result = tuning.sweep(replace(spec, trials=27))
    assert result.states == {"completed": 27}
    assert sorted(Counter(trial.cohort for trial in result.trials).values()) == [1] * 3 + [3] * 8
    ledgers = sweeps.read("own", home)
    sweeps.assert_they_agree(result, ledgers)
    assert widths(ledgers) == [1] * 27, "none was stacked"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, ray_cluster: Any) -> tuple[tuning.SweepResult, Path]:
    """A sweep whose cohort size was measured, at which the tests below look."""
    home = tmp_path_factory.mktemp("home")
    spec = tuning.SweepSpec(
        model="net", trials=48, epochs=9, max_concurrent=1, resources=CPUS, home=str(home)
    )
    return tuning.sweep(spec), home


def test_study_mlflow_and_checkpoints_agree_of_trials_that_trained_together(
    measured: tuple[tuning.SweepResult, Path],
) -> None:
    result, home = measured
    ledgers = sweeps.read("net", home)
    sweeps.assert_they_agree(result, ledgers)
    states = [trial.state.value for trial in result.trials]
    assert len(states) == 48 and states.count("pruned") > 10 and states.count("completed") > 4
    for number in (0, result.best.number if result.best else 0):
        content, metrics = sweeps.remeasured(ledgers.checkpoints[number])
        assert metrics["val_loss"] == pytest.approx(content["value"], rel=1e-5)
        assert result.trials[number].value == content["value"]
    assert max(widths(ledgers)) > 1


def test_the_size_was_measured_and_is_kept_and_shown(
    measured: tuple[tuning.SweepResult, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, home = measured
    kept = json.loads((home / "net" / "cohort.json").read_text())
    assert [one["size"] for one in kept["measured"]] == [1, 2, 4, 8] and kept["size"] > 1
    assert ledger.open_sweep("net", str(home)).sizing.size == kept["size"]
    assert main(["status", "net", "--home", str(home)]) == 0
    shown = f"cohort      {kept['size']} trials train together: {kept['why']}"
    assert shown in capsys.readouterr().out.splitlines()
    again = ["sweep", "net", "--trials", "48", "--epochs", "9", "--max-concurrent", "1", "--home", str(home)]
    assert main([*again, "--cpus-per-trial", "1", "--gpus-per-trial", "0", "--dry-run"]) == 0
    said = capsys.readouterr()
    assert shown in said.out.splitlines()
    assert "8 at once:" in said.out and "measuring" not in said.err


def test_where_each_trial_trained_can_be_looked_up(
    measured: tuple[tuning.SweepResult, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    result, home = measured
    ledgers = sweeps.read("net", home)
    assert main(["status", "net", "--home", str(home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cohorts"] == {str(t.number): t.cohort for t in result.trials}
    by_cohort: dict[str, list[int]] = {}
    for trial in result.trials:
        stacks = ledgers.study.trials[trial.number].user_attrs["stacks"]
        assert stacks[0][0] == 1 and all(slot < width for _, slot, width in stacks)
        assert ledgers.children[trial.number].data.tags["tuning.cohort"] == trial.cohort
        by_cohort.setdefault(str(trial.cohort), []).append(stacks[-1][1])
    assert all(sorted(slots) == sorted(set(slots)) for slots in by_cohort.values()), "no slot is taken twice"


def test_a_model_that_cannot_be_stacked_is_swept_all_the_same_and_the_user_is_told_once(
    home: Path, ray_cluster: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = own(tmp_path, "        if y.sum() > 1e9: y = -y\n", trials=6, cohort=3)
    result = tuning.sweep(spec)
    assert result.states == {"completed": 6}
    said = [line for line in capfd.readouterr().err.splitlines() if "one by one" in line]
    assert len(said) == 1 and "data-dependent control flow" in said[0] and "own.py:12" in said[0]
    assert main(["status", "own"]) == 0
    assert f"note        {said[0]}" in capfd.readouterr().out.splitlines()
    ledgers = sweeps.read("own", home)
    sweeps.assert_they_agree(result, ledgers)
    assert widths(ledgers) == [1] * 6


TOO_MUCH = "torch.empty(2**47, dtype=torch.uint8)"
"""As many bytes as a process has addresses: the host cannot give them, whatever it promises."""


@pytest.mark.parametrize(
    "allocate",
    [
        "raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 1 TiB')",  # as a GPU says it
        TOO_MUCH,
    ],
)
def test_a_cohort_that_runs_out_of_memory_is_halved_and_no_trial_is_lost(
    allocate: str, home: Path, ray_cluster: Any, tmp_path: Path
) -> None:
    forward = (
        "        if size > 2:\n"
        "            (self.folder / f'tried-{size}').touch()\n"
        f"            {allocate}\n"
        "            (self.folder / f'done-{size}').touch()\n"
    )
    result = tuning.sweep(own(tmp_path, forward, trials=12, cohort=8))
    assert {file.name for file in tmp_path.glob("tried-*")} == {"tried-8", "tried-4"}
    assert not list(tmp_path.glob("done-*"))
    assert result.states == {"completed": 12}
    ledgers = sweeps.read("own", home)
    sweeps.assert_they_agree(result, ledgers)
    assert set(widths(ledgers)) == {2}


@pytest.mark.parametrize(
    ("allocate", "said"),
    [
        ("raise torch.OutOfMemoryError('CUDA out of memory')", "OutOfMemoryError: CUDA out of memory"),
        (TOO_MUCH, "can't allocate memory"),
    ],
)
def test_a_single_trial_that_runs_out_of_memory_fails_with_that_cause(
    allocate: str, said: str, home: Path, ray_cluster: Any, tmp_path: Path
) -> None:
    result = tuning.sweep(own(tmp_path, f"        if len(x) > 4: {allocate}\n", trials=1))
    assert result.states == {"failed": 1}
    assert said in sweeps.read("own", home).children[0].data.tags["tuning.cause"]


def test_one_that_exceeds_its_share_of_a_gpu_is_told_so(home: Path, ray_cluster: Any, tmp_path: Path) -> None:
    forward = "        if len(x) > 4: raise torch.OutOfMemoryError('CUDA out of memory')\n"
    tuning.sweep(own(tmp_path, forward, trials=1, resources=tuning.Resources(cpus=1, gpus=0.25)))
    cause = sweeps.read("own", home).children[0].data.tags["tuning.cause"]
    assert "(a worker has 0.25 of the GPU's memory: give it more with --gpus-per-trial)" in cause


def test_a_worker_whose_device_is_lost_leaves_and_its_trial_fails_with_what_it_was(
    home: Path, ray_cluster: Any, tmp_path: Path
) -> None:
    forward = (
        "        if len(x) > 4:\n"
        "            (self.folder / f'process-{os.getpid()}').touch()\n"
        "            raise torch.AcceleratorError('CUDA error: device-side assert triggered')\n"
    )
    result = tuning.sweep(own(tmp_path, forward, trials=2, cohort=1))
    assert result.states == {"failed": 2}
    assert len(list(tmp_path.glob("process-*"))) == 2, "no second trial in a process without its device"
    ledgers = sweeps.read("own", home)
    (cause,) = {run.data.tags["tuning.cause"] for run in ledgers.children.values()}
    assert cause.startswith("torch.AcceleratorError: CUDA error: device-side assert triggered (at own.py:")
    sweeps.assert_they_agree(result, ledgers)


def test_a_cohort_whose_worker_was_killed_comes_to_the_same_values(
    home: Path, ray_cluster: Any, tmp_path: Path
) -> None:
    kill = (
        "        if self.training and torch.is_grad_enabled() and len(x) > 4:\n"
        "            time.sleep(0.2)\n"
        "            self.steps = getattr(self, 'steps', 0) + 1\n"
        "            if self.steps == 2 and not (self.folder / 'killed').exists():\n"
        "                (self.folder / 'killed').touch()\n"
        "                os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    (tmp_path / "killed").touch()
    alone = tuning.sweep(own(tmp_path, kill, name="alone", trials=4, cohort=4))
    (tmp_path / "killed").unlink()
    killed = tuning.sweep(own(tmp_path, kill, name="killed", trials=4, cohort=4))
    assert (tmp_path / "killed").exists(), "the kill must have happened"
    assert [trial.values for trial in killed.trials] == [trial.values for trial in alone.trials]
    sweeps.assert_they_agree(killed, sweeps.read("killed", home))


@pytest.mark.skipif(shutil.which("g++") is None, reason="TorchInductor needs a C++ compiler")
def test_a_sweep_compiles_the_steps_that_it_repeats_and_says_so_once(
    home: Path, ray_cluster: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = tuning.SweepSpec(
        model="net",
        trials=16,
        cohort=8,
        compile=True,
        epochs=80,
        batch_size=2,  # 32 steps in an epoch: enough to be worth it within seconds
        early_stopping=NONE,
        resources=CPUS,
        max_concurrent=1,
    )
    result = tuning.sweep(spec)
    said = [line for line in capfd.readouterr().err.splitlines() if "compile" in line]
    assert len([line for line in said if line.startswith("--compile: each worker compiles")]) == 1
    assert len([line for line in said if line == "compiled: the step of 8 trials"]) == 1
    sweeps.assert_they_agree(result, sweeps.read("net", home))
    assert result.best is not None and result.best.value is not None and result.best.value < 0.1
