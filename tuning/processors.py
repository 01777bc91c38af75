"""How many processors this process has; knows no library, for Ray starts while torch is imported."""

import contextlib
import math
import os
import time
from pathlib import Path


def local_cpus() -> int:
    """CPUs this process may use: the affinity mask, or a container's quota if that is less."""
    allowed = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
        allowed = min(allowed, max(1, int(quota) // int(period)))
    return allowed


def idle_cpus() -> int:
    """Return how many of them nobody uses at the moment, at least one.

    The threads of a kernel wait for each other without a pause: where one has to share its processor, all are
    hundreds of times slower.
    """
    used_s, all_s = (after - before for before, after in zip(*_processor_seconds(), strict=True))
    idle = (os.cpu_count() or 1) * (1 - used_s / all_s) if all_s else local_cpus()
    return max(1, min(local_cpus(), math.floor(idle + 0.25)))


def _processor_seconds(within_s: float = 0.2) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return what all processors were used for and what there was of them, before and after a moment."""

    def read() -> tuple[int, int]:
        with contextlib.suppress(OSError, ValueError):  # not on Linux
            line = Path("/proc/stat").read_text(encoding="utf-8").partition("\n")[0]
            user, nice, system, idle, waiting, *others = map(int, line.split()[1:9])
            used = user + nice + system + sum(others)
            return used, used + idle + waiting
        return 0, 0

    before = read()
    time.sleep(within_s)
    return before, read()
