"""The next cohort's suggestions are made while this one trains, once a hundred trials have ended."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from tests.study.studies import SEARCH, SPEC, Opener, plain
from tuning.records import State, TrialSpec
from tuning.space import Choice
from tuning.study import Study, ahead
from tuning.study.suggest import WINDOW


def tell(study: Study, trials: list[TrialSpec]) -> None:
    for trial in trials:
        study.report(trial.number, 1, abs(math.log10(float(trial.hyperparameters["lr"])) + 2))
        study.tell(trial.number, State.COMPLETED)


def with_history(study: Study, count: int = WINDOW) -> Study:
    """Return a study of so many trials that have ended, and eight that run."""
    tell(study, study.ask_many(count))
    study.ask_many(8)
    return study


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Study, Study]]:
    """Two studies of the same history."""
    one, other = (with_history(Study(SPEC, tmp_path / name, write=True)) for name in ("a", "b"))
    yield one, other


def test_they_are_those_that_would_have_been_made_then(two: tuple[Study, Study]) -> None:
    one, other = two
    now = other.ask_many(8)
    one.suggest_ahead(8)
    tell(one, [TrialSpec(number=number, hyperparameters={"lr": 0.5}) for number in range(WINDOW, WINDOW + 8)])
    assert one.ask_many(8) == now
    assert [trial.number for trial in now] == list(range(WINDOW + 8, WINDOW + 16))
    assert [one.trials()[trial.number].hyperparameters for trial in now] == [
        trial.hyperparameters for trial in now
    ]


def test_what_is_asked_for_beyond_them_keeps_away_from_them(two: tuple[Study, Study]) -> None:
    study, _ = two
    study.suggest_ahead(8)
    asked = study.ask_many(40)
    assert [trial.number for trial in asked] == list(range(WINDOW + 8, WINDOW + 48))
    assert len({trial.hyperparameters["lr"] for trial in asked}) == 40


def test_what_is_left_of_them_serves_no_later_trial(two: tuple[Study, Study]) -> None:
    one, other = two
    one.suggest_ahead(8)
    assert one.ask_many(3) == other.ask_many(3)
    assert one.ask_many(8) == other.ask_many(8), "made now, of what is known now"


def test_they_are_made_anew_where_many_trials_have_ended_since(two: tuple[Study, Study]) -> None:
    one, other = two
    one.suggest_ahead(3)
    for study in two:
        tell(study, [TrialSpec(number=n, hyperparameters={"lr": 0.5}) for n in range(WINDOW, WINDOW + 7)])
    assert one.ask_many(3) == other.ask_many(3)


def test_none_are_made_where_each_trial_still_tells_much(opened: Opener) -> None:
    study = with_history(opened(), WINDOW - 1)
    with mock.patch.object(ahead, "suggestions") as made:
        study.suggest_ahead(8)
    assert not made.called and study._ahead._made is None


def test_a_death_loses_none_of_them_for_they_are_no_trials_yet(journal: Path, opened: Opener) -> None:
    study = with_history(opened())
    study.suggest_ahead(8)
    assert study._ahead._made is not None and len(study._ahead._made.result()) == 8
    assert len(plain(journal).trials) == len(study.trials()) == WINDOW + 8
    assert [trial.number for trial in opened().ask_many(2)] == [WINDOW + 8, WINDOW + 9]


def test_they_have_what_is_fixed_and_what_their_optimizer_needs(opened: Opener) -> None:
    search = {**SEARCH, "optimizer": Choice(("sgd", "adagrad"))}
    study = with_history(opened(replace(SPEC, search=search, fixed={"weight_decay": 0.1})))
    study.suggest_ahead(16)
    asked = [trial.hyperparameters for trial in study.ask_many(16)]
    assert all(one["weight_decay"] == 0.1 for one in asked)
    assert all(("momentum" in one) == (one["optimizer"] == "sgd") for one in asked)


def test_a_configuration_to_try_comes_before_them_as_it_is(opened: Opener) -> None:
    study = with_history(opened())
    study.suggest_ahead(4)
    study.enqueue(({"lr": 0.125, "momentum": 0.5},))
    asked = study.ask_many(4)
    assert asked[0].hyperparameters.items() >= {"lr": 0.125, "momentum": 0.5}.items()
    assert [trial.number for trial in asked] == list(range(WINDOW + 8, WINDOW + 12))
    assert len({trial.hyperparameters["lr"] for trial in asked}) == 4


def test_what_goes_wrong_with_them_is_told_to_who_asks(opened: Opener) -> None:
    study = with_history(opened())
    with mock.patch.object(Study, "_suggest", side_effect=ValueError("no such choice")):
        study.suggest_ahead(4)
        with pytest.raises(ValueError, match="no such choice"):
            study.ask_many(4)
