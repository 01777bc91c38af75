"""Where a trial trained, epoch by epoch: in which stack, and at which slot of it."""

from pathlib import Path

import pytest

from tuning import notation
from tuning.engine.replay import Stretch, stretches
from tuning.records import EpochReport, Place
from tuning.schedule.messages import Message
from tuning.study import Study


@pytest.mark.parametrize(
    ("stacks", "until", "expected"),
    [
        ([[1, 0, 1]], 3, [Stretch(1, 3, 0, 1)]),
        (
            [[1, 2, 4], [2, 0, 2], [4, 0, 1]],
            9,
            [Stretch(1, 1, 2, 4), Stretch(2, 3, 0, 2), Stretch(4, 9, 0, 1)],
        ),
        ([[1, 2, 4], [2, 0, 2]], 1, [Stretch(1, 1, 2, 4)]),
        # after a death: from the last epoch that was saved in halves, or from the start
        ([[1, 3, 4], [3, 1, 2]], 5, [Stretch(1, 2, 3, 4), Stretch(3, 5, 1, 2)]),
        ([[1, 3, 4], [4, 0, 4], [1, 1, 2]], 5, [Stretch(1, 5, 1, 2)]),
    ],
)
def test_the_record_tells_in_which_stack_each_epoch_was_trained(
    stacks: list[list[int]], until: int, expected: list[Stretch]
) -> None:
    assert stretches(stacks, until) == expected


@pytest.mark.parametrize("stacks", [[], [[2, 0, 1]], [[1, 4, 4]]])
def test_a_record_that_does_not_tell_is_refused(stacks: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="do not tell where it trained"):
        stretches(stacks, 3)


def place(stacks: list[list[int]], *reports: EpochReport, cohort: str = "c") -> list[Place]:
    """Return what a worker's message tells of where trials train."""
    worker = {"host": "here", "pid": 1, "gpus": "", "sent_at": 1.0}
    message = Message(
        worker=worker, cohort=cohort, reports=reports, stacks=stacks, machine="Abacus", threads=2
    )
    return list(message.places())


def trained(trial: int, epoch: int, seconds: float = 1.0) -> EpochReport:
    return EpochReport(trial=trial, epoch=epoch, metrics={"val_loss": 1.0}, seconds=seconds)


def test_epochs_of_an_attempt_that_died_are_not_counted_to_the_one_that_reports_them() -> None:
    (found,) = place([[3, 5]], trained(5, 1, seconds=0), trained(5, 2, seconds=0), trained(5, 3))
    assert (found.epoch, found.slot, found.width, found.machine, found.threads) == (3, 1, 2, "Abacus", 2)
    assert place([], trained(5, 1, seconds=0)) == [], "nothing was trained here"


def test_a_cohort_that_runs_again_without_some_of_its_members_is_another_stack(unfinished: Path) -> None:
    found = notation.load(unfinished / "demo" / "spec.yaml")
    opened = Study(found, unfinished / "demo" / "study.journal", write=True)
    for stacks, epoch in (([[0, 1, 2]], 1), ([[0, 1, 2]], 2), ([[1, 2]], 3), ([[1, 2]], 4), ([[1, 2]], 1)):
        opened.places.keep(place(stacks, trained(1, epoch)))
    opened.places.keep(place([], trained(1, 5), cohort="d"))
    record = opened.trials()[1]
    assert record.stacks == [[1, 1, 3], [3, 0, 2], [1, 0, 2], [5, 0, 1]]
    assert record.machines == [[1, "Abacus", 2]]
