"""The study's file: what a death leaves in it and beside it."""

import os
from pathlib import Path

from tuning.doctor.difference import Difference
from tuning.paths import SweepPaths
from tuning.spec import SweepSpec
from tuning.study import Study


def look(where: SweepPaths) -> list[Difference]:
    found = []
    if os.path.lexists(_lock(where)):  # a link to nowhere
        found.append(Difference(None, f"{_lock(where)} was left by a driver that died"))
    if where.journal.is_file() and not _is_whole(where.journal):
        found.append(Difference(None, f"{where.journal} ends with half a record, as a death leaves it"))
    return found


def mend(spec: SweepSpec, where: SweepPaths) -> None:
    """Have the study do what each driver has it do at its start."""
    if look(where) and where.journal.exists():
        Study(spec, where.journal, write=True)
    _lock(where).unlink(missing_ok=True)


def _lock(where: SweepPaths) -> Path:
    return Path(f"{where.journal}.lock")


def _is_whole(journal: Path) -> bool:
    with open(journal, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(0, end - 1))
        return file.read() in (b"", b"\n")
