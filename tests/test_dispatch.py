"""What runs next and what becomes of it, simulated: a real study, real resume files, no Ray."""

import json
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning import paths, storage
from tuning.dispatch import MAX_RETRIES, Dispatcher
from tuning.records import Cohort, EpochReport, State, TrialRecord, TrialSpec
from tuning.space import Float
from tuning.spec import EarlyStopping, SweepSpec
from tuning.study import Study

repeatable = settings(derandomize=True, deadline=None)

SPEC = SweepSpec(
    model="net",
    data="noisy_square",
    name="demo",
    trials=9,
    epochs=5,
    batch_size=64,
    metric="val_loss",
    mode="min",
    search={"lr": Float(1e-4, 1.0, log=True)},
    early_stopping=EarlyStopping(kind="asha", grace_epochs=1, reduction=3),  # rungs 1 and 3
)

Loss = Callable[[int, int], float | State]
"""(trial, epoch) -> its loss; NaN: it diverges there; FAILED: the model raises there."""


def by_number(number: int, epoch: int) -> float:
    """Each trial is better than all before it, so every one goes on at every rung."""
    return 100.0 - number


def all_alike(number: int, epoch: int) -> float:
    """Equal values share a fate, so every trial goes on at every rung, also in one cohort."""
    return 1.0


def by_number_reversed(number: int, epoch: int) -> float:
    """Each trial is worse than all before it, so only the first goes on."""
    return float(number)


# ---- the simulation ----------------------------------------------------------------------------


@dataclass
class Log:
    """A recorder that keeps what it is told."""

    begun: list[tuple[int, str]] = field(default_factory=list)
    epochs: list[tuple[int, int]] = field(default_factory=list)
    ended: list[tuple[int, State, str | None]] = field(default_factory=list)

    def begin(self, trial: TrialSpec, cohort: Cohort) -> None:
        self.begun.append((trial.number, cohort.id))

    def epoch(self, report: EpochReport) -> None:
        self.epochs.append((report.trial, report.epoch))

    def end(self, number: int, state: State, cause: str | None) -> None:
        self.ended.append((number, state, cause))

    @property
    def states(self) -> dict[int, State]:
        return {number: state for number, state, _ in self.ended}


class Sweep:
    """A driver in miniature: opens the study on disk, resumes as a real one, and feeds a dispatcher."""

    def __init__(self, folder: Path, loss: Loss, spec: SweepSpec = SPEC, size: int = 1) -> None:
        self.folder, self.loss, self.spec = folder, loss, spec
        self.log = Log()
        self.study = Study(spec, folder / "study.journal", write=True)
        self.dispatcher = Dispatcher(spec, self.study, str(folder), [self.log], size=size)
        self.dispatcher.resume(self._unfinished())

    def _unfinished(self) -> list[tuple[TrialSpec, list[dict[str, float]], str | None]]:
        found: dict[int, tuple[list[dict[str, float]], str | None]]
        found = {number: ([], None) for number in self.study.unfinished()}
        for name in self.resume_files():
            for number, history in resume_state(self.folder, name).items():
                if number in found and len(history) > len(found[number][0]):
                    found[number] = (history, name)
        return [(self.study.take_up(number), *found[number]) for number in found]

    def resume_files(self) -> list[str]:
        return storage.names(paths.resume_folder(str(self.folder)))

    def next(self) -> Cohort:
        cohort = self.dispatcher.next_cohort()
        assert cohort is not None
        return cohort

    def train(self, cohort: Cohort) -> None:
        """Run one cohort to its end."""
        for reports in epochs_of(cohort, self.loss, self.folder, self.spec):
            self.dispatcher.report(reports)
        self.dispatcher.end(cohort.id)

    def run(self, workers: int = 1, dies_after: int | None = None) -> None:
        """Keep `workers` cohorts in flight, a turn an epoch each, till all is done or the driver dies."""
        flying: dict[str, Iterator[list[EpochReport]]] = {}
        for _ in range(dies_after if dies_after is not None else 10_000):
            while len(flying) < workers and (cohort := self.dispatcher.next_cohort()) is not None:
                flying[cohort.id] = epochs_of(cohort, self.loss, self.folder, self.spec)
            if not flying:
                break
            cohort_id, reports = next(iter(flying.items()))
            del flying[cohort_id]
            if (news := next(reports, None)) is None:
                self.dispatcher.end(cohort_id)
            else:
                self.dispatcher.report(news)
                flying[cohort_id] = reports  # it is the last in the queue now

    @property
    def trials(self) -> list[TrialRecord]:
        return self.study.trials()

    @property
    def states(self) -> list[str]:
        return [trial.state.value for trial in self.trials]


