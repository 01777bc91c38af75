"""A worker that outlives its driver writes nothing once the next driver has begun."""

import contextlib
import os
import time
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import cluster, driver, ledger, matrix, processes
from tests.chaos.conftest import Undisturbed
from tests.chaos.matrix import MODES
from tuning import paths, storage

SAMPLE = ("replace-checkpoints", "cohort")
CASES = [
    ("mid-epoch", "alone"),  # in its first epoch, after which it is the resume state that is written
    ("replace-resume", "alone"),
    ("replace-resume", "cohort"),
    ("replace-resume", "rungs"),
    ("replace-checkpoints", "alone"),
    ("replace-checkpoints", "cohort"),
]


class Files:
    """What a sweep's workers write: checkpoints and resume states."""

    def __init__(self, folder: Path) -> None:
        self._attempt = Path(paths.attempt_file(str(folder)))
        self._folders = [Path(paths.checkpoint_folder(str(folder))), Path(paths.resume_folder(str(folder)))]

    def attempt(self) -> str:
        return self._attempt.read_text()

    def asides(self) -> list[Path]:
        return [Path(path) for folder in self._folders for path in storage.asides(str(folder))]

    def in_place(self) -> dict[str, int]:
        """Return each file's inode: a file that is replaced gets another."""
        found = [path for folder in self._folders if folder.exists() for path in folder.iterdir()]
        return {str(path): path.stat().st_ino for path in found if not storage.ASIDE.fullmatch(path.name)}

    def watch(self) -> None:
        """Begin to look for attempts at writing."""
        for folder in self._folders:
            folder.mkdir(exist_ok=True)
            os.utime(folder, (0, 0))

    def is_touched(self, others: Set[Path]) -> bool:
        """Whether somebody tried to write since `watch`, and has put in place or removed what he wrote.

        Args:
            others: what somebody else was just writing.
        """
        is_whole = set(self.asides()) <= others
        return any(folder.stat().st_mtime_ns for folder in self._folders) and is_whole


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + driver.PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s, f"it never came that {what}"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("place", "mode"),
    [pytest.param(*case, marks=[] if case == SAMPLE else [pytest.mark.chaos]) for case in CASES],
)
def test_a_worker_that_outlives_its_driver_writes_nothing_once_the_next_one_has_begun(
    tmp_path: Path, place: str, mode: str, undisturbed: Undisturbed
) -> None:
    """On a node that the cluster does not reach, since elsewhere Ray ends it within a second."""
    where: dict[str, Any] = {"place": place, "count": matrix.count("driver", place, mode)}
    with contextlib.ExitStack() as stack:
        nodes = stack.enter_context(cluster.nodes(driver.armed(stops=tmp_path / f"stops-{place}", **where)))
        options = ("--address", nodes.address)
        with driver.started(tmp_path, *options, **where, **MODES[mode]) as first:
            orphan = first.wait_until(place)
            lost = stack.enter_context(contextlib.ExitStack())
            lost.enter_context(processes.stopped(processes.processes()[orphan].parent))
            processes.kill({first.process.pid})
        files = Files(first.home / "chaos")
        earlier, written = files.attempt(), {path: path.read_bytes() for path in files.asides()}
        with driver.started(tmp_path, *options, **MODES[mode]) as second:
            wait_until(lambda: files.attempt() != earlier and not files.asides(), "the next driver has begun")
            with processes.stopped(second.process.pid):
                others = set(files.asides())  # of the next driver, which may have begun to write
                for path, content in written.items():  # as if the orphan had written it only now
                    path.write_bytes(content)
                before = files.in_place()
                files.watch()
                first.go()
                wait_until(lambda: files.is_touched(others), "the orphan tried to write")
                assert files.in_place() == before
            lost.close()
            processes.wait_until_gone({orphan})
            assert second.end() == 0, second.output()
        ledger.assert_nothing_is_lost(second.home, mode)
        assert ledger.trained(second.home) == undisturbed(mode)
