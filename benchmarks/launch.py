"""The command `tuning ...`, with the time noted at which its own clock starts.

`python -m benchmarks.launch FILE sweep net ...` does what the installed script does; FILE then holds
CLOCK_MONOTONIC at the zero of the command's `startup_s`.
"""

import sys
import time
from pathlib import Path

from tuning import cli, run


def main(note: str, *arguments: str) -> int:
    path = Path(note)

    class NotedClock(run.Clock):
        def __init__(self) -> None:
            super().__init__()
            if not path.exists():
                path.write_text(repr(time.monotonic()), encoding="utf-8")

    run.Clock = NotedClock  # type: ignore[misc]
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
