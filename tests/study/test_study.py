"""The study: what plain Optuna reads of it, and reports that come twice."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from tests.study.studies import SPEC, Opener, plain, train
from tuning.records import State
from tuning.study import Study

# ---- what plain Optuna reads -------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "best"), [("min", 0.2), ("max", 0.9)])
def test_a_completed_trial_has_its_best_epochs_value(journal: Path, mode: Any, best: float) -> None:
    study = Study(replace(SPEC, mode=mode), journal, write=True)
    study.ask()
    train(study, 0, [0.9, 0.2, 0.5])
    study.tell(0, State.COMPLETED)
    (trial,) = plain(journal).trials
    assert trial.state is TrialState.COMPLETE
    assert trial.value == best
    assert trial.intermediate_values == {1: 0.9, 2: 0.2, 3: 0.5}


def test_a_pruned_trial_is_pruned_with_all_it_reported(journal: Path, opened: Opener) -> None:
    study = opened()
    study.ask()
    train(study, 0, [0.9, 0.8])
    study.tell(0, State.PRUNED)
    (trial,) = plain(journal).trials
    assert trial.state is TrialState.PRUNED
    assert trial.intermediate_values == {1: 0.9, 2: 0.8}


@pytest.mark.parametrize("state", [State.DIVERGED, State.FAILED])
def test_a_trial_that_diverged_or_failed_is_a_fail_and_known_apart(
    journal: Path, opened: Opener, state: State
) -> None:
    study = opened()
    study.ask()
    train(study, 0, [0.9])
    study.tell(0, state, "RuntimeError: no memory")
    (trial,) = plain(journal).trials
    assert trial.state is TrialState.FAIL
    assert trial.value is None
    assert trial.user_attrs["cause"] == "RuntimeError: no memory"
    (record,) = opened().trials()
    assert record.state is state


def test_a_cause_counts_once_the_trial_has_failed(journal: Path, opened: Opener) -> None:
    """A death may cut off the end of a trial after its cause: the next driver trains it on."""
    study = opened()
    study.ask()
    train(study, 0, [0.9])
    plain(journal)._storage.set_trial_user_attr(plain(journal).trials[0]._trial_id, "cause", "worker died")
    assert opened().trials()[0].cause is None


def test_a_trial_is_running_only_until_it_is_told(journal: Path, opened: Opener) -> None:
    study = opened()
    study.ask()
    study.ask()
    train(study, 0, [0.5])
    assert [trial.state for trial in plain(journal).trials] == [TrialState.RUNNING] * 2
    study.tell(0, State.COMPLETED)
    study.tell(1, State.FAILED)
    assert TrialState.RUNNING not in {trial.state for trial in plain(journal).trials}


def test_numbers_and_hyperparameters_are_optunas(journal: Path, opened: Opener) -> None:
    study = opened()
    asked = [study.ask() for _ in range(4)]
    trials = plain(journal).trials
    assert [trial.number for trial in trials] == [one.number for one in asked] == [0, 1, 2, 3]
    assert [{**trial.params, "optimizer": "sgd"} for trial in trials] == [
        one.hyperparameters for one in asked
    ]


@pytest.mark.parametrize(("mode", "direction"), [("min", "MINIMIZE"), ("max", "MAXIMIZE")])
def test_the_study_has_the_sweeps_name_and_direction(journal: Path, mode: Any, direction: str) -> None:
    Study(replace(SPEC, mode=mode), journal, write=True)
    found = plain(journal)
    assert found.study_name == "demo"
    assert found.direction.name == direction


def test_optunas_best_trial_is_ours(journal: Path, opened: Opener) -> None:
    study = opened()
    for number, value in enumerate([0.5, 0.2, 0.4]):
        study.ask()
        train(study, number, [value, 1.0])
        study.tell(number, State.COMPLETED)
    assert plain(journal).best_trial.number == 1
    assert plain(journal).best_value == 0.2


# ---- reports -----------------------------------------------------------------------------------


def test_an_epoch_that_is_reported_twice_counts_once(journal: Path, opened: Opener) -> None:
    study = opened()
    study.ask()
    assert study.report(0, 1, 0.5)
    assert not study.report(0, 1, 0.7)
    assert plain(journal).trials[0].intermediate_values == {1: 0.5}


def test_an_epoch_that_was_reported_before_a_death_counts_once_too(opened: Opener) -> None:
    study = opened()
    study.ask()
    study.report(0, 1, 0.5)
    assert not opened().report(0, 1, 0.7)


def test_a_trial_that_has_ended_stays_as_it_is(journal: Path, opened: Opener) -> None:
    study = opened()
    study.ask()
    train(study, 0, [0.5])
    study.tell(0, State.COMPLETED)
    study.tell(0, State.FAILED, "too late")
    assert plain(journal).trials[0].state is TrialState.COMPLETE


def test_values_are_those_of_every_trial_that_reported(opened: Opener) -> None:
    study = opened()
    for _ in range(3):
        study.ask()
    train(study, 0, [0.5, 0.4])
    train(study, 2, [0.3])
    study.tell(0, State.PRUNED)
    assert study.values() == {0: {1: 0.5, 2: 0.4}, 2: {1: 0.3}}


def test_records_tell_what_is_known(opened: Opener) -> None:
    study = opened()
    asked = [study.ask() for _ in range(3)]
    train(study, 0, [0.5, 0.2, 0.2])
    study.tell(0, State.COMPLETED)
    train(study, 1, [math.inf, 0.7])
    completed, running, silent = study.trials()
    assert (completed.state, completed.value, completed.epoch) == (State.COMPLETED, 0.2, 2)
    assert (running.state, running.value, running.epoch) == (State.RUNNING, 0.7, 2)
    assert (silent.state, silent.value, silent.epoch) == (State.RUNNING, None, None)
    assert [r.hyperparameters for r in (completed, running, silent)] == [a.hyperparameters for a in asked]
    assert study.num_ended() == 1
    assert study.unfinished() == [1, 2]


def test_a_rung_is_remembered(opened: Opener) -> None:
    study = opened()
    study.ask()
    assert study.rung(0) == 0
    study.set_rung(0, 3)
    study.set_rung(0, 1)
    assert opened().rung(0) == 3


def test_the_test_metrics_are_those_of_the_trial_that_was_measured(opened: Opener) -> None:
    study = opened()
    assert study.facts.test(0) is None
    study.facts.set_test(3, {"test_loss": 0.25})
    assert opened().facts.test(3) == {"test_loss": 0.25}
    assert opened().facts.test(0) is None


def test_seconds_of_all_invocations_add_up(opened: Opener) -> None:
    opened().facts.add_seconds(1.5)
    opened().facts.add_seconds(2.0)
    assert opened().facts.wall_s() == 3.5
