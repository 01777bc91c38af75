"""Processes as the kernel tells of them: who they are, and that they are gone."""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    parent: int
    session: int
    command: str


def processes() -> dict[int, Process]:
    """Return every living process by its number."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, parent, _, session, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if state != "Z":
                found[int(folder.name)] = Process(int(parent), int(session), command)
    return found


def below(root: int) -> dict[int, Process]:
    """Return a process's children, and theirs."""
    there = processes()
    found: dict[int, Process] = {}
    fresh = {root}
    while fresh:
        fresh = {pid for pid, one in there.items() if one.parent in fresh}
        found |= {pid: there[pid] for pid in fresh}
    return found


def kill(pids: Iterable[int]) -> None:
    """Kill processes, and see that they are gone."""
    pids = set(pids)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until_gone(pids)


def wait_until_gone(pids: Iterable[int], patience_s: float = 10.0) -> None:
    pids = set(pids)
    end_s = time.monotonic() + patience_s
    while alive := pids & processes().keys():
        assert time.monotonic() < end_s, f"{alive} live on"
        time.sleep(0.01)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Within, a process stands still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
