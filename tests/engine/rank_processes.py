"""Which processes of this machine run a rank."""

import os
from pathlib import Path


def running() -> dict[int, int]:
    """Return the parent's process of every rank, by the rank's own."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(file.read_text().rpartition(")")[2].split()[1])
            command = (file.parent / "cmdline").read_text()
        except OSError:  # it has just ended
            continue
        if "spawn_main" in command:
            found[int(file.parent.name)] = parent
    return found


def own() -> set[int]:
    """Return the ranks of this process."""
    return {rank for rank, parent in running().items() if parent == os.getpid()}
