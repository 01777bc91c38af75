"""One driver per sweep, as long as it lives."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuning.claim import CONFIRMS, DRIVES, claim, claimant, undriven
from tuning.errors import RequestError

HOLDER = """
import sys
from pathlib import Path
from tuning.claim import claim
with claim(Path(sys.argv[1]), "demo"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "demo" / "driver.lock"


@pytest.fixture
def other_driver(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the claim until it is killed or its standard input is closed."""
    command = [sys.executable, "-c", HOLDER, str(lock)]
    driver = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "held\n"
        yield driver
        driver.kill()


def test_a_second_driver_is_refused_and_told_who_drives(
    lock: Path, other_driver: subprocess.Popen[str]
) -> None:
    with pytest.raises(RequestError) as refusal, claim(lock, "demo"):
        pass
    assert "'demo' is running" in str(refusal.value)
    assert f"process {other_driver.pid} on host {socket.gethostname()}" in str(refusal.value)


def test_a_refused_driver_leaves_the_claim_as_it_is(lock: Path, other_driver: subprocess.Popen[str]) -> None:
    with pytest.raises(RequestError), claim(lock, "demo"):
        pass
    assert claimant(lock) is not None
    assert json.loads(lock.read_text())["pid"] == other_driver.pid


def test_death_frees_the_claim(lock: Path, other_driver: subprocess.Popen[str]) -> None:
    assert claimant(lock) is not None
    other_driver.kill()
    other_driver.wait()
    assert claimant(lock) is None
    with claim(lock, "demo"):
        assert claimant(lock) is not None


def test_the_holder_stands_in_the_file(lock: Path) -> None:
    with claim(lock, "demo") as name:
        held = {"host": socket.gethostname(), "pid": os.getpid(), "id": name, "work": DRIVES}
        found = json.loads(lock.read_text())
        assert found.pop("since_s") == pytest.approx(time.time(), abs=60)
        assert found == held


def test_one_process_cannot_drive_a_sweep_twice(lock: Path) -> None:
    second = claim(lock, "demo")
    with claim(lock, "demo"), pytest.raises(RequestError, match=f"process {os.getpid()}"), second:
        pass


def test_the_claim_ends_with_its_block(lock: Path) -> None:
    with claim(lock, "demo"):
        assert claimant(lock) is not None
    assert claimant(lock) is None


def test_the_claim_ends_with_an_error_too(lock: Path) -> None:
    with pytest.raises(ZeroDivisionError), claim(lock, "demo"):
        raise ZeroDivisionError
    assert claimant(lock) is None


def test_two_sweeps_are_driven_side_by_side(tmp_path: Path) -> None:
    with claim(tmp_path / "a" / "driver.lock", "a"), claim(tmp_path / "b" / "driver.lock", "b"):
        assert claimant(tmp_path / "a" / "driver.lock") is not None
        assert claimant(tmp_path / "b" / "driver.lock") is not None


def test_asking_writes_nothing(lock: Path) -> None:
    assert claimant(lock) is None
    assert not lock.parent.exists()


def test_a_torn_file_of_an_earlier_holder_does_not_matter(lock: Path) -> None:
    lock.parent.mkdir()
    lock.write_text('{"host": "gone", "pi')
    assert claimant(lock) is None
    with claim(lock, "demo"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()


def test_what_is_no_file_cannot_be_claimed(lock: Path) -> None:
    lock.mkdir(parents=True)
    with pytest.raises(RequestError, match="must be a file that can be written"), claim(lock, "demo"):
        pass


def test_whoever_confirms_is_no_driver_and_keeps_drivers_away(lock: Path) -> None:
    with claim(lock, "demo", CONFIRMS):
        assert claimant(lock) is None
        with pytest.raises(RequestError, match=r"is taken: process .* confirms its best trials"):
            claim(lock, "demo").__enter__()


def test_whoever_only_looks_is_named_and_not_the_driver_before(lock: Path) -> None:
    with claim(lock, "demo"):
        pass
    with undriven(lock, "demo"), pytest.raises(RequestError) as refusal, claim(lock, "demo"):
        pass
    looks = f"tuning doctor demo --home {lock.parent.parent}"
    assert str(refusal.value) == f"The sweep 'demo' is looked at by `{looks}`. Go on when that has ended."
    with claim(lock, "demo"):
        pass


def test_two_may_look_at_once_and_nobody_while_there_is_a_driver(
    lock: Path, other_driver: subprocess.Popen[str]
) -> None:
    with pytest.raises(RequestError, match=f"process {other_driver.pid}"), undriven(lock, "demo"):
        pass
    other_driver.kill()
    other_driver.wait()
    with undriven(lock, "demo"), undriven(lock, "demo"):
        assert claimant(lock) is None
