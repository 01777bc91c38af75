"""All of the kill matrix, in two processes side by side: each case waits much for processes to come up.

The last line says of which commit how many cases passed, and how long that took.
"""

import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml
from pathlib import Path

from tests import parts

PARTS = 2

WORDS = ["-m", "chaos or not chaos", "--timeout", "900"]


def cases() -> list[str]:
    command = [*parts.PYTEST, *WORDS, "tests/chaos", "--collect-only"]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [line for line in found.stdout.splitlines() if "::" in line]


def run(found: list[str], folder: Path) -> tuple[int, bool]:
    """Run the cases in parts; return how many passed, and whether none failed."""
    results = [folder / f"{index}.xml" for index in range(PARTS)]
    options = [
        [*WORDS, f"--basetemp={folder}/{index}", f"--junitxml={file}", "-vv", *found[index::PARTS]]
        for index, file in enumerate(results)
    ]
    is_green = parts.run(options)
    ran = [case for file in results for case in xml.parse(file).iter("testcase")]
    not_passed = {"failure", "error", "skipped"}
    return sum(not_passed.isdisjoint(child.tag for child in case) for case in ran), is_green


def main() -> int:
    start_s = time.monotonic()
    found = cases()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        passed, is_green = run(found, Path(folder))
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], stdout=subprocess.PIPE, text=True)
    minutes = (time.monotonic() - start_s) / 60
    print(f"chaos: {passed} of {len(found)} cases passed in {minutes:.0f} min, at {commit.stdout.strip()}")
    return 0 if is_green else 1


if __name__ == "__main__":
    sys.exit(main())
