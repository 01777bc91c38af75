"""`make test`: the suite in two parts side by side, which take about as long as each other.

Words go to pytest: `python -m tests -x`.
"""

import sys
import time
from pathlib import Path

from tests import parts

FOLDER = Path(__file__).parent

SECOND = ("schedule", "study", "tracking", "trust")
"""Folders of the second part, to which the files beside all folders belong, too."""


def main() -> int:
    folders = sorted({file.relative_to(FOLDER).parts[0] for file in FOLDER.glob("*/**/test_*.py")})
    first = [name for name in folders if name not in SECOND]
    second = [*SECOND, *sorted(file.name for file in FOLDER.glob("test_*.py"))]
    words = sys.argv[1:]
    print(
        "Two parts side by side, half an hour to an hour. Behind its number and the minutes each prints a "
        "line or two for a file of tests once it is done, which may take minutes: a dot for a test that has "
        "passed, s for one that is skipped, with the reason at the end, F for one that has failed. What is "
        "deselected only `make chaos` runs."
    )
    start_s = time.monotonic()
    found = parts.run(
        [
            ["-v", "--no-header", "-rs", *words, *(str(FOLDER / name) for name in part)]
            for part in (first, second)
        ]
    )
    for name in found.failed:
        print(f"failed: {name}")
    print(f"tests: {found} in {(time.monotonic() - start_s) / 60:.0f} min")
    return 0 if found.is_green else 1


if __name__ == "__main__":
    sys.exit(main())
