"""Tests in parts, each a pytest of its own beside the others: most of them wait for processes to come up."""

import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import TextIO

PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
"""Without the files of the cache, which all would write."""


def run(parts: Sequence[Sequence[str]]) -> bool:
    """Run parts side by side, each with its own words for pytest; return whether none failed.

    What they say is printed line by line: a test's name stands beside its own result.
    """
    running, relays = [], []
    for part in parts:
        process = subprocess.Popen([*PYTEST, *part], stdout=subprocess.PIPE, text=True)
        relays.append(threading.Thread(target=_relay, args=[process.stdout]))
        relays[-1].start()
        running.append(process)
    for relay in relays:
        relay.join()
    return all([process.wait() == 0 for process in running])


def _relay(lines: TextIO) -> None:
    for line in lines:
        print(line, end="", flush=True)
