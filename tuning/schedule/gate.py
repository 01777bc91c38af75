"""Counts the workers that are up. A file of its own: its process need not import torch."""


class Gate:
    """Actor at which the first cohorts wait until all wanted workers are up.

    Without it a cohort shorter than the start of a worker takes the first worker again and again,
    and the others never come up: Tune hands a free actor the trial whose own has not started.
    """

    def __init__(self) -> None:
        self._ready: set[str] = set()
        self._is_open = False

    def ready(self, worker: str) -> int:
        """Note that a worker is up; return how many are."""
        self._ready.add(worker)
        return len(self._ready)

    def open(self) -> None:
        """Let those go on that wait with what they have measured."""
        self._is_open = True

    def is_open(self) -> bool:
        return self._is_open
