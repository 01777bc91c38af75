"""Of two drivers' workers only the latest one's may write into a sweep's storage."""

from pathlib import Path

import pytest

from tuning import attempts, paths, storage
from tuning.errors import SweepError
from tuning.records import Cohort

TASK = Cohort(id="c-1", members=(), until=3)


def test_a_worker_of_an_earlier_attempt_replaces_nothing(tmp_path: Path) -> None:
    folder = str(tmp_path)
    earlier = attempts.begin(folder)
    file = paths.checkpoint_file(folder, 0)
    storage.write(file, b"the earlier one's", lambda: attempts.check(folder, earlier, TASK))
    later = attempts.begin(folder)
    storage.write(file, b"the later one's", lambda: attempts.check(folder, later, TASK))
    with pytest.raises(SweepError, match=f"{earlier} at the sweep is over; the latest is {later}"):
        storage.write(file, b"of an orphan", lambda: attempts.check(folder, earlier, TASK))
    assert storage.read(file) == b"the later one's"
    assert not storage.asides(paths.checkpoint_folder(folder))


def test_a_worker_that_was_halfway_when_the_next_driver_began_replaces_nothing(tmp_path: Path) -> None:
    folder = str(tmp_path)
    earlier = attempts.begin(folder)
    file = paths.resume_file(folder, "cohort-a.pt")

    def begin_and_check() -> None:
        attempts.begin(folder)  # which clears what is on its way
        attempts.check(folder, earlier, TASK)

    with pytest.raises(SweepError, match="is over"):
        storage.write(file, b"of an orphan", begin_and_check)
    assert not list(Path(paths.resume_folder(folder)).iterdir())


def test_what_a_death_left_half_written_is_removed(tmp_path: Path) -> None:
    folder = str(tmp_path)
    storage.write(paths.resume_file(folder, "cohort-a.pt"), b"whole")
    Path(paths.resume_file(folder, ".cohort-b.pt.0123abcd")).write_bytes(b"half")
    (tmp_path / ".spec.yaml.0123abcd").write_bytes(b"half")
    (tmp_path / ".driver.request.0123abcd").write_bytes(b"half")  # of a `tuning stop` beside it
    attempts.begin(folder)
    assert [path.name for path in tmp_path.glob(".*")] == [".driver.request.0123abcd"]
    assert [path.name for path in Path(paths.resume_folder(folder)).iterdir()] == ["cohort-a.pt"]


def test_a_worker_whose_sweep_was_removed_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="the sweep's storage was removed"):
        attempts.check(str(tmp_path), "an attempt", TASK)


def test_a_worker_that_its_driver_has_lost_replaces_nothing(tmp_path: Path) -> None:
    """On a node that the cluster does not reach, and that still sees the storage."""
    folder = str(tmp_path)
    attempt = attempts.begin(folder)
    file = paths.checkpoint_file(folder, 0)
    attempts.check(folder, attempt, TASK)
    again = attempts.next_turn(folder, TASK)
    storage.write(file, b"the next one's", lambda: attempts.check(folder, attempt, again))
    with pytest.raises(SweepError, match="turn 0 at cohort c-1 is over; the latest is 1"):
        storage.write(file, b"of the lost one", lambda: attempts.check(folder, attempt, TASK))
    attempts.check(folder, attempt, Cohort(id="c-2", members=(), until=3))
    assert storage.read(file) == b"the next one's"
    assert Cohort.from_json(again.to_json()).turn == 1, "a worker is told its turn"
    Path(paths.turn_file(folder, "c-1")).unlink()  # as a network disk may show it for a while
    attempts.check(folder, attempt, again)
    attempts.next_turn(folder, again)
    attempts.begin(folder)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["attempt"], "of the next driver"
