"""Data that cannot be read, or is another each time."""

import sys
from pathlib import Path
from typing import Any

import pytest

import tuning
from tests import sweeps
from tests.faults.lines import DATA, spec
from tuning import plan
from tuning.records import State


def test_data_that_cannot_be_read_is_refused_before_anything_is_written(own: Path, home: Path) -> None:
    with pytest.raises(tuning.RequestError, match=r"own_data.py:damaged.*OSError: row 5 is damaged"):
        plan.prepare(spec(own, "damaged"))
    assert not home.exists()


def test_data_that_is_another_each_time_is_refused_before_anything_is_written(own: Path, home: Path) -> None:
    with pytest.raises(tuning.RequestError, match=r"drawn without a fixed seed\?"):
        plan.prepare(spec(own, "unseeded"))
    assert not home.exists()


def test_data_that_differs_from_process_to_process_ends_the_sweep_and_blames_no_trial(
    own: Path, home: Path, ray_cluster: Any
) -> None:
    """Where each worker opens it itself, as it does what is not in memory."""
    result = tuning.sweep(spec(own, "of_the_process", trials=20, cohort=1))
    assert result.halted is not None and "drawn without a fixed seed?" in result.halted
    assert {trial.state for trial in result.trials} == {State.INTERRUPTED}, "no trial is to blame"
    assert all(not trial.values for trial in result.trials)


def test_a_row_that_cannot_be_read_in_a_worker_fails_that_trial_alone(
    own: Path, home: Path, ray_cluster: Any
) -> None:
    (own / "damaged").touch()
    result = tuning.sweep(spec(own, "once_damaged", cohort=1))
    assert result.states == {"failed": 1, "completed": 1} and not (own / "damaged").exists()
    (failed,) = [trial.number for trial in result.trials if trial.state is State.FAILED]
    assert "row 150 is damaged" in sweeps.read("line", home).children[failed].data.tags["tuning.cause"]


def test_a_sweep_does_not_go_on_with_other_data(own: Path, home: Path, ray_cluster: Any) -> None:
    tuning.sweep(spec(own, "good"))
    (own / "own_data.py").write_text(DATA.replace("x.sum(1) > 0", "x.sum(1) > 1"))
    for name in [name for name in sys.modules if name.startswith("tuning_user_own_data")]:
        del sys.modules[name]  # as in a new process
    kept = (home / "line" / "spec.yaml").read_bytes()
    with pytest.raises(tuning.RequestError, match="must be what the sweep 'line' began with"):
        tuning.sweep(spec(own, "good", trials=4))
    assert (home / "line" / "spec.yaml").read_bytes() == kept, "what is refused changes no total"
    assert len(sweeps.read("line", home).study.trials) == 2
