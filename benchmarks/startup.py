"""From the command to the first epoch report, itemised, in a fresh home each time."""

import json
import tempfile
from pathlib import Path

from benchmarks import process
from benchmarks.trace import BenchmarkError

TITLE = "From the command to the first epoch report"
COMMAND = ("sweep", "net", "--trials", "4", "--json")
CLOCK_STARTS = "interpreter up, command line read"
FIRST_REPORT = "first report"
PROCESS_ENDS = "command ended"
BOUND_S = 12.0

Milestones = dict[str, float]
"""Seconds since the command was started, by milestone."""


def run_once() -> Milestones:
    """Run the command once.

    Raises:
        BenchmarkError: when it fails, or does not say when its first report came.
    """
    with tempfile.TemporaryDirectory(prefix="bench-startup-") as folder:
        scratch = Path(folder)
        note = scratch / "clock"
        arguments = [str(note), *COMMAND, "--home", str(scratch / "home")]
        timed = process.run("benchmarks.launch", arguments, scratch / "errors.log")
        facts = json.loads(timed.output)
        if facts["total"] != 4 or sum(facts["states"].values()) != 4:
            raise BenchmarkError(f"4 trials must have ended, but there are {facts['states']}.")
        clock_s = float(note.read_text(encoding="utf-8")) - timed.launched_s
    milestones = {name: clock_s + seconds for name, seconds in facts["startup_s"].items()}
    if FIRST_REPORT not in milestones:
        raise BenchmarkError(f"`startup_s` must hold {FIRST_REPORT!r}, but holds {list(milestones)}.")
    return {CLOCK_STARTS: clock_s, **milestones, PROCESS_ENDS: timed.exited_s - timed.launched_s}
