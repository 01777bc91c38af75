"""torchvision's downloads, made safe: one process at a time, aside, renamed when whole."""

import contextlib
import io
import logging
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tuning.data.folder import locked, writing_in
from tuning.data.splits import Arrays
from tuning.errors import RequestError

logger = logging.getLogger(__name__)

TIMEOUT_S = 20.0
# What torchvision raises for files that are missing, torn or refused, and for a network that fails.
FAILURES = (OSError, RuntimeError, ValueError, AssertionError, EOFError, HTTPException)


@dataclass(frozen=True, slots=True)
class Source:
    """A data set class of `torchvision.datasets` and its archives, as a pattern in the folder."""

    class_name: str
    archives: str


def fetch(source: Source, folder: Path) -> tuple[Arrays, Arrays]:
    """Return the official training and test set: uint8 images (n, channels, h, w), int64 labels.

    Raises:
        RequestError: when the files are not in the folder and cannot be downloaded either.
    """
    with contextlib.suppress(*FAILURES):
        return _read(source, folder)
    with writing_in(folder), locked(folder / f".{source.class_name}.lock"):
        with contextlib.suppress(*FAILURES):
            return _read(source, folder)  # another process has fetched it in the meantime
        try:
            _download(source, folder)
            return _read(source, folder)
        except FAILURES as error:
            raise _unavailable(source, folder, error) from None


def _read(source: Source, folder: Path) -> tuple[Arrays, Arrays]:
    return _load(source, folder, train=True), _load(source, folder, train=False)


def _load(source: Source, folder: Path, *, train: bool, download: bool = False) -> Arrays:
    import torchvision.datasets

    dataset: Any = getattr(torchvision.datasets, source.class_name)(folder, train=train, download=download)
    labels = torch.as_tensor(dataset.targets).long()
    if len(labels) != len(dataset.data):
        raise ValueError(f"{len(dataset.data)} images, but {len(labels)} labels")
    return _channels_first(torch.as_tensor(dataset.data)), labels


def _channels_first(images: Tensor) -> Tensor:
    return images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)


def _download(source: Source, folder: Path) -> None:
    """Download and unpack in a folder aside, then move every file to its place.

    torchvision checks the hashes of archives, but takes any unpacked file for whole. So nothing
    unpacked is kept of a try that was cut off, while its archives need not come twice.
    """
    aside = folder / f".{source.class_name}.part"
    _remove_all_but_archives(aside, source)
    for archive in folder.glob(source.archives):
        kept = aside / archive.relative_to(folder)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(archive, kept)
    logger.info("Downloading %s into %s", source.class_name, folder)
    with _quiet(), _timeout(TIMEOUT_S):
        _load(source, aside, train=True, download=True)
    _load(source, aside, train=False)
    for file in [path for path in aside.rglob("*") if path.is_file()]:
        place = folder / file.relative_to(aside)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, place)
    shutil.rmtree(aside)


def _remove_all_but_archives(folder: Path, source: Source) -> None:
    archives = set(folder.glob(source.archives))
    for path in folder.rglob("*"):
        if path.is_file() and path not in archives:
            path.unlink()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Swallow torchvision's progress bars."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Bound every wait for the network: torchvision does not, and some firewalls never answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _unavailable(source: Source, folder: Path, error: Exception) -> RequestError:
    reason = str(error).strip().splitlines()
    return RequestError(
        f"{source.class_name} is not in the data folder and could not be downloaded "
        f"({type(error).__name__}: {reason[-1] if reason else 'no reason given'}). "
        f"Put its archives there by hand ({folder / source.archives}), "
        "or take data=mnist5k, which needs no network."
    )
