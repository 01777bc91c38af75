"""A user's own files on other nodes: they travel by Ray's runtime environment, once per node.

Under a name of their own: as a working directory they would come before everything that is installed,
and a user's `models.py` would hide this project's.
"""

import contextlib
import logging
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray._private.runtime_env.packaging import GCS_STORAGE_MAX_SIZE, _dir_travel, _get_excludes

from tuning import references
from tuning.copies import CURRENT, FILES, FOLDER, PACKAGE
from tuning.errors import RequestError
from tuning.paths import STORAGE, expanded, home_folder
from tuning.spec import SweepSpec

EXCLUDED = (".git", ".venv", "venv", "runs", "mlruns")
"""Folders that never travel; nor does what `.gitignore` or `.rayignore` name."""


MOST_BYTES = GCS_STORAGE_MAX_SIZE
"""What Ray takes in one package."""

SILENT = logging.getLogger("tuning.shipping")


@dataclass(frozen=True, slots=True)
class OwnFiles:
    """A folder that travels."""

    folder: Path
    written: tuple[Path, ...] = ()
    """Folders in it that do not: homes and storages of sweeps."""

    def excluded(self, root: str) -> list[str]:
        """Return, as `.gitignore` would have it, what stays behind where the folder is called `root`."""
        written = (one.relative_to(self.folder).as_posix() for one in self.written)
        names = (*EXCLUDED, *(re.sub(r"([*?\[\]\\])", r"\\\1", name) for name in written))
        return [*(f"{root}/{name}/" for name in names), "__pycache__/"]


def of(specs: Sequence[SweepSpec]) -> OwnFiles | None:
    """Return the folder that holds the files which sweeps name, and what lies beside them; None for none.

    Raises:
        RequestError: when that would be a whole home or disk.
    """
    files = [
        file
        for spec in specs
        for reference in (spec.model, spec.data)
        if reference is not None and (file := references.source(reference)) is not None
    ]
    if not files:
        return None
    folder = Path(os.path.commonpath([file.parent for file in files]))
    if folder in (Path.home(), *Path.home().parents, Path(tempfile.gettempdir())):
        raise RequestError(
            f"The folder of your own files goes to every node of a cluster, but that of "
            f"{', '.join(map(str, files))} is {folder}; put them into a folder of their own."
        )
    storages = {spec.storage or os.environ.get(STORAGE) for spec in specs}
    written = {home_folder(spec.home) for spec in specs}
    written |= {expanded(storage) for storage in storages if storage and "://" not in storage}
    inside = sorted(one for one in {one.resolve() for one in written} if folder in one.parents)
    return OwnFiles(folder, tuple(one for one in inside if not any(one in file.parents for file in files)))


def check(files: OwnFiles) -> None:
    """Refuse, before it is read, a folder that is too large to travel, or holds what no file can be.

    By Ray's own walk: what `.gitignore` and `.rayignore` name is left out.
    """
    folder = files.folder
    sizes: Counter[str] = Counter()

    def look(path: Path) -> None:
        if path.is_file():
            sizes[path.relative_to(folder).parts[0]] += path.stat().st_size
        elif not path.is_dir():
            raise RequestError(
                f"{path} is neither a file nor a folder, and cannot go to other nodes; move it."
            )

    try:
        _dir_travel(
            folder, [_get_excludes(folder, files.excluded(""))], look, include_gitignore=True, logger=SILENT
        )
    except OSError as error:
        raise RequestError(
            f"{folder} goes to every node of the cluster, but cannot be read: {error}"
        ) from error
    if sizes.total() > MOST_BYTES:
        largest = ", ".join(f"{name} ({size / 2**20:,.0f} MiB)" for name, size in sizes.most_common(3))
        raise RequestError(
            f"{folder} goes to every node, and may hold {MOST_BYTES / 2**20:,.0f} MiB, but holds "
            f"{sizes.total() / 2**20:,.0f}: {largest}. Put your own files into a folder of their own, or "
            "name in its .gitignore or .rayignore what shall stay behind."
        )


@contextlib.contextmanager
def packed(files: OwnFiles | None) -> Iterator[dict[str, Any]]:
    """Yield the runtime environment that brings a folder to every worker; valid within."""
    if files is None:
        yield {}
        return
    with tempfile.TemporaryDirectory() as aside:
        named = Path(aside) / PACKAGE
        named.mkdir()
        (named / FILES).symlink_to(files.folder)
        yield {
            "py_modules": [str(named)],
            "excludes": files.excluded(f"/{FILES}"),
            "env_vars": {FOLDER: str(files.folder), CURRENT: str(Path.cwd())},
        }
