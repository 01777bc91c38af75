"""The study: what plain Optuna reads of it, and what it is after a death."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import TrialState

from tuning.errors import SweepError
from tuning.records import State, TrialSpec
from tuning.space import Choice, Float, Int
from tuning.spec import SweepSpec
from tuning.study import Study

SEARCH = {"lr": Float(1e-4, 1.0, log=True), "momentum": Float(0.0, 0.9)}
SPEC = SweepSpec(
    model="net",
    data="noisy_square",
    name="demo",
    epochs=9,
    batch_size=64,
    metric="val_loss",
    mode="min",
    search=SEARCH,
    fixed={"optimizer": "sgd"},
)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "study.journal"


Opener = Callable[..., Study]


@pytest.fixture
def opened(journal: Path) -> Opener:
    """Open the test's study as a driver does: anew, or again after the one before was dropped."""
    return lambda spec=SPEC: Study(spec, journal, write=True)


def plain(journal: Path) -> optuna.Study:
    """Open it as any user of Optuna would."""
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    return optuna.load_study(study_name="demo", storage=storage)


def train(study: Study, number: int, values: list[float], first: int = 1) -> None:
    for epoch, value in enumerate(values, start=first):
        study.report(number, epoch, value)


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


# ---- suggestions -------------------------------------------------------------------------------


def run(study: Study, count: int) -> list[TrialSpec]:
    """Run trials to their end whose value follows from their hyperparameters."""
    asked = []
    for _ in range(count):
        trial = study.ask()
        study.report(trial.number, 1, abs(math.log10(trial.hyperparameters["lr"]) + 2))
        study.tell(trial.number, State.COMPLETED)
        asked.append(trial)
    return asked


def test_suggestions_lie_in_the_ranges_and_fixed_values_are_added(opened: Opener) -> None:
    search = {**SEARCH, "batch_size": Choice((16, 32)), "n_hidden": Int(2, 64, log=True)}
    spec = replace(SPEC, search=search, fixed={"optimizer": "adam", "weight_decay": 0.1})
    study = opened(spec)
    trials = [study.ask() for _ in range(20)]
    assert all(t.hyperparameters[key] in search[key] for t in trials for key in search)
    assert all(set(t.hyperparameters) == {*search, "optimizer", "weight_decay"} for t in trials)
    assert all(t.hyperparameters["weight_decay"] == 0.1 for t in trials)


def test_the_same_seed_suggests_the_same(tmp_path: Path) -> None:
    first, second = (Study(SPEC, tmp_path / name, write=True) for name in ("a", "b"))
    assert run(first, 14) == run(second, 14)  # ten random ones, then TPE's own


def test_another_seed_suggests_something_else(tmp_path: Path) -> None:
    first = Study(SPEC, tmp_path / "a", write=True)
    second = Study(replace(SPEC, seed=1), tmp_path / "b", write=True)
    assert run(first, 1) != run(second, 1)


def test_a_death_changes_no_suggestion(tmp_path: Path) -> None:
    """Every number is a function of what it is for: what has no memory cannot lose it."""
    whole = run(Study(SPEC, tmp_path / "a", write=True), 14)
    parts = [trial for _ in range(7) for trial in run(Study(SPEC, tmp_path / "b", write=True), 2)]
    assert parts == whole


def test_suggestions_after_a_reopen_do_not_repeat_earlier_ones(opened: Opener) -> None:
    rates = [trial.hyperparameters["lr"] for _ in range(4) for trial in run(opened(), 4)]
    assert len(set(rates)) == 16


def test_trials_in_flight_differ(opened: Opener) -> None:
    study = opened()
    rates = {study.ask().hyperparameters["lr"] for _ in range(16)}
    assert len(rates) == 16


