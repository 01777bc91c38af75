"""Tests in parts, each a pytest of its own beside the others: most of them wait for processes to come up."""

import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as xml
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
"""Without the files of the cache, which all would write."""


@dataclass(frozen=True, slots=True)
class Outcome:
    counts: Counter[str]
    """How many tests passed, failed, or were skipped."""
    failed: Sequence[str]
    """Names of those that failed."""
    is_green: bool
    """Whether every part came to its end, and nothing failed."""

    def __str__(self) -> str:
        return ", ".join(f"{self.counts[kind]:,} {kind}" for kind in ("passed", "skipped", "failed"))


def run(parts: Sequence[Sequence[str]]) -> Outcome:
    """Run parts side by side, each with its own words for pytest.

    What they say is printed line by line, behind the number of the part and the minutes since the start: a
    test's name stands beside its own result, and where a part stands still is seen.
    """
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tests-") as folder:
        files = [Path(folder) / f"{number}.xml" for number in range(len(parts))]
        running, relays = [], []
        for number, (part, file) in enumerate(zip(parts, files, strict=True), start=1):
            command = [*PYTEST, *part, f"--junitxml={file}"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            relays.append(threading.Thread(target=_relay, args=[process.stdout, number, start_s]))
            relays[-1].start()
            running.append(process)
        for relay in relays:
            relay.join()
        is_green = all([process.wait() == 0 for process in running])
        return _outcome([file for file in files if file.exists()], is_green)


def _relay(lines: TextIO, number: int, start_s: float) -> None:
    for line in lines:
        minutes = (time.monotonic() - start_s) / 60
        print(f"{number} | {minutes:2.0f} min | {line}" if line.strip() else line, end="", flush=True)


def _outcome(results: Iterable[Path], is_green: bool) -> Outcome:
    counts, failed = Counter[str](), []
    for file in results:
        for case in xml.parse(file).iter("testcase"):
            kinds = {child.tag for child in case}
            kind = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
            counts[kind] += 1
            if kind == "failed":
                failed.append(f"{str(case.get('classname')).replace('.', '/')}.py::{case.get('name')}")
    return Outcome(counts, failed, is_green)
