"""Which trials at the same epoch form the next cohort."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tuning.packing import pack
from tuning.records import Member, TrialSpec

repeatable = settings(derandomize=True, deadline=None)

sizes = st.integers(1, 6)


def member(number: int, epoch: int) -> Member:
    return Member(trial=TrialSpec(number=number, hyperparameters={}), epoch=epoch, resume=None)


waiting_rooms = st.lists(st.sampled_from([0, 1, 3, 9]), max_size=20).map(
    lambda epochs: [member(number, epoch) for number, epoch in enumerate(epochs)]
)


def numbers(members: tuple[Member, ...]) -> list[int]:
    return [one.trial.number for one in members]


@repeatable
@given(waiting=waiting_rooms, size=sizes, more_fresh=st.booleans())
def test_cohort_is_of_one_epoch_and_no_larger_than_asked(
    waiting: list[Member], size: int, more_fresh: bool
) -> None:
    packed = pack(waiting, size, more_fresh=more_fresh)
    assert len(packed) <= size
    assert len({one.epoch for one in packed}) <= 1
    assert all(one in waiting for one in packed)


@repeatable
@given(waiting=waiting_rooms, size=sizes)
def test_packing_until_nothing_waits_takes_every_trial_once(waiting: list[Member], size: int) -> None:
    left, taken = list(waiting), []
    while packed := pack(left, size, more_fresh=False):
        left = [one for one in left if one not in packed]
        taken += numbers(packed)
    assert left == []
    assert sorted(taken) == [one.trial.number for one in waiting]


@repeatable
@given(waiting=waiting_rooms, size=sizes)
def test_nothing_waits_for_company_once_no_fresh_trial_can_come(waiting: list[Member], size: int) -> None:
    packed = pack(waiting, size, more_fresh=False)
    furthest = [one for one in waiting if one.epoch == max(w.epoch for w in waiting)]
    assert numbers(packed) == numbers(tuple(furthest[:size]))


@repeatable
@given(waiting=waiting_rooms, size=sizes)
def test_while_fresh_trials_can_come_only_full_cohorts_leave(waiting: list[Member], size: int) -> None:
    packed = pack(waiting, size, more_fresh=True)
    full = [e for e in {w.epoch for w in waiting} if sum(w.epoch == e for w in waiting) >= size]
    assert len(packed) == (size if full else 0)
    assert {one.epoch for one in packed} == ({max(full)} if full else set())


def test_those_that_waited_longest_go_first() -> None:
    waiting = [member(7, 1), member(2, 1), member(5, 1)]
    assert numbers(pack(waiting, 2, more_fresh=True)) == [7, 2]


def test_a_full_group_goes_before_a_further_one_that_is_not_full() -> None:
    waiting = [member(0, 3), member(1, 1), member(2, 1)]
    assert numbers(pack(waiting, 2, more_fresh=True)) == [1, 2]


def test_a_cohort_of_one_never_waits() -> None:
    assert numbers(pack([member(0, 1), member(1, 3)], 1, more_fresh=True)) == [1]
