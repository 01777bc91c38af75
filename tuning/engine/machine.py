"""What the bits of a training depend on beside its program: kind of processor, threads.

The same program rounds otherwise on another kind of CPU or GPU, or where another number of threads shares a
sum; on the same kind, with the same versions, it repeats to the last bit (on a GPU as far as its kernels do).
https://docs.pytorch.org/docs/stable/notes/randomness.html
"""

import contextlib
import functools
import platform
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
