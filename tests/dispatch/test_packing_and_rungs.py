"""What runs next, and who goes on at a rung, in a simulated sweep."""

import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dispatch.simulated import (
    Loss,
    Make,
    Sweep,
    by_number,
    by_number_reversed,
    changed,
    epochs_of,
    repeatable,
)
from tuning import paths
from tuning.records import State
from tuning.spec import EarlyStopping

# ---- a whole sweep -----------------------------------------------------------------------------

SIZES = pytest.mark.parametrize("size", [1, 3, 20])
WORKERS = pytest.mark.parametrize("workers", [1, 4])


@SIZES
@WORKERS
@pytest.mark.parametrize("loss", [by_number, by_number_reversed])
@pytest.mark.parametrize("kind", ["asha", "median", "none"])
def test_exactly_the_wanted_number_of_trials_is_run(
    make: Make, size: int, workers: int, loss: Loss, kind: Any
) -> None:
    sweep = make(loss, changed(early_stopping=EarlyStopping(kind=kind)), size)
    sweep.run(workers)
    assert sweep.dispatcher.is_done
    assert sweep.dispatcher.next_cohort() is None
    assert [trial.number for trial in sweep.trials] == list(range(9))
    assert all(trial.state.has_ended for trial in sweep.trials)
    assert sorted(number for number, _, _ in sweep.log.ended) == list(range(9))
    assert sweep.resume_files() == []


def test_trials_that_train_in_turn_go_on_one_by_one_lest_a_worker_idles_beside_them(make: Make) -> None:
    sweep = make(by_number, changed(trials=8), size=4)
    sweep.dispatcher.is_stacked = False
    sizes: dict[int, set[int]] = {}
    while (cohort := sweep.dispatcher.next_cohort()) is not None:
        sizes.setdefault(cohort.epoch, set()).add(len(cohort.members))
        sweep.train(cohort)
    assert sweep.dispatcher.is_done and len(sweep.log.ended) == 8
    assert sizes.pop(0) == {4} and set.union(*sizes.values()) == {1}


@st.composite
def losses(draw: st.DrawFn, trials: int) -> dict[int, list[float | State]]:
    """Loss curves of so many trials, some of which diverge or fail."""
    value = st.one_of(
        *[st.integers(0, 50).map(float)] * 8, st.sampled_from([math.nan, math.inf, State.FAILED])
    )
    return {number: draw(st.lists(value, min_size=5, max_size=5)) for number in range(trials)}


@settings(repeatable, max_examples=40)
@given(data=st.data(), trials=st.integers(1, 10), size=st.integers(1, 4), workers=st.integers(1, 4))
def test_whatever_dies_nothing_is_lost_or_counted_twice(
    data: st.DataObject, trials: int, size: int, workers: int
) -> None:
    curves = data.draw(losses(trials))
    deaths = data.draw(st.lists(st.integers(0, 15), max_size=3))
    kind = data.draw(st.sampled_from(["asha", "median", "none"]))
    spec = changed(trials=trials, max_failures=1000, early_stopping=EarlyStopping(kind=kind))

    def loss(number: int, epoch: int) -> float | State:
        return curves[number][epoch - 1]

    ended: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        for dies_after in (*deaths, None):
            sweep = Sweep(Path(folder), loss, spec, size)
            sweep.run(workers, dies_after)
            ended += [number for number, _, _ in sweep.log.ended]
        assert sweep.dispatcher.is_done
        assert sorted(ended) == list(range(trials))
        for trial in sweep.trials:
            curve = curves[trial.number]
            bad = next((i for i, v in enumerate(curve) if isinstance(v, State) or not math.isfinite(v)), 5)
            epochs = len(trial.values)
            assert trial.values == dict(enumerate(curve[:epochs], start=1))
            if trial.state is State.COMPLETED:
                assert epochs == bad == 5
            elif trial.state is State.PRUNED:
                assert epochs in sweep.dispatcher.stops and epochs <= bad
            else:
                assert epochs == bad < 5
                assert (trial.state is State.FAILED) == isinstance(curve[bad], State)


# ---- what goes first ---------------------------------------------------------------------------


def test_a_cohort_runs_to_the_next_rung_or_the_end(make: Make) -> None:
    sweep = make()
    spans = []
    for _ in range(3):
        cohort = sweep.next()
        spans.append((cohort.numbers, cohort.epoch, cohort.until))
        sweep.train(cohort)
    assert spans == [((0,), 0, 1), ((0,), 1, 3), ((0,), 3, 5)]


def test_a_survivor_goes_on_before_a_fresh_trial_from_the_file_of_its_cohort(make: Make) -> None:
    sweep = make()
    first, second = sweep.next(), sweep.next()
    assert (first.numbers, second.numbers) == ((0,), (1,))
    sweep.train(second)
    third = sweep.next()
    assert (third.numbers, third.epoch) == ((1,), 1)
    assert third.members[0].resume == paths.resume_name(second.id)
    assert third.members[0].trial == second.members[0].trial


