"""A cohort's resume state, as its worker saves it each epoch and finds it when it begins."""

import contextlib
import math
import socket
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from tuning import paths, storage
from tuning.engine import cohort, resume_state
from tuning.errors import SweepError
from tuning.records import Cohort
from tuning.schedule.work import Work

SAVING_SHARE = 0.05
"""Share of the time that saving resume state may take: very short epochs are saved several at a time."""

MOST_AGAIN_S = 1.0
"""... but where it takes long, no more than so much of training is unsaved when an epoch begins: a death
costs that, and the running epoch."""

MOST_SHARE = 0.2
"""... unless even this share of the time did not suffice for it."""


@contextlib.contextmanager
def storing(folder: str, what: str = "written") -> Iterator[None]:
    """Tell what is wrong with the storage from what is wrong with a model: no trial fails for it."""
    try:
        yield
    except SweepError:
        raise
    except Exception as error:  # of a disk, or of whatever stands behind a URI
        raise SweepError(
            f"{folder} cannot be {what} on {socket.gethostname()}: {type(error).__name__}: {error}"
        ) from error


class Saver:
    """Saves the members' states after each epoch, unless that would take too much of the time."""

    def __init__(self, task: Cohort, work: Work) -> None:
        self._folder, self._sweep_id = work.folder, work.spec.id
        self._path = paths.resume_file(work.folder, paths.resume_name(task.id))
        self._ahead = paths.resume_file(work.folder, paths.ahead_name(task.id))
        self._check = partial(work.check, task)
        self._is_ahead = task.turn > 0  # an earlier worker may have left such a file
        self._next_s = -math.inf

    def save(self, epoch: cohort.Epoch, numbers: list[int], *, at_once: bool) -> None:
        """Save the states of these members, of which the driver has heard all that came before."""
        start_s = time.monotonic()
        if not (at_once or self._is_ahead or start_s >= self._next_s):
            return
        self._write(self._path, epoch, numbers)
        if self._is_ahead:
            with storing(self._folder):
                storage.remove(self._ahead)
            self._is_ahead = False
        end_s = time.monotonic()
        took_s = end_s - start_s
        self._next_s = end_s + min(took_s / SAVING_SHARE, max(MOST_AGAIN_S, took_s / MOST_SHARE))

    def save_ahead(self, epoch: cohort.Epoch, numbers: list[int]) -> None:
        """Save the states of these members beside the file that has those, too, which have ended.

        The driver has not heard of those ends yet: a death now must not lose what they come from.
        """
        self._write(self._ahead, epoch, numbers)
        self._is_ahead = True

    def _write(self, path: str, epoch: cohort.Epoch, numbers: list[int]) -> None:
        with storing(self._folder):
            resume_state.save(path, epoch.to_plain(numbers), self._sweep_id, self._check)


def resume_states(task: Cohort, work: Work) -> dict[int, dict[str, Any]]:
    """Return the members' states: the cohort's own file if this is a retry, else where they came from.

    A file that is lost or torn costs the epochs in it, not the trial: it is trained again.

    Raises:
        SweepError: when the storage cannot be read.
    """
    own = _read(task, work, {paths.resume_name(task.id)})
    ahead = _read(task, work, {paths.ahead_name(task.id)})
    is_whole = ahead.keys() == set(task.numbers)  # all others' ends are told
    if is_whole and _epoch(ahead) >= _epoch(own):  # else a death came before it was removed
        return ahead
    return own or _read(task, work, {member.resume for member in task.members})


def _epoch(states: dict[int, dict[str, Any]]) -> int:
    return max((state["epoch"] for state in states.values()), default=0)


def _read(task: Cohort, work: Work, names: set[str | None]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for name in sorted(filter(None, names)):
        with storing(work.folder, "read"):
            file = paths.resume_file(work.folder, name)
            found |= resume_state.load_if_sound(file, task.numbers, work.spec)
    return found
