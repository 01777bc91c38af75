"""A user's own files on other nodes: they travel by Ray's runtime environment, once per node.

Under a name of their own: as a working directory they would come before everything that is installed,
and a user's `models.py` would hide this project's.
"""

import contextlib
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ray._private.runtime_env.packaging import GCS_STORAGE_MAX_SIZE, _dir_travel, _get_excludes

from tuning import references
from tuning.copies import CURRENT, FILES, FOLDER, PACKAGE
from tuning.errors import RequestError
from tuning.spec import SweepSpec

EXCLUDED = (*(f"/{FILES}/{name}/" for name in (".git", ".venv", "venv", "runs", "mlruns")), "__pycache__/")
"""Never travels; nor does what `.gitignore` or `.rayignore` name."""


MOST_BYTES = GCS_STORAGE_MAX_SIZE
"""What Ray takes in one package."""

SILENT = logging.getLogger("tuning.shipping")


def folder_of(specs: Iterable[SweepSpec]) -> Path | None:
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
    return folder


def check(folder: Path) -> None:
    """Refuse, before it is read, a folder that is too large to travel, or holds what no file can be.

    By Ray's own walk: what `.gitignore` and `.rayignore` name is left out.
    """
    sizes: Counter[str] = Counter()

    def look(path: Path) -> None:
        if path.is_file():
            sizes[path.relative_to(folder).parts[0]] += path.stat().st_size
        elif not path.is_dir():
            raise RequestError(
                f"{path} is neither a file nor a folder, and cannot go to other nodes; move it."
            )

    excluded = [one.removeprefix(f"/{FILES}") for one in EXCLUDED]
    try:
        _dir_travel(folder, [_get_excludes(folder, excluded)], look, include_gitignore=True, logger=SILENT)
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
def packed(folder: Path | None) -> Iterator[dict[str, Any]]:
    """Yield the runtime environment that brings a folder to every worker; valid within."""
    if folder is None:
        yield {}
        return
    with tempfile.TemporaryDirectory() as aside:
        named = Path(aside) / PACKAGE
        named.mkdir()
        (named / FILES).symlink_to(folder)
        yield {
            "py_modules": [str(named)],
            "excludes": list(EXCLUDED),
            "env_vars": {FOLDER: str(folder), CURRENT: str(Path.cwd())},
        }
