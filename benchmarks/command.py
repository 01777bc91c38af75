"""One command from its start to its end, itemised, in a fresh home each time."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import process
from benchmarks.trace import BenchmarkError

CLOCK_STARTS = "interpreter up, command line read"
FIRST_REPORT = "first report"
PROCESS_ENDS = "command ended"

Milestones = dict[str, float]
"""Seconds since the command was started, by milestone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A sweep whose seconds are counted, up to a milestone that shall come in time."""

    title: str
    arguments: tuple[str, ...]
    trials: int
    until: str
    bound_s: float


COMMANDS = {
    "startup": Command(
        title="From the command to the first epoch report",
        arguments=("sweep", "net", "--trials", "4", "--json"),
        trials=4,
        until=FIRST_REPORT,
        bound_s=12.0,
    ),
    "main_job": Command(
        title="The main job: what `make sweep` runs once it is installed",
        arguments=("sweep", "cnn", "--json"),
        trials=32,
        until=PROCESS_ENDS,
        bound_s=180.0,
    ),
}


def run_once(command: Command) -> Milestones:
    """Run the command once.

    Raises:
        BenchmarkError: when it fails, or does not say when its first report came.
    """
    with tempfile.TemporaryDirectory(prefix="bench-startup-") as folder:
        scratch = Path(folder)
        note = scratch / "clock"
        arguments = [str(note), *command.arguments, "--home", str(scratch / "home")]
        timed = process.run("benchmarks.launch", arguments, scratch / "errors.log")
        facts = json.loads(timed.output)
        if facts["total"] != command.trials or sum(facts["states"].values()) != command.trials:
            raise BenchmarkError(f"{command.trials} trials must have ended, but there are {facts['states']}.")
        clock_s = float(note.read_text(encoding="utf-8")) - timed.launched_s
    milestones = {name: clock_s + seconds for name, seconds in facts["startup_s"].items()}
    if FIRST_REPORT not in milestones:
        raise BenchmarkError(f"`startup_s` must hold {FIRST_REPORT!r}, but holds {list(milestones)}.")
    return {CLOCK_STARTS: clock_s, **milestones, PROCESS_ENDS: timed.exited_s - timed.launched_s}
