"""Files on a disk and on a URI: whole or not at all."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tuning import storage
from tuning.errors import RequestError


@pytest.fixture(params=["disk", "memory", "file"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that does not exist yet: a path, and URIs of two of fsspec's real file systems."""
    uris = {
        "disk": str(tmp_path / "a" / "b"),
        "memory": f"memory://bucket-{uuid.uuid4().hex}/b",
        "file": f"file://{tmp_path}/a/b",
    }
    return uris[str(request.param)]


def test_what_is_written_is_read(root: str) -> None:
    storage.write(f"{root}/resume/x.pt", b"\x00content")
    assert storage.read(f"{root}/resume/x.pt") == b"\x00content"
    assert storage.exists(f"{root}/resume/x.pt")


def test_writing_again_replaces(root: str) -> None:
    storage.write(f"{root}/x", b"a long first content")
    storage.write(f"{root}/x", b"second")
    assert storage.read(f"{root}/x") == b"second"


def test_names_of_a_folder_are_sorted(root: str) -> None:
    storage.write(f"{root}/b.pt", b"")
    storage.write(f"{root}/a.pt", b"")
    storage.write(f"{root}/c.json", b"")
    assert storage.names(root) == ["a.pt", "b.pt", "c.json"]


def test_a_folder_that_is_not_there_holds_nothing(root: str) -> None:
    assert storage.names(f"{root}/nowhere") == []
    assert not storage.exists(f"{root}/nowhere/x")


def test_reading_what_is_not_there_raises_file_not_found(root: str) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read(f"{root}/nowhere/x")


def test_a_removed_file_is_gone_and_may_be_removed_again(root: str) -> None:
    storage.write(f"{root}/x", b"1")
    storage.remove(f"{root}/x")
    storage.remove(f"{root}/x")
    assert not storage.exists(f"{root}/x")


@pytest.mark.parametrize("uri", ["nosuchprotocol://bucket/x", "nosuchprotocol+s3://bucket/x"])
def test_a_storage_that_cannot_be_opened_is_refused_by_name(uri: str) -> None:
    with pytest.raises(RequestError) as refusal:
        storage.write(uri, b"1")
    assert uri in str(refusal.value)


class Broken(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store whose own errors are none of Python's, as botocore's."""

    protocol = "broken"

    def _fail(self, *_: object, **__: object) -> None:
        raise NoCredentials("Unable to locate credentials")

    pipe_file = cat_file = exists = ls = _fail


class NoCredentials(Exception): ...


@pytest.mark.parametrize(
    "use", [lambda uri: storage.write(uri, b"1"), storage.read, storage.exists, storage.names, storage.remove]
)
def test_what_a_store_raises_is_an_error_of_a_disk(use: Callable[[str], object]) -> None:
    fsspec.register_implementation("broken", Broken, clobber=True)
    with pytest.raises(OSError, match=r"NoCredentials: Unable to locate credentials.*broken://bucket/x"):
        use("broken://bucket/x")


class Nameless(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store whose errors are of Python's types and do not say what they are about, as those of S3."""

    protocol = "nameless"
    error: OSError = FileNotFoundError("The specified bucket does not exist")

    def pipe_file(self, *_: object, **__: object) -> None:
        raise self.error


@pytest.mark.parametrize("kind", [FileNotFoundError, PermissionError, OSError])
def test_an_error_that_does_not_say_what_it_is_about_gets_the_name(
    kind: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.register_implementation("nameless", Nameless, clobber=True)
    monkeypatch.setattr(Nameless, "error", kind("no such bucket"))
    with pytest.raises(kind, match=r"no such bucket.*nameless://bucket/x"):
        storage.write("nameless://bucket/x", b"1")


def test_names_of_files_are_synced(root: str) -> None:
    storage.sync(f"{root}/nowhere")
    storage.write(f"{root}/x", b"1")
    storage.sync(root)
    assert storage.names(root) == ["x"]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    (target / "child").mkdir(parents=True)  # a folder cannot be replaced by a file
    with pytest.raises(OSError):
        storage.write(str(target), b"1")
    assert os.listdir(tmp_path) == ["taken"]


def test_a_death_between_writing_and_renaming_leaves_the_old_file(tmp_path: Path) -> None:
    """The one step that is replaced is the one to die at: there is no other way to die just there."""
    target = tmp_path / "x.pt"
    storage.write(str(target), b"old")
    dies = (
        "import os, signal, sys\n"
        "from tuning import storage\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "storage.write(sys.argv[1], b'new')\n"
    )
    died = subprocess.run([sys.executable, "-c", dies, str(target)], timeout=60)
    assert died.returncode == -signal.SIGKILL
    assert storage.read(str(target)) == b"old"
    assert storage.names(str(tmp_path)) == ["x.pt"]
    storage.write(str(target), b"newest")
    assert storage.read(str(target)) == b"newest"
