"""What the bits of a training depend on beside its program: kind of processor, threads.

The same program rounds otherwise on another kind of CPU or GPU, or where another number of threads shares a
sum; on the same kind, with the same versions, it repeats to the last bit (on a GPU as far as its kernels do).
https://docs.pytorch.org/docs/stable/notes/randomness.html
"""

import contextlib
import functools
import math
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import torch


@functools.cache
def kind(device: torch.device) -> str:
    """Return the name of a device's model, as people know it."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{_cpu_model()} ({torch.backends.cpu.get_cpu_capability()})"


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Within, kernels of this process share their work among so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def idle_threads() -> int:
    """Return how many threads find a processor of their own: at most torch's own choice, at least one.

    The threads of a kernel wait for each other without a pause: where one has to share its processor, all are
    hundreds of times slower.
    """
    used_s, all_s = (after - before for before, after in zip(*_processor_seconds(), strict=True))
    idle = (os.cpu_count() or 1) * (1 - used_s / all_s) if all_s else torch.get_num_threads()
    return max(1, min(torch.get_num_threads(), math.floor(idle + 0.25)))


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
