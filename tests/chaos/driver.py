"""A sweep in a process of its own that stops at a named place, and the processes around it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import sweeps
from tuning import faults, ledger

TRIALS, EPOCHS = 6, 3
PATIENCE_S = 150.0

SPEC = {
    "model": "net",
    "name": "chaos",
    "trials": TRIALS,
    "epochs": EPOCHS,
    "batch_size": 20,
    "search": {"lr": {"low": 0.01, "high": 0.3, "log": True}, "momentum": {"low": 0.0, "high": 0.9}},
    "early_stopping": {"kind": "none"},
    "resources": {"cpus": 1, "gpus": 0},
    "max_concurrent": 1,  # so that a sweep repeats
}

VICTIMS = {
    "worker": "ray::",
    "raylet": "raylet/raylet ",
    "gcs": "gcs_server",
    "writer": "tuning.tracking.writer",
}
"""What stands in the command line of a process."""


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

    def kill(self, victim: str) -> None:
        """Kill the driver, or every process below it of a kind, and see that they are gone."""
        found = [self.process.pid] if victim == "driver" else list(self._below(VICTIMS[victim]))
        assert found, f"there is no {victim} to kill"
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        end_s = time.monotonic() + 10
        while any(_is_alive(pid) for pid in found):
            assert time.monotonic() < end_s, f"{victim} outlives SIGKILL"
            time.sleep(0.01)
        (self.stops / "go").touch()

    def _below(self, text: str) -> Iterator[int]:
        below = {self.process.pid}
        for pid, (parent, command) in sorted(_processes().items()):
            if parent in below:
                below.add(pid)
                if text in command:
                    yield pid

    def end(self) -> int:
        """Wait for the end of the driver, and return its exit code."""
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.stop()

    def stop(self) -> None:
        """Leave no process behind, whatever has happened."""
        group = [pid for pid, (_, command) in _processes().items() if _of_session(pid, self.process.pid)]
        for pid in group:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()

    def output(self) -> str:
        return (self.stops / "output").read_text()


def _processes() -> dict[int, tuple[int, str]]:
    """Return parent and command line of every process."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            found[int(folder.name)] = (int(stat[1]), command)
    return found


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _of_session(pid: int, leader: int) -> bool:
    try:
        return os.getsid(pid) == leader
    except ProcessLookupError:
        return False


@contextmanager
def started(
    folder: Path, *options: str, place: str | None = None, count: int = 1, **keys: Any
) -> Iterator[Driver]:
    """Start `tuning sweep` on `SPEC`, to stop when a process comes to `place` for the `count`th time."""
    home, stops = folder / "home", folder / f"stops-{time.monotonic_ns()}"
    home.mkdir(exist_ok=True)
    stops.mkdir()
    spec = folder / "spec.yaml"
    spec.write_text(json.dumps({**SPEC, **keys}))  # JSON is YAML
    environment = {**os.environ, "TUNING_HOME": str(home)}
    environment.pop("RAY_ADDRESS", None)
    if place is not None:
        assert place in faults.PLACES
        environment[faults.VARIABLE] = f"{place}@{count}:{stops}"
    with open(stops / "output", "w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tuning", "sweep", str(spec), *options],
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


def assert_nothing_is_lost(home: Path, tracking_uri: str | None = None) -> None:
    """Study, MLflow and checkpoints hold each trial once, complete, with each of its epochs once."""
    ledgers = sweeps.read("chaos", home, tracking_uri)
    found = ledger.open_sweep("chaos", str(home))
    sweeps.assert_they_agree(found, ledgers)
    assert found.states == {"completed": TRIALS}
    assert sorted(ledgers.children) == list(range(TRIALS)) == sorted(ledgers.checkpoints)
    assert ledgers.parent.info.status == "FINISHED"
    for number, run in ledgers.children.items():
        for metric in ("train_loss", "val_loss"):
            points = ledgers.client.get_metric_history(run.info.run_id, metric)
            assert sorted(point.step for point in points) == list(range(1, EPOCHS + 1)), (number, metric)
        content, metrics = sweeps.remeasured(ledgers.checkpoints[number])
        assert metrics["val_loss"] == pytest.approx(content["value"], rel=1e-4)
        assert content["value"] == found.trials[number].value
    resume = home / "chaos" / "resume"
    assert not resume.exists() or not list(resume.iterdir()), "a resume file is left"


def values(home: Path) -> list[tuple[dict[str, Any], dict[int, float]]]:
    """Return configuration and metric per epoch of each trial."""
    return [(t.hyperparameters, t.values) for t in ledger.open_sweep("chaos", str(home)).trials]
