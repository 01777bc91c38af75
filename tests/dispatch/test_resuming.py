"""What a new driver takes up, and which resume files it keeps."""

from itertools import islice

import pytest

from tests.dispatch.simulated import Log, Make, all_alike, by_number, by_number_reversed, changed, epochs_of
from tuning import paths, storage
from tuning.records import State
from tuning.spec import EarlyStopping


def test_interrupted_trials_are_taken_up_before_fresh_ones(make: Make) -> None:
    make(all_alike).run(workers=3, dies_after=4)
    sweep = make(all_alike)
    interrupted = sweep.study.unfinished()
    assert interrupted == [0, 1, 2]
    begun = [sweep.next() for _ in range(4)]
    assert sorted(number for cohort in begun[:3] for number in cohort.numbers) == interrupted
    assert begun[3].numbers == (3,)


def test_an_interrupted_trial_goes_on_from_its_last_epoch_under_its_number(make: Make) -> None:
    spec = changed(early_stopping=EarlyStopping(kind="none"))
    dead = make(spec=spec)
    cohort = dead.next()
    training = epochs_of(cohort, by_number, dead.folder, spec)
    dead.dispatcher.report(next(training))
    dead.dispatcher.report(next(training))
    sweep = make(spec=spec)
    on = sweep.next()
    assert on.members[0].trial == cohort.members[0].trial
    assert (on.epoch, on.until, on.members[0].resume) == (2, 5, paths.resume_name(cohort.id))


def test_a_trial_without_a_resume_file_begins_again(make: Make) -> None:
    dead = make()
    trial = dead.next().members[0].trial
    on = make().next()
    assert (on.members[0].trial, on.epoch, on.members[0].resume) == (trial, 0, None)


def test_epochs_that_were_trained_but_not_told_are_told_when_resumed(make: Make) -> None:
    spec = changed(early_stopping=EarlyStopping(kind="none"))
    dead = make(spec=spec)
    training = epochs_of(dead.next(), by_number, dead.folder, spec)
    dead.dispatcher.report(next(training))
    next(training)
    next(training)  # three epochs are in the resume file, one in the study
    sweep = make(spec=spec)
    assert sweep.log.epochs == [(0, 2), (0, 3)]
    assert sweep.study.values() == {0: {1: 100.0, 2: 100.0, 3: 100.0}}


def test_a_trial_whose_last_epoch_a_dead_driver_told_of_has_ended_only_when_it_is_trained_again(
    make: Make,
) -> None:
    """Its state of that epoch is lost, and with it the weights that its checkpoint must hold."""
    spec = changed(early_stopping=EarlyStopping(kind="none"), trials=1)
    dead = make(spec=spec)
    for reports in epochs_of(dead.next(), by_number, dead.folder, spec):
        dead.dispatcher.report(reports)
    interrupted = make(spec=spec)
    cohort = interrupted.next()
    assert (cohort.epoch, cohort.until) == (4, 5)
    interrupted.dispatcher.halted = "interrupted"
    interrupted.dispatcher.end(cohort.id)
    assert interrupted.study.unfinished() == [0]
    sweep = make(spec=spec)
    sweep.run()
    assert sweep.log.epochs == [(0, 5)] and sweep.log.states == {0: State.COMPLETED}


@pytest.mark.parametrize(("mine", "states"), [(9.0, {2: State.PRUNED}), (0.0, {})])
def test_a_trial_that_had_come_to_a_rung_is_decided_upon_when_resumed(
    make: Make, mine: float, states: dict[int, State]
) -> None:
    def loss(number: int, _: int) -> float:
        return mine if number == 2 else float(1 + number)

    dead = make(loss)
    cohorts = [dead.next() for _ in range(3)]
    for cohort in cohorts[:2]:
        dead.train(cohort)
    next(epochs_of(cohorts[2], loss, dead.folder, dead.spec))  # trained to the rung, and then all dies
    sweep = make(loss)
    assert sweep.log.states == states
    assert (2 in sweep.study.unfinished()) is not bool(states)


def test_trials_that_had_come_to_a_rung_together_are_decided_upon_together(make: Make) -> None:
    """By the values of all of them: one by one, the first to come would go on whatever follows."""
    dead = make(by_number, size=3)
    next(epochs_of(dead.next(), by_number, dead.folder, dead.spec))  # to the rung; nothing is told
    sweep = make(by_number, size=3)
    assert [trial.number for trial in sweep.trials if trial.state is State.RUNNING] == [2]


