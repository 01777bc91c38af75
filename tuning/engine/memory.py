"""What the C library does with memory that tensors have freed."""

import contextlib
import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""As in malloc.h of glibc."""


def keep_freed() -> None:
    """Let this process keep the memory that it frees, for its next tensors.

    glibc maps each block above 32 MB anew and gives it back when it is freed; the kernel then clears its
    pages at every step. A stack of K models has such blocks (a weight of 300 x 300 at K = 128), and its
    step takes a third longer. See mallopt(3). Without glibc: nothing.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_TRIM_THRESHOLD, -1)
        mallopt(M_MMAP_MAX, 0)
