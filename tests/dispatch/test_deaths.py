"""What becomes of cohorts whose worker dies, or is too large for its memory."""

import math
from itertools import islice

import pytest

from tests.dispatch.simulated import Make, all_alike, changed, epochs_of
from tuning import attempts, paths
from tuning.errors import SweepError
from tuning.records import State
from tuning.spec import EarlyStopping
from tuning.tolerance import MAX_RETRIES


def test_a_worker_that_died_for_good_fails_its_trials(make: Make) -> None:
    sweep = make(all_alike, changed(trials=4), size=2)
    sweep.dispatcher.end(sweep.next().id, "its worker process or node died 4 times")
    assert sweep.states == ["failed", "failed"]
    assert {cause for _, _, cause in sweep.log.ended} == {"its worker process or node died 4 times"}
    sweep.run()
    assert sweep.states == ["failed", "failed", "completed", "completed"]


def test_a_trial_whose_worker_died_runs_again_as_it_was_and_not_for_ever(make: Make) -> None:
    sweep = make(all_alike, changed(trials=4), size=1)
    attempt = attempts.begin(str(sweep.folder))
    first = sweep.next()
    for _ in range(MAX_RETRIES):
        sweep.dispatcher.died(first.id)
        assert not sweep.dispatcher.is_done and sweep.states == ["running"]
        again = sweep.next()
        assert again == first
        with pytest.raises(SweepError, match="is over"):  # of one that lives on unheard of
            attempts.check(str(sweep.folder), attempt, first)
        attempts.check(str(sweep.folder), attempt, again)
    sweep.dispatcher.died(first.id)
    assert sweep.states == ["failed"]
    assert {cause for _, _, cause in sweep.log.ended} == {"its worker process or node died 4 times in a row"}
    assert sweep.log.begun == [(0, first.id)]


@pytest.mark.parametrize(("has_trained", "deaths"), [(False, 1), (True, MAX_RETRIES + 1)])
def test_once_a_trial_has_failed_for_it_one_death_is_enough_unless_any_has_trained(
    make: Make, has_trained: bool, deaths: int
) -> None:
    """So a model that kills its process ends the sweep soon, and nodes that go cost no trial."""
    sweep = make(all_alike, changed(trials=4, early_stopping=EarlyStopping(kind="none")))
    if has_trained:
        trained = sweep.next()
        sweep.dispatcher.report(next(iter(epochs_of(trained, sweep.loss, sweep.folder, sweep.spec))))
    first = sweep.next()
    for _ in range(MAX_RETRIES):
        sweep.dispatcher.died(first.id)
        sweep.next()
    sweep.dispatcher.died(first.id)
    second = sweep.next()
    for death in range(deaths):
        assert len(sweep.log.ended) == 1, death
        sweep.dispatcher.died(second.id, "killed by SIGKILL")
        if death + 1 < deaths:
            assert sweep.next() == second
    often = ", and no trial has trained an epoch yet" if deaths == 1 else " 4 times in a row"
    (_, _, cause) = sweep.log.ended[1]
    assert cause == f"its worker process or node died{often}; the last time: killed by SIGKILL"


@pytest.mark.parametrize("size", [1, 2])
def test_deaths_with_progress_between_them_cost_no_trial(make: Make, size: int) -> None:
    """As of 200 epochs on nodes that come and go: here one is lost after each epoch."""
    no_rungs = changed(trials=size, epochs=20, early_stopping=EarlyStopping(kind="none"))
    sweep = make(all_alike, no_rungs, size=size)
    cohort = sweep.next()
    for reports in epochs_of(cohort, sweep.loss, sweep.folder, sweep.spec):
        sweep.dispatcher.report(reports)
        sweep.dispatcher.died(cohort.id)
        assert sweep.next() == cohort, "nor is it split"
    sweep.dispatcher.end(cohort.id)
    assert sweep.states == ["completed"] * size
    assert sorted(sweep.log.epochs) == [(n, epoch) for n in range(size) for epoch in range(1, 21)]


def test_what_is_trained_and_told_again_after_a_death_is_no_progress(make: Make) -> None:
    """A trial that kills its worker in its third epoch, of which only the first is ever saved."""
    sweep = make(all_alike, changed(trials=1, early_stopping=EarlyStopping(kind="none")))
    cohort, deaths = sweep.next(), 0
    told = list(islice(epochs_of(cohort, sweep.loss, sweep.folder, sweep.spec), 2))
    while not sweep.dispatcher.is_done:
        for reports in told[deaths > 0 :]:
            sweep.dispatcher.report(reports)
        sweep.dispatcher.died(cohort.id)
        deaths += 1
        sweep.dispatcher.next_cohort()
    assert (deaths, sweep.states) == (MAX_RETRIES + 1, ["failed"])


def test_a_trial_that_kills_its_worker_is_found_by_halving_its_cohort_and_fails_alone(make: Make) -> None:
    sweep = make(all_alike, changed(trials=8, early_stopping=EarlyStopping(kind="none")), size=8)
    deaths = []
    while not sweep.dispatcher.is_done:
        cohort = sweep.next()
        if 5 in cohort.numbers:
            deaths.append(len(cohort.members))
            sweep.dispatcher.died(cohort.id)
        else:
            sweep.train(cohort)
    assert deaths == [8, 8, 4, 2, 1, 1, 1]
    assert sweep.states == ["completed"] * 5 + ["failed"] + ["completed"] * 2
    assert len(sweep.log.ended) == 8 and not sweep.resume_files()


