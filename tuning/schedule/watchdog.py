"""The end of a worker that hangs: its process is left, and where it hung is told."""

import contextlib
import faulthandler
import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

GRACE_S = 10.0
"""A process whose interpreter itself hangs, in C code that holds its lock, is left so much later."""


class Watchdog:
    """Ends this process when it has worked on one thing for `timeout_s`.

    Args:
        tell: is given the stack of the thread that made the watchdog, before the process ends.
    """

    def __init__(self, timeout_s: float, tell: Callable[[str], None]) -> None:
        self._timeout_s, self._tell = timeout_s, tell
        self._watched = threading.get_ident()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self.feed()
        self._thread.start()

    def feed(self) -> None:
        """Note a sign of life: the time begins anew."""
        self._fed_s = time.monotonic()
        faulthandler.dump_traceback_later(self._timeout_s + GRACE_S, exit=True, file=sys.__stderr__ or 2)

    def rest(self) -> None:
        """Watch nothing until it is fed again: what is waited for now is no trial's fault."""
        self._fed_s = math.inf
        faulthandler.cancel_dump_traceback_later()

    def close(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while (left_s := self._fed_s + self._timeout_s - time.monotonic()) > 0:
            if self._ended.wait(min(left_s, self._timeout_s)):
                return
        frame = sys._current_frames().get(self._watched)
        try:
            self._tell("".join(traceback.format_stack(frame)))
        finally:
            os._exit(1)  # not sys.exit: that would wait for the thread that hangs


@contextlib.contextmanager
def watched(timeout_s: float | None, tell: Callable[[str], None]) -> Iterator[Watchdog | None]:
    """Watch what is done within. `timeout_s` None: watch nothing, and yield None."""
    if timeout_s is None:
        yield None
        return
    watchdog = Watchdog(timeout_s, tell)
    try:
        yield watchdog
    finally:
        watchdog.close()


def each(items: Iterator[Item], watchdog: Watchdog | None) -> Iterator[Item]:
    """Yield items: how long one takes to come is watched, not what is done with it."""
    while True:
        if watchdog is not None:
            watchdog.feed()
        try:
            item = next(items)
        except StopIteration:
            return
        if watchdog is not None:
            watchdog.rest()
        yield item


def fed(items: Iterable[Item], watchdog: Watchdog | None) -> Iterator[Item]:
    """Yield items, each a sign of life: it is what is done with them that is watched."""
    for item in items:
        if watchdog is not None:
            watchdog.feed()
        yield item
