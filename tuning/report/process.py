"""A report that is written by a process of its own, beside what else the end of a sweep has to do.

It is no thread: drawing it, and importing what draws it, is Python from first to last.
"""

import contextlib
import logging
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tuning.ledger import Sweep

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def written_beside(sweep: Sweep) -> Iterator[Callable[[], Path | None]]:
    """Within, the report of a sweep is being written into its folder.

    Yields what waits for it and returns the file; None where that failed, for which no sweep does. The log
    says why. Who leaves without having waited, as on Ctrl-C, gets no report.
    """
    process: subprocess.Popen[bytes] | None = None
    with contextlib.suppress(OSError):  # of a full disk, or of a machine that takes no process more
        process = _start(sweep)

    def written() -> Path | None:
        if process is not None and process.wait() == 0:
            return sweep.paths.report
        logger.error("no report was made; `%s` makes it", sweep.paths.command("report"))
        return None

    try:
        yield written
    finally:
        if process is not None:
            process.kill()
            process.wait()


def _start(sweep: Sweep) -> "subprocess.Popen[bytes]":
    """Start it in a session of its own: Ctrl-C reaches the driver alone. -P: no module of the folder."""
    here = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryFile() as plain:  # no pipe: nobody waits until it is read
        pickle.dump(sweep, plain)
        plain.seek(0)
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "tuning.report.process"],
            stdin=plain,
            stdout=2,  # the sweep's log
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )


def main() -> None:
    from tuning.report import write

    write.write(pickle.load(sys.stdin.buffer))


if __name__ == "__main__":
    main()
