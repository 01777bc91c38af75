"""Ctrl-C: the first lets running epochs end and be saved, the second ends training at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Holds SIGINT while it is entered; outside the main thread it does nothing."""

    def __init__(self, on_first: Callable[[], None]) -> None:
        self._on_first = on_first
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
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if not self._asked:
            self._asked = True
            self._on_first()
        elif self._may_raise:
            raise KeyboardInterrupt