def test_a_trial_that_was_let_go_on_is_not_decided_upon_again(make: Make) -> None:
    def loss(number: int, _: int) -> float:
        return 5.0 if number == 0 else 1.0

    dead = make(loss)
    cohorts = [dead.next() for _ in range(4)]
    for cohort in cohorts:
        dead.train(cohort)  # the first is best when it comes to the rung, and worst soon after
    assert dead.log.states == {}
    sweep = make(loss)
    assert sweep.log.states == {}
    assert sweep.study.unfinished() == [0, 1, 2, 3]


def test_values_from_before_a_death_still_count_at_a_rung(make: Make) -> None:
    dead = make(by_number_reversed)
    dead.train(dead.next())
    sweep = make(by_number_reversed)
    sweep.run()
    assert sweep.states == ["completed"] + ["pruned"] * 8


def test_a_finished_sweep_has_nothing_more_to_do(make: Make) -> None:
    make().run()
    sweep = make()
    assert sweep.dispatcher.is_done
    assert sweep.dispatcher.next_cohort() is None
    assert sweep.log == Log()


def test_a_larger_total_extends_a_finished_sweep(make: Make) -> None:
    make(spec=changed(trials=4)).run()
    sweep = make(spec=changed(trials=7))
    assert not sweep.dispatcher.is_done
    sweep.run()
    assert sorted(sweep.log.states) == [4, 5, 6]
    assert len(sweep.trials) == 7


def test_a_smaller_total_takes_up_what_was_begun_and_nothing_else(make: Make) -> None:
    make().run(workers=3, dies_after=4)
    sweep = make(spec=changed(trials=1))
    sweep.run()
    assert len(sweep.trials) == 3
    assert all(trial.state.has_ended for trial in sweep.trials)


# ---- resume files ------------------------------------------------------------------------------


def test_a_file_is_kept_until_the_last_that_needs_it_has_gone_on(make: Make) -> None:
    sweep = make(all_alike, changed(trials=2), size=2)
    both = sweep.next()
    sweep.train(both)
    assert sweep.resume_files() == [paths.resume_name(both.id)]
    sweep.dispatcher.size = 1  # as after a worker ran out of memory
    one, other = sweep.next(), sweep.next()
    assert {m.resume for c in (one, other) for m in c.members} == {paths.resume_name(both.id)}
    sweep.train(one)
    assert set(sweep.resume_files()) == {paths.resume_name(both.id), paths.resume_name(one.id)}
    sweep.train(other)
    assert set(sweep.resume_files()) == {paths.resume_name(one.id), paths.resume_name(other.id)}


def test_the_file_of_a_pruned_trial_goes_at_once(make: Make) -> None:
    sweep = make(by_number_reversed)
    first, second = sweep.next(), sweep.next()
    sweep.train(first)
    sweep.train(second)
    assert sweep.resume_files() == [paths.resume_name(first.id)]


def test_an_interrupted_sweep_keeps_every_file_that_it_needs(make: Make) -> None:
    sweep = make()
    cohorts = [sweep.next() for _ in range(3)]
    sweep.dispatcher.halted = "interrupted"
    for cohort in cohorts:
        sweep.train(cohort)
    assert {paths.resume_name(cohort.id) for cohort in cohorts} <= set(sweep.resume_files())
    assert make().next().epoch == 1


def test_a_sweep_that_was_interrupted_leaves_no_file_either_once_it_is_done(make: Make) -> None:
    dead = make(spec=changed(trials=1))
    dead.train(dead.next())
    training = epochs_of(dead.next(), by_number, dead.folder, dead.spec)
    next(training)  # past the rung: this cohort's file and that of the one before are there
    assert len(dead.resume_files()) == 2
    sweep = make(spec=changed(trials=1))
    sweep.run()
    assert sweep.states == ["completed"]
    assert sweep.resume_files() == []


def test_epochs_that_only_the_study_has_are_told_to_the_recorders_when_they_are_trained_again(
    make: Make,
) -> None:
    """The driver died between the two, and the resume state is of an earlier epoch, or there is none."""
    spec = changed(trials=1, early_stopping=EarlyStopping(kind="none"))
    first = make(lambda number, epoch: 1.0 / epoch, spec)
    cohort = first.next()
    for reports in islice(epochs_of(cohort, first.loss, first.folder, first.spec), 3):
        first.dispatcher.report(reports)
    for name in first.resume_files():
        storage.remove(paths.resume_file(str(first.folder), name))
    second = make(lambda number, epoch: 2.0 / epoch, spec)
    second.run()
    assert second.log.epochs == [(0, epoch) for epoch in range(1, second.spec.epochs + 1)]
    assert second.trials[0].values[3] == 1.0 / 3, "and keep the value that they were decided upon with"
