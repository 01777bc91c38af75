"""How far a training in this process is: live on a terminal, else a line now and then."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from tuning.screen import PLAIN_INTERVAL_S, duration


class Progress:
    """Counts steps on standard error.

    Args:
        what: goes on.
        total: of steps.
        unit: what a step is, in the plural.
    """

    def __init__(self, what: str, total: int, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done = 0
        self._start_s = self._said_s = time.monotonic()
        shown = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeRemainingColumn(),
        )
        is_live = sys.stderr.isatty()
        self._bar = Bar(*shown, console=Console(file=sys.stderr), transient=True, disable=not is_live)
        self._is_live = is_live
        self._task = self._bar.add_task(what, total=total)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        self._bar.advance(self._task, steps)
        now_s = time.monotonic()
        if not self._is_live and now_s - self._said_s > PLAIN_INTERVAL_S:
            self._said_s = now_s
            left_s = (now_s - self._start_s) / self._done * (self._total - self._done)
            self.say(f"{self._what}: {self._done}/{self._total} {self._unit}, about {duration(left_s)} left")
