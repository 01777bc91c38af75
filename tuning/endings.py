"""Ending a sweep early from elsewhere: what `tuning stop` and `tuning cancel` ask of its driver, by a file.

A file works where a signal does not: on whatever host the driver runs that shares the home. It names the
claim that it is meant for: what a driver that died has left unread never ends a later one.
"""

import contextlib
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path

from tuning import storage
from tuning.claim import claim_id, claimant
from tuning.errors import SweepError
from tuning.paths import SweepPaths

INTERVAL_S = 1.0
"""How often the driver looks."""

PATIENCE_S = 60.0
"""How long whoever asks waits to be heard: a driver listens from when Ray is up."""


class Ending(StrEnum):
    """How a sweep ends before its total; of several the first one here counts."""

    INTERRUPTED = "interrupted"
    """By Ctrl-C: running epochs end and are saved."""
    CANCELLED = "cancelled"
    """The same, by `tuning cancel`."""
    STOPPED = "stopped"
    """By `tuning stop`: trials that have begun train to their end, no other begins."""

    @property
    def is_at_once(self) -> bool:
        """Whether trials were to end where they stood."""
        return self is not Ending.STOPPED


class Answer(StrEnum):
    """What has become of a request."""

    HEARD = "heard"
    ENDED = "ended"
    """The driver has ended without it."""
    PENDING = "pending"
    """The driver is alive and has not looked yet."""


def ask(where: SweepPaths, ending: Ending, patience_s: float = PATIENCE_S) -> Answer:
    """Ask the living driver of a sweep to end it, and wait until it has heard.

    Raises:
        SweepError: when it cannot be asked.
    """
    driver = claim_id(where.claim)
    if driver is None and claimant(where.claim) is None:
        return Answer.ENDED
    if driver is None:
        raise SweepError(
            f"The driver of {where.name!r} must be of this version to be asked; press Ctrl-C where it runs."
        )
    try:
        if _asked(where.request, driver) is not Ending.CANCELLED:  # which a stop does not take back
            storage.write(str(where.request), json.dumps({"driver": driver, "ending": ending}).encode())
    except OSError as error:
        raise SweepError(f"The driver cannot be asked: {where.request}: {error.strerror}.") from error
    end_s = time.monotonic() + patience_s
    while _is_there(where.request):
        if claim_id(where.claim) != driver:
            where.request.unlink(missing_ok=True)
            return Answer.ENDED
        if time.monotonic() > end_s:
            return Answer.PENDING
        time.sleep(0.1)
    return Answer.HEARD


@contextlib.contextmanager
def listening(request: Path, driver: str, told: Callable[[Ending], None]) -> Iterator[None]:
    """Within, hear what is asked of this driver.

    Args:
        driver: the id of its claim.
        told: called from another thread.
    """
    over = threading.Event()

    def listen() -> None:
        while True:
            with contextlib.suppress(OSError):  # of a shared disk that is away for a while
                ending = _taken(request, driver)
                if ending is not None:
                    told(ending)
            if over.wait(INTERVAL_S):
                return

    thread = threading.Thread(target=listen, name="endings", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _taken(request: Path, driver: str) -> Ending | None:
    """Take a request away; return what it asks for, None if there is none for this driver."""
    if not _is_there(request):
        return None
    aside = request.with_name(f".{request.name}.{uuid.uuid4().hex[:8]}")
    os.replace(request, aside)  # one that comes from now on is another
    try:
        return _asked(aside, driver)
    finally:
        aside.unlink(missing_ok=True)


def _asked(file: Path, driver: str) -> Ending | None:
    """Return what a request asks of a driver; None if there is none for it."""
    try:
        found = json.loads(file.read_bytes())
        return Ending(found["ending"]) if found["driver"] == driver else None
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError):  # no request of this program
        return None


def _is_there(file: Path) -> bool:
    """Whether a file exists: NFS answers that from memory for up to a minute, unless its folder is opened."""
    return file.name in os.listdir(file.parent)
