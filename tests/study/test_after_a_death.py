"""What a study holds after its driver died, wherever its journal was cut."""

import json
from pathlib import Path

import pytest
from optuna.storages.journal import JournalFileSymlinkLock
from optuna.trial import TrialState

from tests.study.studies import SEARCH, SPEC, Opener, plain, run, train
from tuning.errors import SweepError
from tuning.records import State
from tuning.study import Study


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


def test_a_record_for_which_there_was_no_room_is_the_last_one(
    journal: Path, opened: Opener, three_trials: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = opened()
    before = journal.read_bytes()
    with monkeypatch.context() as disk:

        def full(lock: JournalFileSymlinkLock) -> bool:
            raise OSError(28, "No space left on device")

        disk.setattr(JournalFileSymlinkLock, "acquire", full)
        with pytest.raises(OSError, match="No space left"):
            study.facts.add_seconds(1.0)
    with pytest.raises(OSError, match="No space left"):
        study.facts.add_seconds(1.0)
    assert journal.read_bytes() == before, "what comes later would build on what was lost"
