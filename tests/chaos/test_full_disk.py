"""A disk that is full: one message, nothing lost, and the same command goes on once there is room."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import driver, ledger
from tests.chaos.matrix import MODES

SIZE = 12 * 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with a home on a file system of its own, of some megabytes."""
    home = tmp_path / "home"
    home.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(home)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a disk of a few megabytes needs the right to mount one: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "-l", str(home)], check=True)


def fill(home: Path, leave: int) -> Path:
    """Leave so many bytes free."""
    ballast = home / "ballast"
    free = os.statvfs(home).f_bavail * os.statvfs(home).f_bsize
    ballast.write_bytes(b"x" * (free - leave))
    return ballast


@pytest.mark.parametrize(
    ("place", "leave"),
    [
        ("before-end", 0),
        pytest.param("mid-epoch", 0, marks=pytest.mark.chaos),
        pytest.param("mid-epoch", 2**14, marks=pytest.mark.chaos),
        pytest.param("mid-epoch", 2**16, marks=pytest.mark.chaos),
        pytest.param("before-end", 2**14, marks=pytest.mark.chaos),
        pytest.param("before-end", 2**16, marks=pytest.mark.chaos),
    ],
)
def test_a_full_disk_ends_a_sweep_with_one_message_and_it_can_go_on(
    small_disk: Path, place: str, leave: int
) -> None:
    with driver.started(small_disk, place=place, module=driver.COMMAND, **MODES["cohort"]) as first:
        first.wait_until(place)
        ballast = fill(first.home, leave)
        first.go()
        code = first.end()
    said = first.output()
    assert code == 1 and "Traceback" not in said, said
    (error,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert "tuning resume chaos" in error, said
    assert any(word in error for word in ("No space left", "disk is full")), said
    ballast.unlink()
    with driver.started(small_disk, module=driver.COMMAND, **MODES["cohort"]) as second:
        assert second.end() == 0, second.output()
    ledger.assert_nothing_is_lost(second.home, "cohort")
    ledger.assert_it_is_shown(second.home)