def resume_state(folder: Path, name: str) -> dict[int, list[dict[str, float]]]:
    plain = json.loads(storage.read(paths.resume_file(str(folder), name)))
    return {int(number): history for number, history in plain.items()}


def epochs_of(cohort: Cohort, loss: Loss, folder: Path, spec: SweepSpec) -> Iterator[list[EpochReport]]:
    """Train a cohort as a worker does: from its members' resume files, leaving one of its own."""
    cohort = Cohort.from_json(cohort.to_json())  # a worker gets one string and nothing else
    history: dict[int, list[dict[str, float]]] = {}
    for member in cohort.members:
        number = member.trial.number
        history[number] = resume_state(folder, member.resume)[number] if member.resume else []
        assert len(history[number]) >= member.epoch, f"trial {number} comes from the wrong file"
    done = min(map(len, history.values()))  # ahead of the cohort's epoch if it is half of one that died
    for epoch in range(done + 1, cohort.until + 1):
        reports = [report(number, epoch, loss(number, epoch)) for number in history]
        for one in reports:
            history[one.trial].append(one.metrics)
            if one.state is not State.RUNNING:
                del history[one.trial]
        if history and epoch < (spec.epochs or 0):
            name = paths.resume_name(cohort.id)
            storage.write(paths.resume_file(str(folder), name), json.dumps(history).encode())
        yield reports
        if not history:
            return


def report(number: int, epoch: int, value: float | State) -> EpochReport:
    if isinstance(value, State):
        error = f"Traceback ...\nRuntimeError: trial {number} broke"
        return EpochReport(trial=number, epoch=epoch, metrics={}, state=value, error=error)
    state = State.RUNNING if math.isfinite(value) else State.DIVERGED
    return EpochReport(trial=number, epoch=epoch, metrics={"val_loss": value}, state=state)


def changed(**keys: Any) -> SweepSpec:
    return replace(SPEC, **keys)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Sweep]:
    """Open the test's sweep; opening it again is what a new driver does after a death."""
    return lambda loss=by_number, spec=SPEC, size=1: Sweep(tmp_path, loss, spec, size)


Make = Callable[..., Sweep]


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


# ---- trials that go wrong ----------------------------------------------------------------------


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


def test_a_worker_that_died_for_good_fails_its_trials(make: Make) -> None:
    sweep = make(all_alike, changed(trials=4), size=2)
    sweep.dispatcher.end(sweep.next().id, "its worker process or node died 4 times")
    assert sweep.states == ["failed", "failed"]
    assert {cause for _, _, cause in sweep.log.ended} == {"its worker process or node died 4 times"}
    sweep.run()
    assert sweep.states == ["failed", "failed", "completed", "completed"]


def test_a_trial_whose_worker_died_runs_again_as_it_was_and_not_for_ever(make: Make) -> None:
    sweep = make(all_alike, changed(trials=4), size=1)
    first = sweep.next()
    for _ in range(MAX_RETRIES):
        sweep.dispatcher.died(first.id)
        assert not sweep.dispatcher.is_done and sweep.states == ["running"]
        assert sweep.next() == first
    sweep.dispatcher.died(first.id)
    assert sweep.states == ["failed"]
    assert {cause for _, _, cause in sweep.log.ended} == {"its worker process or node died 4 times"}
    assert sweep.log.begun == [(0, first.id)]


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


# ---- resuming ----------------------------------------------------------------------------------


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
