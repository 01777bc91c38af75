"""One command as a process of its own, timed from outside."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.trace import BenchmarkError

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 3600.0
FOREIGN = ("MLFLOW_TRACKING_URI", "TUNING_HOME", "OMP_NUM_THREADS")
"""Settings of the caller that would change what is measured."""

OWN = {
    "PYTHONPATH": str(ROOT),
    "RAY_ADDRESS": "local",  # a script that leaves it open would join a cluster that runs on this machine
    "RAY_USAGE_STATS_ENABLED": "0",
}


@dataclass(frozen=True, slots=True)
class Timed:
    launched_s: float
    exited_s: float
    output: str
    """Standard output."""


def run(module: str, arguments: Sequence[str], log: Path) -> Timed:
    """Run `python -m module arguments...`; standard error goes to `log`.

    Raises:
        BenchmarkError: when it fails or takes too long, with the end of its log.
    """
    environment = {key: value for key, value in os.environ.items() if key not in FOREIGN}
    environment |= OWN
    output = log.with_suffix(".out")
    with open(output, "w", encoding="utf-8") as out, open(log, "w", encoding="utf-8") as err:
        launched_s = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            code = process.wait(TIMEOUT_S)
        except BaseException as error:  # Ctrl-C too: nothing goes on running unseen
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise BenchmarkError(f"{module} took more than {TIMEOUT_S:g} s.") from None
            raise
        exited_s = time.monotonic()
    if code:
        raise BenchmarkError(f"{module} ended with {code}:\n{log.read_text(errors='replace')[-3000:]}")
    return Timed(launched_s, exited_s, output.read_text(encoding="utf-8", errors="replace"))
