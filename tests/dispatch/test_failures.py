"""What becomes of trials that go wrong, and of what is told twice."""

import math
from dataclasses import replace

import pytest

from tests.dispatch.simulated import Make, all_alike, by_number, changed, epochs_of
from tuning import paths, storage
from tuning.records import State
from tuning.spec import EarlyStopping


@pytest.mark.parametrize(("value", "state"), [(math.nan, State.DIVERGED), (State.FAILED, State.FAILED)])
@pytest.mark.parametrize("epoch", [1, 2, 5])
def test_a_trial_that_goes_wrong_ends_alone(
    make: Make, value: float | State, state: State, epoch: int
) -> None:
    def loss(number: int, at: int) -> float | State:
        return value if (number, at) == (1, epoch) else 1.0

    sweep = make(loss, changed(trials=3), size=3)
    sweep.run()
    assert sweep.states == ["completed", state.value, "completed"]
    assert list(sweep.trials[1].values) == list(range(1, epoch))
    assert sweep.log.states[1] is state


def test_the_cause_of_a_failure_is_kept(make: Make) -> None:
    sweep = make(lambda number, _: State.FAILED, changed(trials=1))
    sweep.run()
    assert sweep.log.ended == [(0, State.FAILED, "Traceback ...\nRuntimeError: trial 0 broke")]


def test_trials_whose_worker_died_wait_and_so_do_the_halves_of_a_cohort_that_was_too_large(
    make: Make,
) -> None:
    sweep = make(lambda *_: 1.0, changed(trials=4), size=2)
    died, too_large = sweep.next(), sweep.next()
    assert [trial.waits for trial in sweep.trials] == [False] * 4
    sweep.dispatcher.died(died.id)
    assert [trial.waits for trial in sweep.trials] == [True, True, False, False]
    sweep.dispatcher.out_of_memory(too_large.id)
    assert [trial.waits for trial in sweep.trials] == [True] * 4


def test_failures_in_a_row_halt_the_sweep_with_the_reason(make: Make) -> None:
    sweep = make(lambda number, _: State.FAILED, changed(max_failures=3))
    sweep.run()
    assert sweep.states == ["failed"] * 3
    assert sweep.dispatcher.is_done
    assert sweep.dispatcher.next_cohort() is None
    assert sweep.dispatcher.halted == ("3 trials in a row failed, the last with: RuntimeError: trial 2 broke")


@pytest.mark.parametrize("between", [1.0, math.nan])
def test_failures_that_are_not_in_a_row_do_not(make: Make, between: float) -> None:
    sweep = make(lambda number, _: between if number % 3 == 2 else State.FAILED, changed(max_failures=3))
    sweep.run()
    assert sweep.dispatcher.halted is None
    assert len(sweep.trials) == 9


def test_diverged_trials_never_halt_a_sweep(make: Make) -> None:
    sweep = make(lambda number, _: math.nan, changed(max_failures=1))
    sweep.run()
    assert sweep.states == ["diverged"] * 9
    assert sweep.dispatcher.halted is None


def test_what_runs_when_a_sweep_halts_is_kept_to_be_resumed(make: Make) -> None:
    def loss(number: int, _: int) -> float | State:
        return State.FAILED if number == 1 else 1.0

    sweep = make(loss, changed(max_failures=1, trials=3))
    healthy, broken = sweep.next(), sweep.next()
    training = epochs_of(healthy, loss, sweep.folder, sweep.spec)
    sweep.dispatcher.report(next(training))
    sweep.train(broken)
    assert sweep.dispatcher.halted is not None
    assert not sweep.dispatcher.is_done  # something still runs
    sweep.dispatcher.end(healthy.id)
    assert sweep.dispatcher.is_done
    assert sweep.study.unfinished() == [0]
    again = make(loss, changed(max_failures=1, trials=3))
    assert (again.next().numbers, again.log.epochs) == ((0,), [])
    again = make(all_alike, changed(trials=3))
    again.run()
    assert again.states == ["completed", "failed", "completed"]


def test_room_that_an_ended_trial_leaves_in_a_running_cohort_is_given_to_another(make: Make) -> None:
    sweep = make(lambda number, _: math.nan if number == 0 else 1.0, changed(trials=4), size=2)
    first = sweep.next()
    sweep.dispatcher.report(next(epochs_of(first, sweep.loss, sweep.folder, sweep.spec)))
    assert sweep.next().numbers == (2, 3)
    assert sweep.dispatcher.next_cohort() is None


