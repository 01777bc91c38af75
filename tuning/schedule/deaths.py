"""Deaths of workers: that Tune takes every kind for one, and what Ray knows of it in one line."""

import functools
import re
from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError

MAX_REASON = 300
"""Characters of what Ray says of a death: it goes on to guess."""


@functools.cache
def tell_tune() -> None:
    """Let Tune take whatever Ray raises for a worker's death as one, in this process from now on.

    For one that Ray's memory monitor kills while it trains Ray raises an error that is no `RayActorError`,
    and Tune ends the experiment. As of Ray 2.60.
    """
    handle = RayActorManager._actor_task_failed

    def failed(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=str(exception))
        handle(manager, tracked_actor_task, exception)

    RayActorManager._actor_task_failed = failed  # type: ignore[method-assign, assignment]


def reason(error: str) -> str:
    """Return what stands of use in Ray's account of a worker's death, as one line."""
    last = error.rpartition("Failure # ")[2]
    if memory := re.search(r"node running low on memory.* was (.+? limit)", last):
        return f"Ray killed it, as the node had little memory left: {memory[1]}"
    if detail := last.partition("Worker exit detail: ")[2]:
        said = detail.partition(" Some common causes")[0].strip(". \n")[:MAX_REASON]
        if "exits with a connection error" in said:
            return f"it was killed, as the kernel does where memory is short, or crashed (Ray: {said})"
        return said
    lines = [line.strip() for line in last.splitlines() if line.strip()]
    known = [line for line in lines if line.startswith("The actor died because")] or lines[-1:]
    return "".join(known)[:MAX_REASON]
