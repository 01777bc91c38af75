"""A user's own files on a machine that is not the driver's: a copy stands for them there.

The copy comes as a package by Ray's runtime environment (`schedule.shipping`), and two variables tell what it
is a copy of; child processes of a worker inherit all three.
"""

import importlib.util
import os
from pathlib import Path

PACKAGE = "tuning_shipped_files"
FOLDER = "TUNING_SHIPPED_FOLDER"
"""Where on the driver's machine the files lie."""
CURRENT = "TUNING_DRIVER_FOLDER"
"""The driver's current folder."""

FILES = "files"
"""The copy's folder in the package: Ray knows a package by its content alone, and would otherwise take this
one for a job's working directory of the same files."""


def _copy() -> Path | None:
    found = importlib.util.find_spec(PACKAGE) if FOLDER in os.environ else None
    return Path(next(iter(found.submodule_search_locations or ()))) / FILES if found is not None else None


def on_this_machine(path: Path) -> Path:
    """Return where a file of the driver's machine is to be read: in the copy, if it has come with one."""
    copy = _copy()
    if copy is None or not path.is_relative_to(os.environ[FOLDER]):
        return path
    return copy / path.relative_to(os.environ[FOLDER])


def enter() -> None:
    """Go where in the copy the driver is, so that relative paths mean what they meant there."""
    here = on_this_machine(Path(os.environ.get(CURRENT, Path.cwd())))
    if here.is_dir():
        os.chdir(here)