def test_of_two_survivors_the_one_that_is_further_goes_first(make: Make) -> None:
    sweep = make()
    first, second = sweep.next(), sweep.next()
    sweep.train(first)
    on = sweep.next()
    assert on.numbers == (0,)
    sweep.train(second)
    sweep.train(on)
    assert [sweep.next().epoch, sweep.next().epoch] == [3, 1]


def test_a_pruned_trial_makes_room_for_a_fresh_one(make: Make) -> None:
    sweep = make(by_number_reversed)
    first, second = sweep.next(), sweep.next()
    sweep.train(first)
    sweep.train(second)
    assert sweep.log.states == {1: State.PRUNED}
    assert [sweep.next().numbers, sweep.next().numbers] == [(0,), (2,)]


def one_of_three(number: int, epoch: int) -> float:
    """One in three is better than all before it, the others are worse than all before them."""
    return -float(number) if number % 3 == 0 else float(number)


def test_survivors_of_one_epoch_are_packed_into_full_cohorts(make: Make) -> None:
    sweep = make(one_of_three, changed(trials=20), size=3)
    cohorts = [sweep.next()]
    for _ in range(3):
        sweep.train(cohorts[-1])
        cohorts.append(sweep.next())
    begun = [(cohort.numbers, cohort.epoch) for cohort in cohorts]
    assert begun == [((0, 1, 2), 0), ((3, 4, 5), 0), ((6, 7, 8), 0), ((0, 3, 6), 1)]
    assert sweep.log.states == {number: State.PRUNED for number in (1, 2, 4, 5, 7, 8)}


def test_members_from_different_cohorts_bring_their_own_files(make: Make) -> None:
    sweep = make(one_of_three, changed(trials=20), size=3)
    cohorts = [sweep.next() for _ in range(3)]
    for cohort in cohorts:
        sweep.train(cohort)
    survivors = sweep.next()
    assert [member.resume for member in survivors.members] == [paths.resume_name(c.id) for c in cohorts]


def test_a_cohort_that_cannot_be_filled_any_more_runs_as_it_is(make: Make) -> None:
    sweep = make(one_of_three, changed(trials=6), size=3)
    sweep.train(sweep.next())
    sweep.train(sweep.next())
    last = sweep.next()
    assert (last.numbers, last.epoch) == ((0, 3), 1)


def test_no_more_trials_are_asked_for_than_the_total(make: Make) -> None:
    sweep = make(spec=changed(trials=5), size=3)
    assert [sweep.next().numbers, sweep.next().numbers] == [(0, 1, 2), (3, 4)]
    assert sweep.dispatcher.next_cohort() is None
    assert not sweep.dispatcher.is_done


# ---- who goes on -------------------------------------------------------------------------------


@settings(repeatable, max_examples=20)
@given(values=st.permutations(range(12)), mode=st.sampled_from(["min", "max"]))
def test_the_same_values_are_decided_alike_in_cohorts_of_one_and_of_three(
    values: list[int], mode: Any
) -> None:
    """Three in flight, told before they are decided upon: together or side by side is the same."""

    def pruned(size: int, folder: str) -> set[int]:
        spec = changed(trials=12, mode=mode)
        sweep = Sweep(Path(folder), lambda number, _: float(values[number]), spec, size)
        cohorts = [sweep.next() for _ in range(12 // size)]
        for start in range(0, len(cohorts), 3 // size):
            group = cohorts[start : start + 3 // size]
            for cohort in group:
                for reports in epochs_of(cohort, sweep.loss, sweep.folder, spec):
                    sweep.dispatcher.report(reports)
            for cohort in group:
                sweep.dispatcher.end(cohort.id)
        return set(sweep.log.states)

    with tempfile.TemporaryDirectory() as alone, tempfile.TemporaryDirectory() as together:
        assert pruned(1, alone) == pruned(3, together)


def test_the_best_of_a_bad_cohort_does_not_go_on(make: Make) -> None:
    """The values of the whole sweep decide, not those of one cohort."""
    sweep = make(by_number_reversed, size=3)
    sweep.train(sweep.next())
    sweep.train(sweep.next())
    assert sweep.log.states == dict.fromkeys((1, 2, 3, 4, 5), State.PRUNED)


def test_median_stops_what_is_worse_than_half(make: Make) -> None:
    sweep = make(by_number_reversed, changed(trials=4, early_stopping=EarlyStopping(kind="median")))
    sweep.run()
    assert sweep.states == ["completed", "pruned", "pruned", "pruned"]
    assert [len(trial.values) for trial in sweep.trials] == [5, 1, 1, 1]


def test_without_early_stopping_every_trial_trains_to_its_end(make: Make) -> None:
    sweep = make(by_number_reversed, changed(early_stopping=EarlyStopping(kind="none")))
    assert sweep.next().until == 5
    again = make(by_number_reversed, changed(early_stopping=EarlyStopping(kind="none")))
    again.run()
    assert again.states == ["completed"] * 9


def test_a_grace_as_long_as_a_trial_stops_nothing(make: Make) -> None:
    sweep = make(by_number_reversed, changed(early_stopping=EarlyStopping(grace_epochs=5)))
    sweep.run()
    assert sweep.states == ["completed"] * 9
