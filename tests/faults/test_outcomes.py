"""When a sweep counts as failed, and how many trials it has."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tuning
from tests.faults.lines import spec
from tuning import notation, plan, run, settle
from tuning.records import State, TrialRecord
from tuning.schedule import survey


def test_a_sweep_without_a_completed_trial_is_a_fault_though_it_has_a_best_one() -> None:
    pruned = TrialRecord(
        number=0, state=State.PRUNED, hyperparameters={}, values={1: 0.5}, value=0.5, epoch=1
    )
    result = run.SweepResult(name="x", home="/", trials=[pruned], best=pruned, total=1, wall_s=1.0)
    assert "without one completed trial" in str(run.fault(result))
    failed = replace(result, trials=[replace(pruned, state=State.FAILED)], best=None)
    assert "cause.txt" in str(run.fault(failed))


def test_where_all_diverged_the_rates_that_were_tried_are_named() -> None:
    trials = [TrialRecord(number=n, state=State.DIVERGED, hyperparameters={"lr": 10.0**-n}) for n in range(3)]
    result = run.SweepResult(name="x", home="/", trials=trials, best=None, total=3, wall_s=1.0)
    assert "All diverged, with lr from 0.01 to 1: scale inputs and targets" in str(run.fault(result))


def test_a_node_with_another_version_ends_the_sweep_with_both_named(
    own: Path, home: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "versions", lambda: {"torch": "1.13.0"})
    result = tuning.sweep(spec(own, "good", trials=2, cohort=1))
    assert result.halted is not None
    assert "torch must be the same on all nodes: on the driver's it is 1.13.0, on " in result.halted
    assert torch.__version__.partition("+")[0] in result.halted
    assert {trial.state for trial in result.trials} == {State.INTERRUPTED}, "no trial is to blame"


def test_a_total_is_never_less_than_the_trials_that_have_begun(own: Path, home: Path) -> None:
    """Those that were interrupted are trained, too: they are not left over for ever."""
    planned = plan.prepare(spec(own, "good", trials=8))
    settle.make_home(planned.paths)
    planned = replace(planned, spec=settle.settle_spec(planned.spec, planned.paths))
    study = settle.open_study(planned)
    for trial in study.ask_many(3)[:1]:
        study.report(trial.number, 1, 0.5)
        study.tell(trial.number, State.COMPLETED)
    fewer = settle.open_study(replace(planned, spec=replace(planned.spec, trials=2)))
    assert fewer.spec.trials == 3


def test_a_total_that_is_less_than_the_trials_that_have_begun_is_said_and_not_kept(
    own: Path, home: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tuning.sweep(spec(own, "good", trials=2))
    tuning.sweep(spec(own, "good", trials=1))
    assert "--trials 1: 2 trials have begun, which stay and count" in capsys.readouterr().err
    assert notation.load(home / "line" / "spec.yaml").trials == 2
