"""One driver per sweep: an OS lock on the sweep's folder, which the kernel releases at death."""

import contextlib
import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from tuning.errors import RequestError, one_line
from tuning.paths import SweepPaths

DRIVES, CONFIRMS, REPAIRS = "drives it", "confirms its best trials", "repairs it"
"""What the holder of a sweep's lock does."""


@contextmanager
def claim(path: Path, sweep: str, work: str = DRIVES) -> Iterator[str]:
    """Hold the sweep's lock, with host, process and `work` written in it; yield the claim's id.

    Raises:
        RequestError: when another driver is alive on this sweep, or a `doctor` looks at it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _opened(path) as file:
        if not _locked(file):
            raise _looked_at(path, sweep) if _only_looked_at(file) else _driven(path, sweep)
        file.truncate(0)
        name = uuid.uuid4().hex
        holder: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid(), "id": name, "work": work}
        holder["since_s"] = time.time()
        file.write(json.dumps(holder))
        file.flush()
        os.fsync(file.fileno())  # other hosts read it, too
        yield name


@contextmanager
def undriven(path: Path, sweep: str) -> Iterator[None]:
    """Keep drivers away while a sweep is looked at; write nothing.

    Raises:
        RequestError: when a driver is alive on this sweep.
    """
    with contextlib.ExitStack() as held:
        try:
            fcntl.flock(held.enter_context(open(path, encoding="utf-8")), fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _driven(path, sweep) from None
        except OSError:  # there is no file that a driver could hold
            pass
        yield


def _only_looked_at(file: TextIO) -> bool:
    """Whether whoever keeps the lock from us shares it: what the file says is of a holder before."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _looked_at(path: Path, sweep: str) -> RequestError:
    looks = _command(path, sweep, "doctor")
    return RequestError(f"The sweep {sweep!r} is looked at by `{looks}`. Go on when that has ended.")


def _command(path: Path, sweep: str, does: str) -> str:
    """Return a command about the sweep in whose folder the lock lies."""
    return SweepPaths(path.parent.parent, sweep).command(does)


def _driven(path: Path, sweep: str) -> RequestError:
    work = _work(path)
    state, way_out = "taken", "Wait for it, or end that process."
    if work == DRIVES:
        state = "running"
        shows, stops = _command(path, sweep, "status"), _command(path, sweep, "stop")
        way_out = f"`{shows} --watch` shows it, `{stops}` or `cancel` ends it."
    return RequestError(f"The sweep {sweep!r} is {state}: {_holder(path)} {work}. {way_out}")


def _opened(path: Path) -> TextIO:
    try:
        return open(path, "a+", encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{path} must be a file that can be written, but: {error.strerror}.") from error


def _locked(file: TextIO) -> bool:
    """Try to lock for half a second: a reader that asks whether there is a driver locks for a moment."""
    for _ in range(10):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def claimant(path: Path) -> str | None:
    """Return who drives the sweep; None if no driver is alive, also while the lock serves other work."""
    try:
        with open(path, encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except BlockingIOError:
        return _holder(path) if _work(path) == DRIVES else None
    except OSError:  # there is none, or no file that a driver could hold
        return None


def claim_id(path: Path) -> str | None:
    """Return the id of the claim that is held, which no other one has; None if none is held, or has one."""
    return None if claimant(path) is None else _content(path).get("id")


def claimed_at_s(path: Path) -> float | None:
    """Return since when a driver that is alive drives the sweep, by its wall clock; None if none is."""
    since_s = None if claimant(path) is None else _content(path).get("since_s")
    return since_s if isinstance(since_s, float) else None


def _holder(path: Path) -> str:
    try:
        holder = _content(path)
        return one_line(f"process {holder['pid']} on host {holder['host']}")
    except KeyError:
        return "another process"


def _work(path: Path) -> str:
    found = _content(path).get("work")
    return found if found in (CONFIRMS, REPAIRS) else DRIVES  # a driver of an earlier version says nothing


def _content(path: Path) -> dict[str, Any]:
    """Return what the holder has written, nothing where that cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
