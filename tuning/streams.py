"""Where this process prints while a sweep runs: into its log, so that the screen is left to the progress."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO


@contextlib.contextmanager
def everything_to(log: Path) -> Iterator[TextIO]:
    """Send all that this process and its libraries print to `log`; yield the screen.

    Libraries in C++ write to the descriptors, notebooks and tests replace the Python streams: both
    are turned.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {number: os.dup(number) for number in (1, 2)}
    screen = sys.stderr
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(io.BufferedWriter(_Forgiving(log, "a")))
        file = io.TextIOWrapper(raw, encoding="utf-8", errors="replace", line_buffering=True)
        with contextlib.suppress(OSError, ValueError):
            if screen.fileno() == 2:
                screen = stack.enter_context(os.fdopen(os.dup(2), "w", buffering=1, errors="replace"))
        for number in saved:
            os.dup2(file.fileno(), number)
        try:
            with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                yield screen
        finally:
            file.flush()
            for number, descriptor in saved.items():
                os.dup2(descriptor, number)
                os.close(descriptor)


class _Forgiving(io.FileIO):
    """A file that drops what it cannot write: on a full disk no library's print shall end the sweep."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes
