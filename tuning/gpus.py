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
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

QUERY = ("index", "utilization.gpu", "memory.used", "memory.total")

PATIENCE_S = 5.0

LOOK_S = 10.0
"""How often a worker looks at its GPUs, in a thread beside its training."""

KEEP_S = 5.0
"""How often the driver keeps what workers tell, at most."""


def use() -> list[dict[str, Any]]:
    """Return `host`, `gpu` (nvidia-smi's index), `busy` (percent), `used` and `total` (MiB) of each GPU here.

    None where there is no nvidia-smi, or it does not answer; of a GPU that is cut into instances (MIG), say,
    what it does not tell is None.
    """
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
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
    own = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return [one for one in seen()["use"] if one["gpu"] in own] if own != [""] else []


@lru_cache(maxsize=1)
def seen() -> dict[str, list[dict[str, Any]]]:
    """Have a thread of this process look again and again; return where it puts what it sees, as `use`."""
    last: dict[str, list[dict[str, Any]]] = {"use": []}

    def look() -> None:
        while shutil.which("nvidia-smi"):
            last["use"] = use()
            time.sleep(LOOK_S)

    threading.Thread(target=look, daemon=True).start()
    return last


class Told:
    """Keeps in a file what workers tell of their GPUs, for who watches the sweep from elsewhere."""

    def __init__(self, file: Path) -> None:
        self._file, self._kept_s = file, -math.inf
        self._latest: dict[tuple[str, str], dict[str, Any]] = {}

    def keep(self, worker: Mapping[str, Any]) -> None:
        """Take what a worker's message says of itself (`schedule.messages`)."""
        if not worker.get("use"):
            return
        self._latest |= {(one["host"], one["gpu"]): one for one in worker["use"]}
        if time.monotonic() - self._kept_s >= KEEP_S:
            self._kept_s = time.monotonic()
            aside = self._file.with_suffix(".new")
            with contextlib.suppress(OSError):  # nothing depends on it
                aside.write_text(json.dumps([self._latest[key] for key in sorted(self._latest)]))
                aside.replace(self._file)


def told(file: Path) -> list[dict[str, Any]]:
    """Return what workers have told of their GPUs; nothing where nobody did, or no driver is at work."""
    try:
        found: list[dict[str, Any]] = json.loads(file.read_text())
        return found
    except (OSError, ValueError):
        return []


def describe(found: dict[str, Any]) -> str:
    """Return the use of one GPU as a line."""
    busy = "not known" if found["busy"] is None else f"{found['busy']} % busy"
    memory = "" if found["used"] is None else f", {found['used']:,} of {found['total'] or 0:,} MiB"
    return f"{found['host']}, GPU {found['gpu']}: {busy}{memory}"
