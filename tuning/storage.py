"""Files on a path or a URI that every node sees: whole reads, atomic writes."""

import errno
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tuning import faults
from tuning.errors import RequestError


def check(path: str) -> None:
    """Refuse a storage that no file could be written to: an unknown protocol, a package that it needs."""
    if _local(path) is None:
        _filesystem(path)


ASIDE = re.compile(r"\..+\.[0-9a-f]{8}")
"""Names of files that are on their way."""

Check = Callable[[], None]
"""Raises where a file must not be written any more."""


def write(path: str, content: bytes, check: Check = lambda: None) -> None:
    """Write a file so that a reader, or a death in between, finds the old one or the new one.

    On a disk: aside, synced, renamed into place. On a URI: one put, which object stores make atomic.

    Args:
        check: asked at the last moment before the file is in place.
    """
    target = _local(path)
    if target is None:
        check()
        with _as_os_error(path):
            _filesystem(path).pipe_file(path, content)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        with open(aside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        faults.place(f"replace-{target.parent.name}")
        check()
        os.replace(aside, target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def check_target(to: Path) -> None:
    """Refuse a file that a user wants written in a folder that does not exist, or that is a folder."""
    if not to.parent.is_dir():
        raise RequestError(f"--to must name a file in a folder that exists, but there is no {to.parent}.")
    if to.is_dir():
        raise RequestError(f"--to must name a file, but {to} is a folder; name a file in it.")


def deliver(to: Path, content: bytes) -> None:
    """Write a file where the user wants it.

    Raises:
        RequestError: when it cannot be written there.
    """
    check_target(to)
    try:
        write(str(to.absolute()), content)
    except OSError as error:
        raise RequestError(
            f"--to must name a file that can be written, but {to}: {error.strerror}."
        ) from error


def read(path: str) -> bytes:
    """Return a file's content; FileNotFoundError if there is none."""
    file = _local(path)
    if file is not None:
        return file.read_bytes()
    with _as_os_error(path):
        content = _filesystem(path).cat_file(path)
    assert isinstance(content, bytes)
    return content


def exists(path: str) -> bool:
    file = _local(path)
    if file is not None:
        return file.exists()
    with _as_os_error(path):
        return bool(_filesystem(path).exists(path))


def names(folder: str) -> list[str]:
    """Return the names of the files in a folder, sorted; none if there is no such folder."""
    local = _local(folder)
    if local is not None:
        found = os.listdir(local) if local.is_dir() else []
    else:
        with _as_os_error(folder):
            found = _filesystem(folder).ls(folder, detail=False) if exists(folder) else []
    return sorted(name for name in (path.rpartition("/")[2] for path in found) if not name.startswith("."))


def asides(folder: str) -> list[str]:
    """Return the paths of files that were written aside and, by a death, never put in place."""
    local = _local(folder)
    if local is None or not local.is_dir():
        return []
    return sorted(str(path) for path in local.iterdir() if ASIDE.fullmatch(path.name))


def remove(path: str) -> None:
    """Remove a file; it may be gone already."""
    file = _local(path)
    if file is not None:
        file.unlink(missing_ok=True)
    elif exists(path):
        with _as_os_error(path):
            _filesystem(path).rm_file(path)


def sync(folder: str) -> None:
    """Have the names of the files in a folder outlast a power cut; a URI's store does so by itself."""
    local = _local(folder)
    if local is None or not local.is_dir():
        return
    descriptor = os.open(local, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # of file systems that know no such thing
            raise
    finally:
        os.close(descriptor)


def _local(path: str) -> Path | None:
    """Return a path on this machine's disks, also of a `file://` URI; None for any other URI."""
    scheme, separator, rest = path.partition("://")
    if not separator:
        return Path(path)
    return Path(rest) if scheme in ("file", "local") else None


@contextmanager
def _as_os_error(uri: str) -> Iterator[None]:
    """Raise OSError for whatever a store's own library raises: that of S3 lets botocore's errors through.

    Callers know what a disk does, and that is what they are told of: also which file it is about.
    """
    try:
        yield
    except RequestError:
        raise
    except OSError as error:
        if error.filename is not None:
            raise
        kinds = {FileNotFoundError: errno.ENOENT, PermissionError: errno.EACCES}
        number = next((found for kind, found in kinds.items() if isinstance(error, kind)), errno.EIO)
        raise OSError(error.errno or number, error.strerror or str(error), uri) from error
    except Exception as error:  # of whatever type the store's own library has
        raise OSError(errno.EIO, f"{type(error).__name__}: {error}", uri) from error


def _filesystem(uri: str) -> Any:
    """Return what stands behind a URI; it forgets what it has listed, which others may have changed."""
    import fsspec  # comes with torch; imported late, since a sweep on a disk does not need it

    try:
        found = fsspec.core.url_to_fs(uri)[0]
        found.invalidate_cache()
        return found
    except (ImportError, ValueError) as error:
        raise RequestError(f"The storage {uri!r} cannot be opened: {error}") from error
