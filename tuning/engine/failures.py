"""What an error in a cohort says: of its members, of the memory, of the process, or of the device."""

from pathlib import Path

import torch

from tuning.errors import first_line, raised_in

NO_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")


class RankDied(RuntimeError):
    """One of the processes that train a trial was killed, perhaps for the memory it took: the trial may
    train in others.
    """


class DeviceLost(RuntimeError):
    """One of the processes that train a trial cannot use its GPU any more."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the host had no memory left.

    On the CPU torch raises a plain RuntimeError, and so do CUDA itself and its libraries.
    """
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)
    )


def may_pass(error: BaseException) -> bool:
    """Whether an error says nothing of the trial, which may train in another process."""
    return is_device_lost(error) or isinstance(error, RankDied)


def is_device_lost(error: BaseException) -> bool:
    """Whether a GPU takes no more work from this process, as after an assertion in one of its kernels."""
    lost = isinstance(error, torch.AcceleratorError | DeviceLost)
    return lost and not is_out_of_memory(error)


def one_by_one(error: Exception) -> str:
    """Return one line: what stands against stacking, and in which line of whose code."""
    reason = first_line(error, type(error).__name__).partition(". ")[0].rstrip(".")
    at = raised_in(error)
    where = f" at {Path(at.filename).name}:{at.lineno}, `{at.line}`" if at else ""
    return f"trials train one by one, they cannot be stacked: {reason}{where}"