def test_the_halves_of_a_cohort_go_on_from_where_it_was(make: Make) -> None:
    sweep = make(all_alike, changed(trials=4, early_stopping=EarlyStopping(kind="none")), size=4)
    cohort = sweep.next()
    training = epochs_of(cohort, sweep.loss, sweep.folder, sweep.spec)
    sweep.dispatcher.report(next(training))
    sweep.dispatcher.died(cohort.id)
    sweep.dispatcher.died(sweep.next().id)
    halves = [sweep.next(), sweep.next()]
    own = paths.resume_name(cohort.id)
    assert {m.resume for half in halves for m in half.members} == {own} and sweep.resume_files() == [own]
    for half in halves:
        sweep.train(half)
    sweep.run()
    assert sweep.states == ["completed"] * 4 and not sweep.resume_files()
    assert sorted(sweep.log.epochs) == [(number, epoch) for number in range(4) for epoch in range(1, 6)]


def test_a_cohort_too_large_for_the_memory_is_halved_and_so_are_all_that_come(make: Make) -> None:
    sweep = make(all_alike, changed(trials=24, early_stopping=EarlyStopping(kind="none")), size=8)
    sizes = []
    while not sweep.dispatcher.is_done:
        cohort = sweep.next()
        sizes.append(len(cohort.members))
        if len(cohort.members) > 3:
            sweep.dispatcher.out_of_memory(cohort.id)
        else:
            sweep.train(cohort)
    assert sizes[:4] == [8, 4, 2, 2] and set(sizes[4:]) <= {4, 2} and sweep.dispatcher.size == 2
    assert sweep.states == ["completed"] * 24 and not sweep.resume_files()


def test_trials_that_train_in_turn_do_so_in_halves_too(make: Make) -> None:
    sweep = make(all_alike, changed(trials=8, early_stopping=EarlyStopping(kind="none")), size=8)
    sweep.dispatcher.is_stacked = False
    cohort = sweep.next()
    sweep.dispatcher.out_of_memory(cohort.id)
    assert [one.is_stacked for one in (cohort, sweep.next(), sweep.next())] == [False] * 3


def test_a_cohort_that_runs_again_goes_on_from_its_own_last_epoch_and_counts_once(make: Make) -> None:
    sweep = make(all_alike, changed(trials=2, early_stopping=EarlyStopping(kind="none")))
    cohort = sweep.next()
    training = epochs_of(cohort, sweep.loss, sweep.folder, sweep.spec)
    sweep.dispatcher.report(next(training))
    sweep.dispatcher.died(cohort.id)
    other = sweep.next()
    assert other == cohort, "before anything fresh is begun"
    sweep.run()
    sweep.train(other)
    sweep.run()
    assert sweep.states == ["completed", "completed"]
    assert sorted(sweep.log.epochs) == [(number, epoch) for number in (0, 1) for epoch in range(1, 6)]


def test_a_halted_sweep_is_done_though_a_cohort_was_to_run_again(make: Make) -> None:
    sweep = make(all_alike)
    cohort = sweep.next()
    sweep.dispatcher.report(next(epochs_of(cohort, sweep.loss, sweep.folder, sweep.spec)))
    sweep.dispatcher.died(cohort.id)
    sweep.dispatcher.halted = "interrupted"
    assert sweep.dispatcher.is_done and sweep.dispatcher.next_cohort() is None
    assert sweep.study.unfinished() == [0] and sweep.resume_files()


def test_a_trial_that_diverged_before_its_worker_died_is_diverged(make: Make) -> None:
    sweep = make(lambda number, _: math.nan if number == 0 else 1.0, size=2)
    cohort = sweep.next()
    sweep.dispatcher.report(next(epochs_of(cohort, sweep.loss, sweep.folder, sweep.spec)))
    sweep.dispatcher.end(cohort.id, "its worker died")
    assert sweep.log.states == {0: State.DIVERGED, 1: State.FAILED}


def test_a_trial_that_goes_wrong_has_ended_before_its_cohort_and_a_death_does_not_bring_it_back(
    make: Make,
) -> None:
    sweep = make(lambda number, _: math.nan if number == 0 else 1.0, changed(trials=3), size=3)
    cohort = sweep.next()
    sweep.dispatcher.report(next(epochs_of(cohort, sweep.loss, sweep.folder, sweep.spec)))
    assert sweep.states == ["diverged", "running", "running"]
    sweep.dispatcher.died(cohort.id)
    assert sweep.next().numbers == (1, 2), "nor does a retry train it again"
    again = make(lambda *_: 1.0, changed(trials=3), size=3)
    assert again.next().numbers == (1, 2)
    again.run()
    assert again.trials[0].state is State.DIVERGED


def test_what_ray_knows_of_a_death_is_told_and_the_trials_best_state_is_saved_first(make: Make) -> None:
    sweep = make(all_alike, changed(trials=1))
    for _ in range(MAX_RETRIES + 1):
        sweep.dispatcher.died(sweep.next().id, "killed by SIGKILL")
    assert sweep.saved == [{0}]
    cause = "its worker process or node died 4 times in a row; the last time: killed by SIGKILL"
    assert sweep.log.ended == [(0, State.FAILED, cause)]
