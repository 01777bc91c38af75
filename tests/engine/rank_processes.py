"""Which processes run a rank, of those that the tests' own process has started, or its Ray cluster."""

import os
from pathlib import Path


def running() -> dict[int, int]:
    """Return the parent's process of every rank, by the rank's own."""
    parents, ranks = {}, set()
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, parent = int(file.parent.name), int(file.read_bytes().rpartition(b")")[2].split()[1])
            is_rank = b"spawn_main" in (file.parent / "cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        parents[number] = parent
        if is_rank:
            ranks.add(number)
    return {rank: parents[rank] for rank in ranks if os.getpid() in _ancestors(rank, parents)}


def _ancestors(process: int, parents: dict[int, int]) -> set[int]:
    found: set[int] = set()
    while (process := parents.get(process, 0)) and process not in found:
        found.add(process)
    return found


def own() -> set[int]:
    """Return the ranks whose parent is this process."""
    return {rank for rank, parent in running().items() if parent == os.getpid()}
