"""Attempts and turns: who may write into a sweep's storage.

Each driver of a sweep begins an attempt, and only the workers of the latest may still write: on a standing
cluster those of a driver that died live on for some seconds. A cohort whose worker is lost has another turn
under the same driver: on a node that is cut off from the cluster the lost one trains on, and may still see
the storage. What they report nobody hears; what they would write, a checkpoint of an epoch that its trial has
left behind, is held back here.
"""

import uuid
from collections.abc import Iterator
from dataclasses import replace

from tuning import paths, storage
from tuning.errors import SweepError
from tuning.records import Cohort


def begin(folder: str) -> str:
    """Note a new attempt in a sweep's storage, by the holder of its claim, and return its name.

    What earlier ones have written aside and not put in place is removed, as are their turns.
    """
    attempt = uuid.uuid4().hex
    storage.write(paths.attempt_file(folder), attempt.encode())
    for path in _left(folder):
        storage.remove(path)
    return attempt


def _left(folder: str) -> Iterator[str]:
    """Yield what is of no use any more, but for what a `tuning stop` may just be writing."""
    for place in (folder, paths.checkpoint_folder(folder), paths.resume_folder(folder)):
        yield from (aside for aside in storage.asides(place) if f"/.{paths.REQUEST}." not in aside)
    yield from (f"{folder}/{name}" for name in storage.names(folder) if name.startswith(paths.TURN))


def next_turn(folder: str, cohort: Cohort) -> Cohort:
    """Return a cohort whose worker is lost as the next one gets it; the lost one may write no more."""
    turn = cohort.turn + 1
    storage.write(paths.turn_file(folder, cohort.id), str(turn).encode())
    return replace(cohort, turn=turn)


def check(folder: str, attempt: str, cohort: Cohort) -> None:
    """Raise where another driver has begun since, or another worker with this cohort.

    Raises:
        SweepError: in a worker that its driver has lost, or whose driver is not the sweep's any more.
    """
    try:
        latest = storage.read(paths.attempt_file(folder)).decode()
    except FileNotFoundError:
        latest = "none: the sweep's storage was removed"
    if latest != attempt:
        raise SweepError(f"This worker's attempt {attempt} at the sweep is over; the latest is {latest}.")
    try:
        turn = int(storage.read(paths.turn_file(folder, cohort.id)))
    except FileNotFoundError:
        turn = 0
    if turn > cohort.turn:  # a network disk may show a newer file to a newer worker late
        raise SweepError(
            f"This worker's turn {cohort.turn} at cohort {cohort.id} is over; the latest is {turn}."
        )
