"""What the bits of a training depend on beside its program: kind of processor, threads, denormal numbers.

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
def as_in_a_worker(threads: int) -> Iterator[None]:
    """Within, kernels of this thread share their work among so many, and round as those of workers do.

    Threads that have shared its work before keep to what denormals are to them.
    """
    threads_before, flushed_before = torch.get_num_threads(), _flushes_denormals()
    torch.set_num_threads(threads)
    flush_denormals()
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        torch.set_flush_denormal(flushed_before)


def flush_denormals() -> None:
    """Let this thread, and those it starts, take denormal numbers (of float32: below 1.2e-38) for zero.

    A CPU does them in microcode: a trial whose gradients vanish, in a saturated LSTM say, trains several
    times as long, to the same metrics. https://docs.pytorch.org/docs/stable/generated/torch.set_flush_denormal
    """
    torch.set_flush_denormal(True)  # False where a processor cannot: then it is slow, and right


def _flushes_denormals() -> bool:
    return float(torch.tensor(1e-40, dtype=torch.float32, device="cpu") * 1) == 0
