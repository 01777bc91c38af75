"""Says what a sweep waits for while no node has room for its workers, or for some of them."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import ray
from ray import tune

from tuning.schedule import autoscaler
from tuning.spec import Resources

PATIENCE_S = 10.0
"""The start of a worker's process is not worth a word."""

INTERVAL_S = 2.0


class Awaiting(tune.Callback):
    """Looks, between two steps of Tune, whether workers were asked for that do not run.

    Args:
        size: what one worker needs.
        phase: shown to the user until something else goes on.
        say: said to the user for good.
    """

    def __init__(self, size: Resources, phase: Callable[[str], None], say: Callable[[str], None]) -> None:
        self._size, self._phase, self._say_once = size, phase, say
        self._since_s: dict[str, float] = {}
        """Since when some workers are waited for, and since when none runs."""
        self._next_s = 0.0
        self._said = ""
        self._has_told = False

    def __getstate__(self) -> dict[str, Any]:
        return {}  # as the searcher's

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + INTERVAL_S
        states = [trial.status for trial in trials]
        pending, running = states.count("PENDING"), states.count("RUNNING")
        kind = "some" if running else "all"
        self._since_s = {kind: self._since_s.get(kind, now_s)} if pending else {}
        if pending and now_s - self._since_s[kind] > PATIENCE_S and _has_no_place():
            self._tell(pending, running)

    def _tell(self, pending: int, running: int) -> None:
        needs = f"cpus={self._size.cpus:g}, gpus={self._size.gpus or 0:g}"
        status = autoscaler.status()
        if not running:
            coming = status or "none is coming (others may use them)"
            text = f"waiting for nodes: {pending} workers of {needs} are asked for; {coming}"
            if text != self._said:
                self._said = text
                self._phase(text)
        elif "failed: " in status and not self._has_told:  # while others train, only what needs somebody
            self._has_told = True
            self._say_once(
                f"workers that train: {running}; {pending} more of {needs} wait for nodes: {status}"
            )


def _has_no_place() -> bool:
    """Whether resources that were asked for are not reserved yet: a worker's process may just be starting."""
    with contextlib.suppress(Exception):  # a word to the user only
        return any(group["state"] == "PENDING" for group in ray.util.placement_group_table().values())
    return False
