"""Tensors that a training step frees serve the next step, without the kernel clearing new pages."""

import subprocess
import sys

FAULTS = """
import resource
import torch
from tuning.engine import memory

if {is_kept}:
    memory.keep_freed()
for _ in range(20):  # the heap grows to what it needs
    torch.empty(2**24).fill_(1.0)  # 64 MB, which glibc maps and unmaps
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.empty(2**24).fill_(1.0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(*, is_kept: bool) -> int:
    code = FAULTS.format(is_kept=is_kept)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_memory_that_was_freed_is_not_asked_for_again() -> None:
    assert page_faults(is_kept=True) * 10 < page_faults(is_kept=False)
