"""The values that flow: a cohort as one string, the best epoch, the best trial."""

import json
import math
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning.records import Cohort, Fleet, Member, Span, State, TrialRecord, TrialSpec, best_epoch, best_trial

repeatable = settings(derandomize=True, deadline=None)

Mode = Literal["min", "max"]
MODES = pytest.mark.parametrize("mode", ["min", "max"])
SIGN = {"min": 1, "max": -1}

scalars = st.one_of(
    st.text(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()
)


@st.composite
def cohorts(draw: st.DrawFn) -> Cohort:
    numbers = draw(st.lists(st.integers(0, 9999), min_size=1, max_size=5, unique=True))
    epoch = draw(st.integers(0, 50))
    members = tuple(
        Member(
            trial=TrialSpec(number=n, hyperparameters=draw(st.dictionaries(st.text(), scalars, max_size=4))),
            epoch=epoch,
            resume=draw(st.none() | st.text(min_size=1)),
        )
        for n in numbers
    )
    return Cohort(id=draw(st.text(min_size=1)), members=members, until=epoch + draw(st.integers(1, 50)))


@repeatable
@given(cohort=cohorts())
def test_cohort_survives_being_one_string(cohort: Cohort) -> None:
    text = cohort.to_json()
    assert isinstance(text, str)
    assert Cohort.from_json(text) == cohort


@repeatable
@given(cohort=cohorts())
def test_cohort_knows_its_epoch_and_its_trials(cohort: Cohort) -> None:
    plain = json.loads(cohort.to_json())
    assert [member["trial"]["number"] for member in plain["members"]] == list(cohort.numbers)
    assert {member["epoch"] for member in plain["members"]} == {cohort.epoch}


@pytest.mark.parametrize(
    ("state", "has_ended"),
    [
        ("completed", True),
        ("pruned", True),
        ("diverged", True),
        ("failed", True),
        ("running", False),
        ("interrupted", False),
    ],
)
def test_state_tells_whether_its_trial_has_ended(state: str, has_ended: bool) -> None:
    assert State(state).has_ended is has_ended


def test_there_are_six_states() -> None:
    assert len(State) == 6


@pytest.mark.parametrize(
    ("values", "mode", "epoch"),
    [
        ({1: 3.0, 2: 1.0, 3: 2.0}, "min", 2),
        ({1: 3.0, 2: 1.0, 3: 2.0}, "max", 1),
        ({1: 1.0, 2: 1.0}, "min", 1),
        ({2: 1.0, 1: 1.0}, "max", 1),
        ({1: math.nan, 2: 5.0}, "min", 2),
        ({1: -math.inf, 2: 5.0}, "min", 2),
        ({1: math.nan, 2: math.inf}, "max", None),
        ({}, "min", None),
    ],
)
def test_best_epoch_is_the_earliest_of_the_best_finite_ones(
    values: dict[int, float], mode: Mode, epoch: int | None
) -> None:
    assert best_epoch(values, mode) == epoch


def record(number: int, state: str, value: float | None) -> TrialRecord:
    return TrialRecord(number=number, state=State(state), hyperparameters={}, value=value, epoch=1)


@MODES
def test_best_trial_is_the_best_completed_one_even_if_a_pruned_one_is_better(mode: Mode) -> None:
    sign = SIGN[mode]
    trials = [
        record(0, "pruned", sign * 1.0),
        record(1, "completed", sign * 3.0),
        record(2, "completed", sign * 2.0),
        record(3, "diverged", sign * 0.1),
        record(4, "running", sign * 0.2),
    ]
    best = best_trial(trials, mode)
    assert best is not None
    assert best.number == 2


@MODES
def test_without_a_completed_trial_the_best_pruned_one_is_best(mode: Mode) -> None:
    sign = SIGN[mode]
    trials = [record(0, "diverged", sign * 1.0), record(1, "pruned", sign * 3.0)]
    trials += [record(2, "pruned", sign * 2.0), record(3, "interrupted", sign * 1.0)]
    best = best_trial(trials, mode)
    assert best is not None
    assert best.number == 2


@MODES
def test_of_equal_trials_the_lower_number_is_best(mode: Mode) -> None:
    trials = [record(5, "completed", 1.0), record(3, "completed", 1.0), record(4, "completed", 1.0)]
    best = best_trial(trials, mode)
    assert best is not None
    assert best.number == 3


def test_a_value_of_zero_is_a_value() -> None:
    best = best_trial([record(0, "completed", 0.5), record(1, "completed", 0.0)], "min")
    assert best is not None
    assert best.number == 1


@pytest.mark.parametrize("state", ["diverged", "failed", "running", "interrupted"])
def test_trials_that_came_to_nothing_are_never_best(state: str) -> None:
    assert best_trial([record(0, state, 1.0), record(1, "completed", None)], "min") is None


def test_a_killed_drivers_time_counts_until_a_worker_of_it_last_trained() -> None:
    spans = (Span("host", 7, 103.0, 110.0), Span("host", 8, 203.0, 210.0), Span("host", 9, 901.0, 930.0))
    trial = TrialRecord(number=0, state=State.RUNNING, hyperparameters={}, spans=spans)
    killed, told, last = (100.0, None), (200.0, 220.0), (900.0, None)
    assert Fleet(drives=(killed, told, last)).driven_s([trial], None) == 10 + 20 + 30
    assert Fleet(drives=(killed, told, last)).driven_s([trial], 890.0) == 10 + 20, "who lives counts its own"
    assert Fleet(drives=(killed, last)).driven_s([trial], 890.0) == 110, "nor is it the killed one's work"
    assert Fleet(drives=(killed, told)).driven_s([trial], 890.0) == 10 + 20, "it has begun none yet"
    assert Fleet(drives=(killed, (120.0, None), told)).driven_s([trial], None) == 10 + 20, "one had no work"
