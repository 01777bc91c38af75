"""Files on a path or a URI that every node sees: whole reads, atomic writes."""

import os
import uuid
from pathlib import Path
from typing import Any

from tuning.errors import RequestError


def write(path: str, content: bytes) -> None:
    """Write a file so that a reader, or a death in between, finds the old one or the new one.

    On a disk: aside, synced, renamed into place. On a URI: one put, which object stores make atomic.
    """
    if "://" in path:
        _filesystem(path).pipe_file(path, content)
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        with open(aside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def read(path: str) -> bytes:
    """Return a file's content; FileNotFoundError if there is none."""
    if "://" in path:
        content = _filesystem(path).cat_file(path)
        assert isinstance(content, bytes)
        return content
    return Path(path).read_bytes()


def exists(path: str) -> bool:
    if "://" in path:
        return bool(_filesystem(path).exists(path))
    return Path(path).exists()


def names(folder: str) -> list[str]:
    """Return the names of the files in a folder, sorted; none if there is no such folder."""
    if "://" in folder:
        found = _filesystem(folder).ls(folder, detail=False) if exists(folder) else []
        return sorted(name.rpartition("/")[2] for name in found)
    if not Path(folder).is_dir():
        return []
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def remove(path: str) -> None:
    """Remove a file; it may be gone already."""
    if "://" in path:
        if exists(path):
            _filesystem(path).rm_file(path)
        return
    Path(path).unlink(missing_ok=True)


def _filesystem(uri: str) -> Any:
    import fsspec  # comes with torch; imported late, since a sweep on a disk does not need it

    try:
        return fsspec.core.url_to_fs(uri)[0]
    except (ImportError, ValueError) as error:
        raise RequestError(f"The storage {uri!r} cannot be opened: {error}") from error
