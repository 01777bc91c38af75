"""What a death leaves of a cohort's resume state, and what its next worker finds."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.engine.trials import CPU, settings
from tuning import attempts, paths, storage
from tuning.engine import cohort
from tuning.records import Cohort, Member, TrialSpec
from tuning.schedule import saving
from tuning.schedule.saving import Saver, resume_states
from tuning.schedule.work import Work

SPEC, SPLITS = settings("net", epochs=9, id="1-2-3")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    folder = str(tmp_path)
    return Work(
        spec=SPEC,
        folder=folder,
        attempt=attempts.begin(folder),
        versions={},
        fingerprint=SPLITS.fingerprint,
        num_outputs=1,
        data=None,
        gate=None,
        workers=1,
    )


def of(numbers: Sequence[int], turn: int = 0) -> Cohort:
    members = tuple(Member(trial=TrialSpec(number=n, hyperparameters={"lr": 0.01})) for n in numbers)
    return Cohort(id="a", members=members, until=9, turn=turn)


@pytest.fixture
def epochs() -> Any:
    """Epochs of trials 0 to 2, which train on as one asks for the next."""
    return cohort.train(of([0, 1, 2]), SPEC, SPLITS, device=CPU, resume={})


def test_of_two_files_the_one_of_more_epochs_counts_after_a_death_between_them(
    work: Work, epochs: Any
) -> None:
    """Trial 0 ended, what the others have was saved ahead, and then as the cohort's own; there it died."""
    saver = Saver(of([0, 1, 2]), work)
    saver.save(next(epochs), [0, 1, 2], at_once=True)
    saver.save_ahead(next(epochs), [1, 2])
    assert {n: state["epoch"] for n, state in resume_states(of([1, 2]), work).items()} == {1: 2, 2: 2}
    own = paths.resume_file(work.folder, paths.resume_name("a"))
    Saver(of([1, 2]), work).save(next(epochs), [1, 2], at_once=True)
    assert storage.exists(own) and storage.exists(paths.resume_file(work.folder, paths.ahead_name("a")))
    assert {n: state["epoch"] for n, state in resume_states(of([1, 2]), work).items()} == {1: 3, 2: 3}


def test_the_next_worker_removes_what_the_last_one_saved_ahead(work: Work, epochs: Any) -> None:
    Saver(of([0, 1, 2]), work).save_ahead(next(epochs), [1, 2])
    again = attempts.next_turn(work.folder, of([1, 2]))
    Saver(again, work).save(next(epochs), [1, 2], at_once=False)
    assert storage.names(paths.resume_folder(work.folder)) == [paths.resume_name("a")]
    assert {n: state["epoch"] for n, state in resume_states(again, work).items()} == {1: 2, 2: 2}


def test_while_an_end_is_not_told_its_trial_goes_on_from_where_all_were(work: Work, epochs: Any) -> None:
    saver = Saver(of([0, 1, 2]), work)
    saver.save(next(epochs), [0, 1, 2], at_once=True)
    saver.save_ahead(next(epochs), [1, 2])
    found = resume_states(of([0, 1, 2], turn=1), work)
    assert {n: state["epoch"] for n, state in found.items()} == {0: 1, 1: 1, 2: 1}


@pytest.mark.parametrize(
    ("epoch_s", "save_s", "every"),
    [
        (1.1, 0.003, 1),
        (1.1, 0.2, 1),  # a slow storage costs time, but no more epochs
        (0.3, 0.2, 4),  # ... of shorter ones a second's worth
        (0.07, 0.003, 1),
        (0.007, 0.003, 9),  # nine epochs are the first that take twenty times as long as saving
        (10.0, 5.0, 3),  # where saving takes seconds, no more than a fifth of the time is given to it
        (30.0, 5.0, 1),
    ],
)
def test_every_epoch_of_a_second_is_saved_and_of_shorter_ones_as_many_as_cost_little(
    epoch_s: float, save_s: float, every: int, work: Work, epochs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock_s, trained, saved = 0.0, 0, list[int]()

    def write(path: str, content: Any, *_: Any) -> None:
        nonlocal clock_s
        clock_s += save_s
        saved.append(trained)

    monkeypatch.setattr(saving.time, "monotonic", lambda: clock_s)
    monkeypatch.setattr(saving.resume_state, "save", write)
    saver, epoch = Saver(of([0, 1, 2]), work), next(epochs)
    for _ in range(40):
        clock_s, trained = clock_s + epoch_s, trained + 1
        saver.save(epoch, [0, 1, 2], at_once=False)
    assert saved[0] == 1
    assert {later - earlier for earlier, later in itertools.pairwise(saved)} == {every}
