"""All of the kill matrix, in two processes side by side: each case waits much for processes to come up.

The last line says of which commit how many cases passed, and how long that took.
"""

import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as xml
from pathlib import Path
from typing import TextIO

PARTS = 2

PYTEST = [sys.executable, "-m", "pytest", "-m", "chaos or not chaos", "--timeout", "900"]


def cases() -> list[str]:
    found = subprocess.run(
        [*PYTEST, "tests/chaos", "--collect-only"], stdout=subprocess.PIPE, text=True, check=True
    )
    return [line for line in found.stdout.splitlines() if "::" in line]


def relay(lines: TextIO) -> None:
    """Print what a part says line by line: a case's name stands beside its own result."""
    for line in lines:
        print(line, end="", flush=True)


def run(parts: list[list[str]], folder: Path) -> tuple[int, bool]:
    """Run the parts, each in a process of its own; return how many cases passed, and whether none failed."""
    running, relays = [], []
    for index, part in enumerate(parts):
        options = [f"--basetemp={folder}/{index}", f"--junitxml={folder}/{index}.xml"]
        options += ["-vv", "-p", "no:cacheprovider"]  # a line per case; no file that both would write
        process = subprocess.Popen([*PYTEST, *options, *part], stdout=subprocess.PIPE, text=True)
        relays.append(threading.Thread(target=relay, args=[process.stdout]))
        relays[-1].start()
        running.append(process)
    for thread in relays:
        thread.join()
    is_green = all([process.wait() == 0 for process in running])
    results = [
        case for index in range(len(parts)) for case in xml.parse(folder / f"{index}.xml").iter("testcase")
    ]
    not_passed = {"failure", "error", "skipped"}
    return sum(not_passed.isdisjoint(child.tag for child in case) for case in results), is_green


def main() -> int:
    start_s = time.monotonic()
    found = cases()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        passed, is_green = run([found[index::PARTS] for index in range(PARTS)], Path(folder))
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], stdout=subprocess.PIPE, text=True)
    minutes = (time.monotonic() - start_s) / 60
    print(f"chaos: {passed} of {len(found)} cases passed in {minutes:.0f} min, at {commit.stdout.strip()}")
    return 0 if is_green else 1


if __name__ == "__main__":
    sys.exit(main())
