"""The first task of every worker of a sweep: to measure cohort sizes, all at the same time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Probe:
    """What is to be measured, and who wants to know."""

    sizes: Sequence[int]
    on_measured: Callable[[list[str]], None]
    """Given what the workers found, a JSON object each, before the first cohort is asked for; nothing of
    a worker that died over it."""


class Probing:
    """Hands the probe to each worker once, and holds them until cohorts wait for them.

    Args:
        workers: that shall measure.
        on_release: lets the workers go on that have measured.
    """

    def __init__(self, probe: Probe, workers: int, on_release: Callable[[], object]) -> None:
        self.is_done = False
        self._probe = probe
        self._left = workers
        self._on_release = on_release
        self._is_released = False
        self.running: set[str] = set()
        """Tune's trial ids."""
        self._found: dict[str, str] = {}
        """What was measured, by Tune's trial id: Tune tells the last result twice."""

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        if not self._left:
            return None
        self._left -= 1
        self.running.add(trial_id)
        return {"sizes": list(self._probe.sizes)}

    def has(self, trial_id: str) -> bool:
        """Whether a Tune trial is a worker that measures."""
        return trial_id in self.running

    def measured(self, trial_id: str, found: str | None) -> None:
        if found is not None:
            self._found[trial_id] = found
        self._settle()

    def ended(self, trial_id: str) -> None:
        """Note that a worker has measured, or died over it.

        One that has waited for the others in vain ends with what it found: they may come late, or never.
        Then nobody measures any more: Tune would hand this worker what was meant for those, again and again.
        """
        self.running.discard(trial_id)
        self._settle()
        if trial_id in self._found:
            self._say()
            self.release()

    def release(self) -> None:
        if not self._is_released:
            self._is_released = True
            self._on_release()

    def _settle(self) -> None:
        """Once every worker has measured or died over it, say what was found."""
        if not self._left and self.running <= self._found.keys():
            self._say()

    def _say(self) -> None:
        if not self.is_done:
            self.is_done = True
            self._probe.on_measured(list(self._found.values()))
