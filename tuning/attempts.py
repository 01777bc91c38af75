"""Attempts: each driver of a sweep begins one, and only the workers of the latest may still write.

On a standing cluster the workers of a driver that died live on for some seconds, or longer on a node that
the cluster has lost. What they report nobody hears; what they would write into the sweep's storage, a
checkpoint of an epoch that its trial has left behind, is held back here.
"""

import uuid

from tuning import paths, storage
from tuning.errors import SweepError


def begin(folder: str) -> str:
    """Note a new attempt in a sweep's storage, by the holder of its claim, and return its name.

    What earlier ones have written aside and not put in place is removed.
    """
    attempt = uuid.uuid4().hex
    storage.write(paths.attempt_file(folder), attempt.encode())
    clear(folder)
    return attempt


def clear(folder: str) -> None:
    """Remove what a death has left half written, but for what others may just be writing."""
    beside = tuple(f"/.{name}" for name in paths.BESIDE)
    for place in (folder, paths.checkpoint_folder(folder), paths.resume_folder(folder)):
        for aside in storage.asides(place):
            if not aside.removeprefix(place).startswith(beside):
                storage.remove(aside)


def check(folder: str, attempt: str) -> None:
    """Raise where another driver has begun since.

    Raises:
        SweepError: in a worker whose driver is not the sweep's driver any more.
    """
    try:
        latest = storage.read(paths.attempt_file(folder)).decode()
    except FileNotFoundError:
        latest = "none: the sweep's storage was removed"
    if latest != attempt:
        raise SweepError(f"This worker's attempt {attempt} at the sweep is over; the latest is {latest}.")