def test_adagrad_trials_get_no_momentum_suggested(journal: Path, opened: Opener) -> None:
    search = {**SEARCH, "optimizer": Choice(("sgd", "adagrad"))}  # momentum stands before the optimizer
    study = opened(replace(SPEC, search=search, fixed={}))
    asked = [study.ask().hyperparameters for _ in range(20)]
    assert {one["optimizer"] for one in asked} == {"sgd", "adagrad"}
    assert all(("momentum" in one) == (one["optimizer"] == "sgd") for one in asked)
    stored = [trial.params for trial in plain(journal).trials]
    assert all(("momentum" in one) == (one["optimizer"] == "sgd") for one in stored)
    assert [record.hyperparameters for record in study.trials()] == asked


def test_fixed_values_that_a_trials_optimizer_does_not_have_are_left_out(opened: Opener) -> None:
    search = {"lr": SEARCH["lr"], "optimizer": Choice(("sgd", "adam"))}
    study = opened(replace(SPEC, search=search, fixed={"beta2": 0.99}))
    asked = [study.ask().hyperparameters for _ in range(20)]
    assert all(("beta2" in one) == (one["optimizer"] == "adam") for one in asked)
    assert [record.hyperparameters for record in study.trials()] == asked


# ---- configurations to try ---------------------------------------------------------------------

TRY = ({"lr": 0.1, "momentum": 0.5}, {"lr": 0.2, "momentum": 0.6})


def test_what_to_try_runs_first_and_as_it_is(opened: Opener) -> None:
    study = opened()
    study.enqueue(TRY)
    asked = [study.ask().hyperparameters for _ in range(3)]
    assert asked[:2] == [{**entry, "optimizer": "sgd"} for entry in TRY]
    assert asked[2]["lr"] not in (0.1, 0.2)


@pytest.mark.parametrize("num_asked", [0, 1, 2, 3])
def test_what_to_try_is_tried_once_also_after_a_reopen(opened: Opener, num_asked: int) -> None:
    study = opened()
    study.enqueue(TRY)
    before = [study.ask() for _ in range(num_asked)]
    study = opened()
    study.enqueue(TRY)
    after = [study.ask() for _ in range(4 - num_asked)]
    rates = [trial.hyperparameters["lr"] for trial in (*before, *after)]
    assert rates[:2] == [0.1, 0.2]
    assert len(set(rates)) == 4
    assert [trial.number for trial in (*before, *after)] == [0, 1, 2, 3]


@pytest.mark.parametrize("num_records", range(1, 4))
def test_what_to_try_is_tried_once_wherever_a_death_cuts_the_journal(
    journal: Path, opened: Opener, num_records: int
) -> None:
    opened().enqueue(TRY)
    records = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(records[:num_records]))
    study = opened()
    study.enqueue(TRY)
    asked = [study.ask().hyperparameters["lr"] for _ in range(3)]
    assert asked[:2] == [0.1, 0.2] and asked[2] not in (0.1, 0.2)


def test_what_an_earlier_version_has_tried_is_not_tried_again(journal: Path, opened: Opener) -> None:
    """It kept how many it had enqueued in a record of its own."""
    study = opened()
    study.enqueue(TRY[:1])
    plain(journal).set_user_attr("enqueued", 1)
    study = opened()
    study.enqueue(TRY)
    assert [study.ask().hyperparameters["lr"] for _ in range(2)] == [0.1, 0.2]


def test_a_configuration_that_is_given_twice_is_tried_twice(opened: Opener) -> None:
    study = opened()
    study.enqueue((TRY[0], TRY[0]))
    assert [study.ask().hyperparameters["lr"] for _ in range(2)] == [0.1, 0.1]


def test_what_waits_to_be_tried_is_no_trial_yet(opened: Opener) -> None:
    study = opened()
    study.enqueue(TRY)
    assert study.trials() == []
    assert study.unfinished() == []
    study.ask()
    assert [trial.number for trial in study.trials()] == [0]


def test_what_a_configuration_leaves_out_is_suggested(opened: Opener) -> None:
    study = opened()
    study.enqueue(({"lr": 0.1},))
    trial = study.ask()
    assert trial.hyperparameters["lr"] == 0.1
    assert trial.hyperparameters["momentum"] in SEARCH["momentum"]


