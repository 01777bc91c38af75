"""What goes wrong around the trials: it is said once, nothing is left open, and the sweep can go on."""

import sys
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

import tuning
from tests import sweeps
from tuning import plan, run
from tuning.records import State, TrialRecord
from tuning.study import Study
from tuning.study.journal import BatchingBackend

DATA = """
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
"""

MODEL = """
import torch
class Line(torch.nn.Linear):
    def __init__(self): super().__init__(4, 2)
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own_data.py").write_text(DATA)
    (tmp_path / "own_line.py").write_text(MODEL)
    return tmp_path


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


def test_a_test_split_that_cannot_be_measured_costs_no_record(
    own: Path, home: Path, ray_cluster: Any
) -> None:
    with pytest.raises(tuning.SweepError, match=r"could not be measured.*row 5 is damaged"):
        tuning.sweep(spec(own, "damaged_test"))
    ledgers = sweeps.read("line", home)
    assert ledgers.parent.info.status == "FAILED"
    assert [run.info.status for run in ledgers.children.values()] == ["FINISHED", "FINISHED"]
    assert tuning.load_best("line").trial.state is State.COMPLETED


def test_data_that_cannot_be_read_is_refused_before_anything_is_written(own: Path, home: Path) -> None:
    with pytest.raises(tuning.RequestError, match=r"own_data.py:damaged.*OSError: row 5 is damaged"):
        plan.prepare(spec(own, "damaged"))
    assert not home.exists()


def test_data_that_differs_from_process_to_process_is_refused_before_it_is_trained_on(
    own: Path, home: Path, ray_cluster: Any
) -> None:
    result = tuning.sweep(spec(own, "unseeded", trials=20, cohort=1))
    assert result.halted is not None and "drawn without a fixed seed?" in result.halted
    assert {trial.state for trial in result.trials} == {State.INTERRUPTED}, "no trial is to blame"
    assert all(not trial.values for trial in result.trials)


def test_a_sweep_does_not_go_on_with_other_data(own: Path, home: Path, ray_cluster: Any) -> None:
    tuning.sweep(spec(own, "good"))
    (own / "own_data.py").write_text(DATA.replace("x.sum(1) > 0", "x.sum(1) > 1"))
    for name in [name for name in sys.modules if name.startswith("tuning_user_own_data")]:
        del sys.modules[name]  # as in a new process
    with pytest.raises(tuning.RequestError, match="must be what the sweep 'line' began with"):
        tuning.sweep(spec(own, "good", trials=4))
    assert len(sweeps.read("line", home).study.trials) == 2


def test_a_study_that_cannot_be_written_ends_the_sweep_and_says_why(
    own: Path, home: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(study: Study, number: int, *_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Study, "tell", full)
        result = tuning.sweep(spec(own, "good", trials=8))
    assert result.halted is not None and "No space left on device" in result.halted
    assert {trial.state for trial in result.trials} == {State.INTERRUPTED}
    assert sweeps.read("line", home).parent.info.status == "FAILED"
    again = tuning.sweep(spec(own, "good", trials=8))
    assert [trial.state.has_ended for trial in again.trials] == [True] * 8
    sweeps.assert_they_agree(again, sweeps.read("line", home))


def test_an_end_that_the_disk_did_not_take_costs_no_epoch(
    own: Path, home: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = BatchingBackend._append

    def full_at_the_end(self: BatchingBackend, logs: list[dict[str, Any]]) -> None:
        if any(log.get("state") == TrialState.COMPLETE for log in logs):
            self._failure = OSError(28, "No space left on device")
        append(self, logs)

    with monkeypatch.context() as disk:
        disk.setattr(BatchingBackend, "_append", full_at_the_end)
        with pytest.raises(tuning.SweepError, match=r"No space left on device.*tuning resume line"):
            tuning.sweep(spec(own, "good", trials=1))
    assert list((home / "line" / "resume").glob("*.pt")), "its last state is kept"
    again = tuning.sweep(spec(own, "good", trials=1))
    assert again.states == {"completed": 1} and not list((home / "line" / "resume").iterdir())
    sweeps.assert_they_agree(again, sweeps.read("line", home))


def test_a_storage_that_cannot_be_written_ends_the_sweep_and_costs_no_trial(
    own: Path, home: Path, ray_cluster: Any
) -> None:
    tuning.sweep(spec(own, "good", trials=1))
    checkpoints, aside = home / "line" / "checkpoints", home / "line" / "aside"
    checkpoints.rename(aside)
    checkpoints.write_text("a file where a folder should be")
    result = tuning.sweep(spec(own, "good", trials=3))
    assert result.halted is not None
    assert f"{home}/line cannot be written" in result.halted and f"{checkpoints}" in result.halted
    assert result.states == {"completed": 1, "interrupted": 1}, "no trial is to blame"
    checkpoints.unlink()
    aside.rename(checkpoints)
    again = tuning.sweep(spec(own, "good", trials=3))
    assert again.states == {"completed": 3}
    sweeps.assert_they_agree(again, sweeps.read("line", home))


def test_a_sweep_without_a_completed_trial_is_a_fault_though_it_has_a_best_one() -> None:
    pruned = TrialRecord(
        number=0, state=State.PRUNED, hyperparameters={}, values={1: 0.5}, value=0.5, epoch=1
    )
    result = run.SweepResult(name="x", home="/", trials=[pruned], best=pruned, total=1, wall_s=1.0)
    assert "without one completed trial" in str(run.fault(result))
