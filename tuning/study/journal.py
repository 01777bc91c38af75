"""The file behind a study: Optuna's journal, written by the one driver that holds the sweep's claim.

It is opened by absolute path: Optuna's lock spins for ever under a relative one.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend, JournalFileSymlinkLock

from tuning import faults
from tuning.errors import SweepError
from tuning.spec import SweepSpec


class BatchingBackend(BaseJournalBackend):
    """A journal file that, within `batch`, takes in records and writes them together at the end.

    Each append to the file costs a lock, an open and an fsync: a millisecond, for which twenty records can
    be taken in. A record that is held back is seen by the study at once. Nobody else writes: what was
    once read or written is not read again.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, _Lock(str(path))
        self._file = JournalFileBackend(str(path), self._lock)
        self._failure: OSError | None = None
        self._recent: list[dict[str, Any]] = []
        """Records that the study has not read yet, at most."""
        self._first: int | None = None
        """Number of the first of them; None before the file was read."""
        self._held: list[dict[str, Any]] = []
        self._depth = 0

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Hold records back until the outermost `batch` ends, whatever ends it."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth and self._held:
                held, self._held = self._held, []
                self._append(held)

    def _append(self, logs: list[dict[str, Any]]) -> None:
        """Append as `JournalFileBackend` does, in two halves: between them a test may kill the driver.

        Raises:
            OSError: when it fails, and ever after: what comes later builds on what was lost, and would
                weld itself to half a line.
        """
        if self._failure is not None:
            raise self._failure
        content = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        try:
            self._lock.acquire()
        except OSError as error:  # as where there is no room for it
            self._failure = error
            raise
        try:
            with open(self._path, "ab") as file:
                file.write(content[: len(content) // 2])
                file.flush()
                faults.place("half-a-journal-line")
                file.write(content[len(content) // 2 :])
                file.flush()
                os.fsync(file.fileno())
        except BaseException as error:
            self._failure = error if isinstance(error, OSError) else OSError(f"cut short by {error!r}")
            raise
        finally:
            self._lock.release()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with self.batch():
            self._held += logs
            self._recent += logs

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        if self._first is None:
            self._recent = [*self._file.read_logs(log_number_from), *self._recent]
            self._first = log_number_from
        del self._recent[: log_number_from - self._first]
        self._first = log_number_from
        yield from list(self._recent)


class _Lock(JournalFileSymlinkLock):
    def acquire(self) -> bool:
        acquired = super().acquire()
        faults.place("journal-locked")
        return acquired


def open_storage(path: Path, *, write: bool) -> tuple[optuna.storages.JournalStorage, BaseJournalBackend]:
    """Open the journal; `write` is for the claim's holder.

    Raises:
        SweepError: when it cannot be read.
    """
    assert path.is_absolute()
    if write:
        _mend(path)
    backend = BatchingBackend(path) if write else JournalFileBackend(str(path))
    try:
        return optuna.storages.JournalStorage(backend), backend
    except Exception as error:  # Optuna replays whatever records it finds
        raise SweepError(f"The study {path} cannot be read: {type(error).__name__}: {error}") from error


def refuse_anothers(storage: optuna.storages.BaseStorage, spec: SweepSpec, journal: Path) -> None:
    """Refuse a journal that holds the study of another sweep: trials of two searches would mix.

    Raises:
        SweepError: also for one without an id, as earlier versions made, with what this sweep never searched.
    """
    studies = {study.study_name: study for study in storage.get_all_studies()}
    if not studies:
        return
    own = studies.get(str(spec.name))
    if own is None:
        whose = f"of {', '.join(map(repr, studies))}"
    elif "sweep_id" in own.user_attrs and spec.id is not None:
        if own.user_attrs["sweep_id"] == spec.id:
            return
        whose = f"of a sweep with the id {own.user_attrs['sweep_id']}, not {spec.id}"
    else:
        trials = storage.get_all_trials(own._study_id, deepcopy=False)
        others = {key for trial in trials for key in trial.params} - set(spec.search or {})
        if not others:
            return
        whose = f"of a sweep that searches {', '.join(sorted(others))}"
    raise SweepError(
        f"The study {journal} must be that of the sweep {spec.name!r}, but it is {whose}; "
        "put the sweep's own one back, or begin anew under another --name."
    )


def _mend(journal: Path) -> None:
    """Undo what a killed driver left: its lock, and a record of which only a part was written.

    Half a line would weld itself to the next record, after which no load succeeds.
    """
    Path(f"{journal}.lock").unlink(missing_ok=True)
    if not journal.exists():
        return
    with open(journal, "rb+") as file:
        if file.read(1) not in (b"", b"{"):  # as of a database: nothing of it shall be cut off
            raise SweepError(f"The study {journal} is no journal; put the sweep's own one back.")
        end = file.seek(0, os.SEEK_END)
        block = b""
        while end > 0 and b"\n" not in block:
            start = max(0, end - 65536)
            file.seek(start)
            block = file.read(end - start)
            end = start
        file.truncate(end + block.rfind(b"\n") + 1)
