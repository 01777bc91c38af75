"""A driver seen from outside while its sweep runs: open files, memory and threads over ended trials."""

import contextlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import median

from benchmarks.children import Started
from benchmarks.trace import BenchmarkError

INTERVAL_S = 0.1
WINDOW = 5
"""Samples of which the median counts: a file that is just being written is no leak."""

SET_STATE, ENDED = 6, (1, 2, 3)
"""In Optuna's journal: the operation that sets a trial's state, and its states COMPLETE, PRUNED, FAIL."""


@dataclass(frozen=True, slots=True)
class Sample:
    seconds: float
    """Since the start of the process."""
    ended: float
    files: float
    kb: float
    threads: float


class Journal:
    """Counts the ended trials of a study as its journal grows: each look reads what is new."""

    def __init__(self, path: Path) -> None:
        self._path, self._read, self._ended = path, 0, 0

    def ended(self) -> int:
        with contextlib.suppress(FileNotFoundError), open(self._path, "rb") as file:
            file.seek(self._read)
            new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read += len(whole)
            self._ended += sum(_ends_a_trial(line) for line in whole.splitlines())
        return self._ended


def _ends_a_trial(line: bytes) -> bool:
    record = json.loads(line)
    return record["op_code"] == SET_STATE and record["state"] in ENDED


def watch(command: Started, journal: Path) -> list[Sample]:
    """Look at a command again and again until it has ended."""
    found, study = [], Journal(journal)
    proc = Path(f"/proc/{command.process.pid}")
    while command.process.poll() is None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            kb = int((proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e3
            files, threads = len(os.listdir(proc / "fd")), len(os.listdir(proc / "task"))
            seconds = time.monotonic() - command.launched_s
            found.append(Sample(seconds, study.ended(), files, kb, threads))
        time.sleep(INTERVAL_S)
    return found


def at_share(samples: Sequence[Sample], total: int, share: float) -> Sample:
    """Return how the driver was when it had come to a share of its trials.

    Only while trials ran: the first ones bring their imports, and after the last one files are closed.

    Raises:
        BenchmarkError: when no trials ended while it was looked at.
    """
    running = [sample for sample in samples if 0 < sample.ended < total]
    if not running:
        raise BenchmarkError(f"{total} trials end too soon to be watched: ask for more.")
    before = sum(sample.ended < share * total for sample in running)
    window = running[max(0, min(before, len(running) - WINDOW)) :][:WINDOW]
    return Sample(*map(median, zip(*map(astuple, window), strict=True)))


def kb_per_trial(early: Sample, late: Sample) -> float:
    """Return the growth of memory per trial between two looks.

    Raises:
        BenchmarkError: when no trial ended between them.
    """
    if late.ended <= early.ended:
        raise BenchmarkError(f"No trial ended between {early} and {late}: ask for more trials.")
    return (late.kb - early.kb) / (late.ended - early.ended)
