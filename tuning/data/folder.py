"""The folder that keeps what was downloaded or parsed, shared by all processes of a machine."""

import contextlib
import fcntl
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tuning.errors import RequestError

VARIABLE = "TUNING_DATA"
NamedArrays = dict[str, np.ndarray]


def data_folder(folder: str | Path | None = None) -> Path:
    """Return `folder`, else the one that TUNING_DATA names, else ~/.cache/tuning, made absolute."""
    chosen = folder or os.environ.get(VARIABLE) or "~/.cache/tuning"
    return Path(chosen).expanduser().absolute()


@contextlib.contextmanager
def writing_in(folder: Path) -> Iterator[None]:
    """Make the folder; an `OSError` while the block writes there becomes a `RequestError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise RequestError(
            f"The data folder must be writable, but {folder} is not ({error}); "
            f"set {VARIABLE} to a folder that is."
        ) from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock among processes; the death of its holder frees it."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cached_arrays(
    path: Path, layout: dict[str, tuple[int, ...]], build: Callable[[], NamedArrays]
) -> NamedArrays:
    """Return the arrays kept in the .npz at `path`, building and keeping them where it is no good.

    `layout` holds name and shape of each uint8 array.
    """
    arrays = _read(path)
    if {name: (array.shape, array.dtype) for name, array in arrays.items()} == {
        name: (shape, np.dtype(np.uint8)) for name, shape in layout.items()
    }:
        return arrays
    arrays = build()
    with writing_in(path.parent):
        _write(path, arrays)
    return arrays


def _read(path: Path) -> NamedArrays:
    """Return the arrays of the file, none if it is missing or torn (an .npz has checksums)."""
    try:
        # Opened here, because np.load leaves a torn file open.
        with open(path, "rb") as file, np.load(file) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile):
        return {}  # AttributeError: a bare .npy under this name has no files


def _write(path: Path, arrays: NamedArrays) -> None:
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with open(handle, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        os.replace(aside, path)
    except BaseException:
        os.unlink(aside)
        raise
