"""One driver per sweep: an OS lock on the sweep's folder, which the kernel releases at death."""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tuning.errors import RequestError, one_line


@contextmanager
def claim(path: Path, sweep: str) -> Iterator[None]:
    """Hold the sweep's lock, with host and process written in it.

    Raises:
        RequestError: when another driver is alive on this sweep.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _opened(path) as file:
        if not _locked(file):
            raise _driven(path, sweep)
        file.truncate(0)
        file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
        file.flush()
        yield


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


def _driven(path: Path, sweep: str) -> RequestError:
    return RequestError(
        f"The sweep {sweep!r} is running: {_holder(path)} drives it. Wait for it, or end that process."
    )


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
    """Return who drives the sweep; None if no driver is alive."""
    try:
        with open(path, encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except BlockingIOError:
        return _holder(path)
    except OSError:  # there is none, or no file that a driver could hold
        return None


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return one_line(f"process {holder['pid']} on host {holder['host']}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
