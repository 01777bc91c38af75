"""Ctrl-C: the first lets running epochs end and be saved, the second ends training at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_held = 0
_waits = False


@contextmanager
def held_back() -> Iterator[None]:
    """Within, no Ctrl-C cuts anything short: it is heard at the end."""
    global _held, _waits
    _held += 1
    try:
        yield
    finally:
        _held -= 1
    if not _held and _waits:
        _waits = False
        raise KeyboardInterrupt


def _raise() -> None:
    """Raise KeyboardInterrupt, at once or when what must not be cut short has ended."""
    global _waits
    if _held:
        _waits = True
    else:
        raise KeyboardInterrupt


@contextmanager
def within(seconds: float | None, late: Exception) -> Iterator[None]:
    """Raise `late` where the block takes longer; no limit if None, nor outside the main thread.

    As Ctrl-C, it is heard between two steps of Python: not in the middle of one of torch's.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise late

    before = signal.signal(signal.SIGALRM, ring)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, before)


class Interrupt:
    """Holds SIGINT while it is entered; outside the main thread it does nothing.

    Args:
        on_first: called at the first Ctrl-C, from the signal handler.
        on_more: called at each further one.
    """

    def __init__(self, on_first: Callable[[], None], on_more: Callable[[], None] = lambda: None) -> None:
        self._on_first, self._on_more = on_first, on_more
        self._presses = 0
        self._raises_from: int | None = None
        self._before: signal.Handlers | Callable[..., object] | int | None = None

    @property
    def asked(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._presses > 0

    @contextmanager
    def at_once(self, press: int = 2) -> Iterator[None]:
        """Within, the `press`th Ctrl-C raises KeyboardInterrupt, at once if it has come before.

        Elsewhere, while saving, none does.
        """
        self._raises_from = press
        try:
            if self._presses >= press:
                raise KeyboardInterrupt
            yield
        finally:
            self._raises_from = None

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        global _waits
        _waits = False  # what was held back to the end of an error is not for whoever comes next
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self._presses += 1
        if self._presses == 1:
            self._on_first()
        else:
            self._on_more()
        if self._raises_from is not None and self._presses >= self._raises_from:
            _raise()
