"""How busy GPUs are, as nvidia-smi says: those of this machine, and those that workers elsewhere tell of."""

import contextlib
import json
import math
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Any

QUERY = ("index", "utilization.gpu", "memory.used", "memory.total")

PATIENCE_S = 5.0

LOOK_S = 20.0
"""How often a worker looks at its GPUs, in a thread beside its training."""

KEEP_S = 5.0
"""How often the driver keeps what workers tell, at most."""


def use(which: str = "") -> list[dict[str, Any]]:
    """Return `host`, `gpu` (nvidia-smi's index), `busy` (percent), `used` and `total` (MiB) of each GPU here.

    Args:
        which: as CUDA_VISIBLE_DEVICES has them; all if it is empty.

    None where there is no nvidia-smi, or it does not answer; of a GPU that is cut into instances (MIG), say,
    what it does not tell is None.
    """
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    command += [f"--id={which}"] if which else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    names, host = ("busy", "used", "total"), socket.gethostname()
    return [
        {"host": host, "gpu": index, **dict(zip(names, map(_number, cells), strict=True))}
        for index, *cells in rows
        if len(cells) == len(names)
    ]


def _number(cell: str) -> int | None:
    return int(cell) if cell.isdecimal() else None


def of_worker() -> list[dict[str, Any]]:
    """Return what was last seen of the GPUs that this worker has; nothing where there is no nvidia-smi."""
    own = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return seen(own)["use"] if own else []


@lru_cache(maxsize=1)
def seen(own: str) -> dict[str, list[dict[str, Any]]]:
    """Have a thread of this process look again and again; return where it puts what it sees, as `use`."""
    last: dict[str, list[dict[str, Any]]] = {"use": []}

    def look() -> None:
        while shutil.which("nvidia-smi"):
            last["use"] = use(own)
            time.sleep(LOOK_S)

    threading.Thread(target=look, daemon=True).start()
    return last


class Told:
    """Keeps in a file what workers tell of their GPUs, for who watches the sweep from elsewhere."""

    def __init__(self, file: Path) -> None:
        self._file, self._kept_s = file, -math.inf
        self._latest: dict[str, list[dict[str, Any]]] = {}
        """By where they are."""

    def keep(self, where: str, use: list[dict[str, Any]]) -> None:
        """Take what a worker has last seen of its GPUs, which are `where`."""
        if use or where in self._latest:
            self._latest[where] = use
        if self._latest and time.monotonic() - self._kept_s >= KEEP_S:
            self._kept_s = time.monotonic()
            aside = self._file.with_suffix(".new")
            with contextlib.suppress(OSError):  # nothing depends on it
                aside.write_text(json.dumps(self._latest))
                aside.replace(self._file)


def told(file: Path, where: Collection[str]) -> list[dict[str, Any]]:
    """Return what the workers that train now, there, have last told of their GPUs, if they did."""
    try:
        found: dict[str, list[dict[str, Any]]] = json.loads(file.read_text())
    except (OSError, ValueError):
        return []
    return [one for there in sorted(found) if there in where for one in found[there]]


def describe(found: dict[str, Any]) -> str:
    """Return the use of one GPU as a line."""
    busy = "not known" if found["busy"] is None else f"{found['busy']} % busy"
    memory = "" if found["used"] is None else f", {found['used']:,} of {found['total'] or 0:,} MiB"
    return f"{found['host']}, GPU {found['gpu']}: {busy}{memory}"