def test_failures_here_and_there_in_one_cohort_are_not_in_a_row(make: Make) -> None:
    """They all end before the others, which go on to the end, have been counted."""
    sweep = make(lambda number, _: State.FAILED if number % 3 == 1 else 1.0, changed(max_failures=2), size=9)
    sweep.run()
    assert sweep.dispatcher.halted is None
    assert sweep.states.count("failed") == 3 and len(sweep.states) == 9


def test_a_trial_without_the_sweeps_metric_fails_and_says_so(make: Make) -> None:
    sweep = make(by_number, changed(trials=2), size=2)
    cohort = sweep.next()
    reports = next(epochs_of(cohort, sweep.loss, sweep.folder, sweep.spec))
    sweep.dispatcher.report([replace(reports[0], metrics={"train_loss": 1.0}), reports[1]])
    assert sweep.states == ["failed", "running"]
    assert sweep.log.ended == [(0, State.FAILED, "epoch 1 has no metric 'val_loss', only: train_loss")]


def test_a_trial_whose_worker_leaves_word_why_it_ends_fails_of_that_at_once(make: Make) -> None:
    sweep = make(all_alike, changed(trials=2), size=2)
    cohort = sweep.next()
    words = paths.last_words_file(str(sweep.folder), cohort.id)
    storage.write(words, b"Traceback ...\nAcceleratorError: CUDA error")
    sweep.dispatcher.died(cohort.id)
    assert not storage.exists(words)
    one = sweep.next()
    assert len(one.members) == 1, "which of the two it was is found by halving"
    storage.write(
        paths.last_words_file(str(sweep.folder), one.id), b"Traceback ...\nAcceleratorError: CUDA error"
    )
    sweep.dispatcher.died(one.id)
    (number,) = one.numbers
    assert sweep.log.ended == [(number, State.FAILED, "Traceback ...\nAcceleratorError: CUDA error")]


def test_nobody_hears_of_an_end_that_the_study_could_not_write(make: Make) -> None:
    sweep = make(lambda *_: math.nan, changed(trials=1))
    cohort = sweep.next()
    journal = sweep.folder / "study.journal"
    journal.rename(sweep.folder / "aside")
    journal.mkdir()
    with pytest.raises(OSError, match="directory"):
        sweep.dispatcher.report(next(epochs_of(cohort, sweep.loss, sweep.folder, sweep.spec)))
    sweep.dispatcher.end(cohort.id)
    assert sweep.log.epochs == [] and sweep.log.ended == []


# ---- what is told twice ------------------------------------------------------------------------


def test_a_retried_cohort_repeats_its_reports_without_effect(make: Make) -> None:
    sweep = make(spec=changed(trials=2, early_stopping=EarlyStopping(kind="none")), size=2)
    cohort = sweep.next()
    training = epochs_of(cohort, by_number, sweep.folder, sweep.spec)
    sweep.dispatcher.report(next(training))
    sweep.dispatcher.report(next(training))
    sweep.train(cohort)  # its worker died and the next one begins again
    assert sweep.log.epochs == [(number, epoch) for epoch in range(1, 6) for number in (0, 1)]
    assert sweep.states == ["completed", "completed"]
    assert sweep.study.num_ended() == 2


@pytest.mark.parametrize("last", [1.0, math.nan, State.FAILED])
def test_a_last_report_that_comes_twice_is_recorded_once(make: Make, last: float | State) -> None:
    """Tune hands the last result over once more when a trial is complete."""
    sweep = make(lambda number, _: last, changed(trials=1, epochs=1))
    cohort = sweep.next()
    (reports,) = epochs_of(cohort, sweep.loss, sweep.folder, sweep.spec)
    sweep.dispatcher.report(reports)
    sweep.dispatcher.report(reports)
    sweep.dispatcher.end(cohort.id)
    assert len(sweep.log.epochs) == (0 if last is State.FAILED else 1)
    assert len(sweep.log.ended) == 1


def test_several_epochs_can_come_in_one_report(make: Make) -> None:
    sweep = make(spec=changed(trials=1, early_stopping=EarlyStopping(kind="none")))
    cohort = sweep.next()
    batches = epochs_of(cohort, by_number, sweep.folder, sweep.spec)
    sweep.dispatcher.report([one for reports in batches for one in reports])
    sweep.dispatcher.end(cohort.id)
    assert sweep.states == ["completed"]
    assert list(sweep.trials[0].values) == [1, 2, 3, 4, 5]


def test_recorders_are_told_of_every_cohort_that_a_trial_is_in(make: Make) -> None:
    sweep = make(spec=changed(trials=1))
    sweep.run()
    assert [number for number, _ in sweep.log.begun] == [0, 0, 0]
    assert len({cohort for _, cohort in sweep.log.begun}) == 3
