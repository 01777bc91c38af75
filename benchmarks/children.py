"""Commands of `tuning` as processes, in a folder of their own; nothing that they start outlives a benchmark.

Ray's processes and the one that writes MLflow leave their parent's group. So this process becomes the
parent of every orphan below it: what is left of a command stands below us, and nowhere else.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.process import FOREIGN, OWN, ROOT, TIMEOUT_S
from benchmarks.trace import BenchmarkError

PR_SET_CHILD_SUBREAPER = 36
PATIENCE_S = 10.0
"""In which a process that is about to end does so."""


@dataclass(frozen=True, slots=True)
class Ended:
    launched_s: float
    seconds: float
    facts: dict[str, Any]
    """What it said with --json; one that failed may have said nothing."""


@dataclass(frozen=True, slots=True)
class Started:
    process: "subprocess.Popen[bytes]"
    launched_s: float
    log: Path

    def end(self, *codes: int) -> Ended:
        """Wait for its end, with one of these exit codes (0).

        Raises:
            BenchmarkError: when it ends with another one or takes too long, with the end of its log.
        """
        try:
            code = self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise BenchmarkError(f"A command took more than {TIMEOUT_S:g} s.") from None
        seconds = time.monotonic() - self.launched_s
        if code not in (codes or (0,)):
            raise BenchmarkError(
                f"A command ended with {code}:\n{self.log.read_text(errors='replace')[-3000:]}"
            )
        said = self.log.with_suffix(".json").read_text()
        return Ended(self.launched_s, seconds, json.loads(said) if said or not code else {})


@dataclass(frozen=True, slots=True)
class Site:
    """A folder that holds a home, and all that commands leave elsewhere as well."""

    folder: Path
    """Of a short name: Ray's sockets lie below it."""
    home_name: str = "home"

    @property
    def home(self) -> Path:
        return self.folder / self.home_name

    @property
    def temporary(self) -> Path:
        """What stands in for /tmp, and holds what Ray writes there."""
        return self.folder / "tmp"

    def start(self, *arguments: str, module: str = "tuning") -> Started:
        """Start `python -m module arguments...`, which speaks JSON."""
        self.temporary.mkdir(exist_ok=True)
        environment = {key: value for key, value in os.environ.items() if key not in (*FOREIGN, "RAY_TMPDIR")}
        environment |= {**OWN, "TUNING_HOME": str(self.home), "TMPDIR": str(self.temporary)}
        log = self.folder / f"{time.monotonic_ns()}.log"
        with open(log.with_suffix(".json"), "wb") as out, open(log, "wb") as err:
            launched_s = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env=environment,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return Started(process, launched_s, log)


@contextlib.contextmanager
def adopted() -> Iterator[None]:
    """Be the parent of all orphans of what is started within; end what is left of it, whatever happens."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise BenchmarkError("Orphans cannot be adopted here: Linux is needed.")
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        end_all()
        signal.signal(signal.SIGTERM, before)


def left() -> list[str]:
    """Return what is still there of commands that have ended, after some seconds; and end it."""
    end_s = time.monotonic() + PATIENCE_S
    while _below() and time.monotonic() < end_s:
        time.sleep(0.05)
    found = [_title(pid) for pid in _below()]
    end_all()
    return found


def end_all() -> None:
    """Kill every process below this one, and wait until all are gone."""
    end_s = time.monotonic() + PATIENCE_S
    while found := _below():
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end_s:
            raise BenchmarkError(f"Processes outlive SIGKILL: {[_title(pid) for pid in found]}.")
        time.sleep(0.05)


def _below() -> list[int]:
    return sorted(descendants(dict(_parents()), os.getpid()))


def descendants(parents: Mapping[int, int], root: int) -> set[int]:
    """Return the processes below one, given each one's parent."""
    found: set[int] = set()
    while more := {pid for pid, parent in parents.items() if parent in found | {root}} - found:
        found |= more
    return found


def _parents() -> Iterator[tuple[int, int]]:
    """Yield each living process and its parent; dead ones that nobody has waited for are not living."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                state, parent, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
                if state not in "ZX":
                    yield int(folder.name), int(parent)


def _title(pid: int) -> str:
    """Return the module that a process runs, or else the name of its program."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return "gone"
    return words[words.index("-m") + 1] if "-m" in words else Path(words[0]).name
