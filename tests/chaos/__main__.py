"""All of the kill matrix, in two processes side by side: each case waits much for processes to come up.

The last line says of which commit how many cases passed, and how long that took.
"""

import subprocess
import sys
import tempfile
import time

from tests import parts

PARTS = 2

WORDS = ["-m", "chaos or not chaos", "--timeout", "900"]


def cases() -> list[str]:
    command = [*parts.PYTEST, *WORDS, "tests/chaos", "--collect-only"]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [line for line in found.stdout.splitlines() if "::" in line]


def main() -> int:
    start_s = time.monotonic()
    found = cases()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        options = [
            [*WORDS, f"--basetemp={folder}/{index}", "-vv", *found[index::PARTS]] for index in range(PARTS)
        ]
        ran = parts.run(options)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], stdout=subprocess.PIPE, text=True)
    minutes = (time.monotonic() - start_s) / 60
    passed = f"{ran.counts['passed']} of {len(found)} cases passed"
    print(f"chaos: {passed} in {minutes:.0f} min, at {commit.stdout.strip()}")
    return 0 if ran.is_green else 1


if __name__ == "__main__":
    sys.exit(main())
