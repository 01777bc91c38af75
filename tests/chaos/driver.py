"""A sweep in a process of its own that stops at a named place, and the processes around it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos import processes
from tuning import faults

TRIALS, EPOCHS, BATCHES = 6, 3, 4
DIVERGES, DIVERGES_AT = 0, 2
"""A trial that ends by itself while the others of its cohort go on, and its last epoch."""

COMMAND, BARE = "tuning", "tests.chaos.bare"
"""Modules: `tuning`, and the same without what the end of a sweep makes for its reader."""

PATIENCE_S = 150.0

SPEC = {
    "model": "net",
    "name": "chaos",
    "trials": TRIALS,
    "epochs": EPOCHS,
    "batch_size": 20,
    "search": {"lr": {"low": 0.01, "high": 0.3, "log": True}, "momentum": {"low": 0.0, "high": 0.9}},
    "try": [{"lr": 0.1, "momentum": 0.0, "weight_decay": 50.0}],  # it diverges in its second epoch
    "early_stopping": {"kind": "none"},
    "resources": {"cpus": 1, "gpus": 0},
    "max_concurrent": 1,  # so that a sweep repeats
}

COMMANDS = {
    "worker": "ray::",
    "raylet": "raylet/raylet ",
    "gcs": "gcs_server",
    "writer": "tuning.tracking.writer",
}
"""What stands in the command line of a process below the driver."""

BESIDE = ("ray::Gate", "ray::Dashboard", "ray::RuntimeEnv", "ray::IDLE")
"""Processes of Ray that train nothing."""


@dataclass
class Driver:
    process: "subprocess.Popen[str]"
    home: Path
    stops: Path
    """Where the process that came to the armed place has left its number."""

    def wait_until(self, place: str) -> int:
        """Wait until a process has come to the place; return its number."""
        file = self.stops / place
        end_s = time.monotonic() + PATIENCE_S
        while not (file.exists() and file.read_text()):
            assert self.process.poll() is None, f"ended before {place}: {self.output()}"
            assert time.monotonic() < end_s, f"nobody came to {place}"
            time.sleep(0.02)
        return int(file.read_text())

    def find(self, victim: str) -> list[int]:
        """Return the driver itself, or the processes below it of a kind."""
        if victim == "driver":
            return [self.process.pid]
        text = COMMANDS[victim]
        found = [pid for pid, one in processes.below(self.process.pid).items() if text in one.command]
        if victim == "worker":
            there = processes.processes()
            found = [pid for pid in found if not there[pid].command.startswith(BESIDE)]
        return found

    def wait_for(self, victim: str) -> list[int]:
        """Return the processes of a kind once there are any: a writer comes up beside the driver."""
        end_s = time.monotonic() + PATIENCE_S
        while not (found := self.find(victim)):
            assert self.process.poll() is None and time.monotonic() < end_s, f"there is no {victim}"
            time.sleep(0.05)
        return found

    def go(self) -> None:
        """Let go whoever waits at the armed place."""
        (self.stops / "go").touch()

    def end(self, patience_s: float = PATIENCE_S) -> int:
        """Wait for the end of the driver, and return its exit code."""
        try:
            return self.process.wait(patience_s)
        finally:
            self.stop()

    def stop(self) -> None:
        """Leave no process behind, whatever has happened."""
        leader = self.process.pid
        processes.kill(
            {pid for pid, one in processes.processes().items() if one.session == leader}
            | processes.below(leader).keys()
        )
        self.process.wait()

    def output(self) -> str:
        return (self.stops / "output").read_text()


def armed(place: str | None, count: int, stops: Path, batch_s: float = 0.0) -> dict[str, str]:
    """Return the environment of processes that stop when one comes to `place` for the `count`th time.

    Args:
        batch_s: how long each batch takes, until all go on.
    """
    environment = {**os.environ}
    environment.pop("RAY_ADDRESS", None)
    if place is not None:
        assert place in faults.PLACES
        environment[faults.VARIABLE] = f"{place}@{count}:{stops}"
        environment[faults.DELAY] = f"mid-epoch:{batch_s}"
    return environment


@contextmanager
def started(
    folder: Path,
    *options: str,
    place: str | None = None,
    count: int = 1,
    batch_s: float = 0.0,
    module: str = BARE,
    **keys: Any,
) -> Iterator[Driver]:
    """Start `tuning sweep` on `SPEC`, to stop when a process comes to `place` for the `count`th time.

    Args:
        keys: of the spec, over those of `SPEC`.
    """
    home, stops = folder / "home", folder / f"stops-{place}"
    home.mkdir(exist_ok=True)
    stops.mkdir(exist_ok=True)
    spec = folder / "spec.yaml"
    spec.write_text(json.dumps({**SPEC, **keys}))  # JSON is YAML
    environment = {**armed(place, count, stops, batch_s), "TUNING_HOME": str(home)}
    with open(stops / "output", "w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "sweep", str(spec), *options],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        driver = Driver(process, home, stops)
        try:
            yield driver
        finally:
            driver.stop()
