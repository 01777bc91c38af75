"""Places in the code at which a test stops a process, to kill it or another one at that moment.

`TUNING_FAULT=NAME@COUNT:FOLDER` arms one of them: the first process that comes to it for the COUNTth time
leaves its number in FOLDER/NAME and waits until there is a FOLDER/go. `TUNING_FAULT_DELAY=NAME:SECONDS`
makes every process wait so long whenever it comes to a place, until there is a FOLDER/go: what is too short
to be hit is stretched.
Unarmed, a place costs two comparisons.
"""

import os
import time
from pathlib import Path

VARIABLE, DELAY = "TUNING_FAULT", "TUNING_FAULT_DELAY"

PLACES = (
    "before-first-report",
    "mid-epoch",
    "replace-resume",
    "replace-checkpoints",
    "journal-locked",
    "half-a-journal-line",
    "between-study-and-mlflow",
    "mlflow-flush",
    "before-end",
)

PATIENCE_S = 120.0
"""A process that nobody kills or sends on goes on by itself."""


def _armed() -> tuple[str, int, Path]:
    name, _, rest = os.environ.get(VARIABLE, "").partition("@")
    count, _, folder = rest.partition(":")
    return name, int(count) if count.isdecimal() else 0, Path(folder)


_NAME, _COUNT, _FOLDER = _armed()
_SLOW, _, _SECONDS = os.environ.get(DELAY, "").partition(":")
_passed = 0


def place(name: str) -> None:
    """Stop here, if a test has said so."""
    if name == _NAME:
        _stop()
    if name == _SLOW:
        _wait_for(_FOLDER / "go", float(_SECONDS))


def _wait_for(file: Path, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while not file.exists() and time.monotonic() < end_s:
        time.sleep(0.01)


def _stop() -> None:
    global _passed
    _passed += 1
    if _passed != _COUNT:
        return
    try:
        with open(_FOLDER / _NAME, "x", encoding="utf-8") as file:
            file.write(str(os.getpid()))
    except FileExistsError:  # another process was here before
        return
    _wait_for(_FOLDER / "go", PATIENCE_S)