def test_what_configurations_leave_out_is_suggested_anew_for_each(opened: Opener) -> None:
    study = opened()
    study.enqueue(({"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}))
    momenta = [study.ask().hyperparameters["momentum"] for _ in range(4)]
    assert len(set(momenta)) == 4


def test_a_configuration_can_give_what_is_not_searched(opened: Opener) -> None:
    study = opened()
    study.enqueue(({"lr": 0.1, "optimizer": "adam", "weight_decay": 0.01},))
    trial = study.ask()
    assert trial.hyperparameters.items() >= {"lr": 0.1, "optimizer": "adam", "weight_decay": 0.01}.items()
    assert study.ask().hyperparameters["optimizer"] == "sgd"
    assert opened().trials()[0].hyperparameters == trial.hyperparameters


def test_an_adagrad_configuration_has_no_momentum(journal: Path, opened: Opener) -> None:
    search = {**SEARCH, "optimizer": Choice(("sgd", "adagrad"))}
    study = opened(replace(SPEC, search=search, fixed={}))
    study.enqueue(({"optimizer": "adagrad", "lr": 0.1},))
    assert study.ask().hyperparameters == {"optimizer": "adagrad", "lr": 0.1}
    assert "momentum" not in plain(journal).trials[0].params


# ---- after a death -----------------------------------------------------------------------------


def test_a_running_trial_is_taken_up_as_it_was(opened: Opener) -> None:
    study = opened()
    asked = [study.ask() for _ in range(3)]
    train(study, 1, [0.5, 0.4])
    study.tell(0, State.FAILED)
    del study  # a driver that dies leaves it like that: everything is on disk
    again = opened()
    assert again.unfinished() == [1, 2]
    assert [again.take_up(number) for number in (1, 2)] == asked[1:]


def test_a_trial_that_was_taken_up_reports_and_ends_as_any_other(journal: Path, opened: Opener) -> None:
    study = opened()
    study.ask()
    train(study, 0, [0.5, 0.4])
    again = opened()
    again.take_up(0)
    train(again, 0, [0.3, 0.6], first=3)
    again.tell(0, State.COMPLETED)
    (trial,) = plain(journal).trials
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.3)
    assert trial.intermediate_values == {1: 0.5, 2: 0.4, 3: 0.3, 4: 0.6}


def test_a_taken_up_configuration_keeps_what_was_not_searched(opened: Opener) -> None:
    study = opened()
    study.enqueue(({"lr": 0.1, "weight_decay": 0.01},))
    asked = study.ask()
    assert opened().take_up(0) == asked


def died_between_ask_and_suggest(journal: Path) -> None:
    """A trial that is open but has no hyperparameters yet, made by Optuna itself."""
    Study(SPEC, journal, write=True)
    plain(journal).ask()


def test_what_a_death_left_unsuggested_is_suggested_when_taken_up(journal: Path, opened: Opener) -> None:
    died_between_ask_and_suggest(journal)
    study = opened()
    assert study.unfinished() == [0]
    trial = study.take_up(0)
    assert all(trial.hyperparameters[key] in SEARCH[key] for key in SEARCH)
    assert study.take_up(0) == trial


def test_what_is_suggested_when_taken_up_follows_from_the_seed_too(tmp_path: Path) -> None:
    for name in ("a", "b"):
        died_between_ask_and_suggest(tmp_path / name)
    first, second = (Study(SPEC, tmp_path / name, write=True).take_up(0) for name in ("a", "b"))
    assert first == second


def begins_whole_with(journal: Path, content: bytes) -> bool:
    """Whether `content` still stands there and nothing but whole records after it."""
    found = journal.read_bytes()
    records = [json.loads(line) for line in found.splitlines()]
    return found.startswith(content) and found.endswith(b"\n") and all(isinstance(r, dict) for r in records)


@pytest.fixture
def three_trials(journal: Path, opened: Opener) -> bytes:
    """A journal with three trials of one epoch each; return its content."""
    run(opened(), 3)
    return journal.read_bytes()


def test_half_a_last_line_is_cut_off_and_nothing_before_it_lost(
    journal: Path, opened: Opener, three_trials: bytes
) -> None:
    journal.write_bytes(three_trials + b'{"op_code": 6, "worker_id": "dead-0123", "trial_')
    study = opened()
    assert begins_whole_with(journal, three_trials)
    assert [trial.state for trial in study.trials()] == [State.COMPLETED] * 3
    run(study, 1)
    assert len(plain(journal).trials) == 4


@pytest.mark.parametrize("cut", [1, 2, 10, 40])
def test_a_last_line_that_is_torn_anywhere_costs_only_itself(
    journal: Path, opened: Opener, three_trials: bytes, cut: int
) -> None:
    lines = three_trials.splitlines(keepends=True)
    journal.write_bytes(three_trials[:-cut])
    study = opened()
    assert begins_whole_with(journal, b"".join(lines[:-1]))
    assert [trial.state for trial in study.trials()] == [State.COMPLETED, State.COMPLETED, State.RUNNING]
    assert study.values()[2] == {1: study.values()[2][1]}


def test_half_a_line_longer_than_a_block_is_cut_off_whole(
    journal: Path, opened: Opener, three_trials: bytes
) -> None:
    journal.write_bytes(three_trials + b'{"x": "' + b"x" * 200_000)
    assert len(opened().trials()) == 3
    assert begins_whole_with(journal, three_trials)


@pytest.mark.parametrize("content", [b"", b'{"op_code": 0, "work'])
def test_a_journal_without_a_whole_line_is_a_fresh_one(journal: Path, opened: Opener, content: bytes) -> None:
    journal.write_bytes(content)
    assert opened().ask().number == 0
    assert len(plain(journal).trials) == 1


def test_a_whole_journal_loses_nothing(journal: Path, opened: Opener, three_trials: bytes) -> None:
    assert len(opened().trials()) == 3
    assert begins_whole_with(journal, three_trials)


def test_a_left_over_lock_is_removed(journal: Path, opened: Opener, three_trials: bytes) -> None:
    """Made by Optuna's own lock. Without the removal each writing call waits 30 s for it."""
    assert three_trials
    JournalFileSymlinkLock(str(journal)).acquire()
    assert Path(f"{journal}.lock").is_symlink()
    study = opened()
    run(study, 1)
    assert not Path(f"{journal}.lock").is_symlink()


def test_a_reader_writes_nothing(journal: Path, three_trials: bytes) -> None:
    torn = three_trials + b'{"op_code": 6, "wor'
    journal.write_bytes(torn)
    JournalFileSymlinkLock(str(journal)).acquire()
    study = Study(SPEC, journal, write=False)
    assert len(study.trials()) == 3
    assert journal.read_bytes() == torn
    assert Path(f"{journal}.lock").is_symlink()


def test_a_journal_that_cannot_be_read_is_named(journal: Path, opened: Opener, three_trials: bytes) -> None:
    lines = three_trials.splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], b"not json\n", *lines[1:]]))
    with pytest.raises(SweepError, match=r"study\.journal cannot be read"):
        opened()


def test_a_study_that_is_opened_again_knows_which_trials_run(tmp_path: Path) -> None:
    study = Study(SPEC, tmp_path / "study.journal", write=True)
    study.ask_many(3)
    study.tell(1, State.FAILED, "it broke")
    assert Study(SPEC, tmp_path / "study.journal", write=True)._history.window() == [0, 2]


def test_a_record_that_is_cut_short_is_the_last_one_and_costs_nothing_before_it(
    journal: Path, opened: Opener, three_trials: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = opened()
    with monkeypatch.context() as moment:

        def press_ctrl_c(place: str) -> None:
            if place == "half-a-journal-line":
                raise KeyboardInterrupt

        moment.setattr("tuning.study.journal.faults.place", press_ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            study.facts.add_seconds(1.0)
    with pytest.raises(OSError, match="cut short"):
        study.facts.add_seconds(1.0)
    assert journal.read_bytes().startswith(three_trials)
    assert len(opened().trials()) == 3
