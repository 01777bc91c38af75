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


class Interrupt:
    """Holds SIGINT while it is entered; outside the main thread it does nothing.

    Args:
        on_first: called at the first Ctrl-C, from the signal handler.
        on_more: called at each further one.
    """

    def __init__(self, on_first: Callable[[], None], on_more: Callable[[], None] = lambda: None) -> None:
        self._on_first, self._on_more = on_first, on_more
        self._asked = False
        self._may_raise = False
        self._before: signal.Handlers | Callable[..., object] | int | None = None

    @property
    def asked(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._asked

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within, a second Ctrl-C raises KeyboardInterrupt; elsewhere, while saving, it is not heard."""
        self._may_raise = True
        try:
            yield
        finally:
            self._may_raise = False

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
        if not self._asked:
            self._asked = True
            self._on_first()
            return
        self._on_more()
        if self._may_raise:
            _raise()
