"""How busy the GPUs of this machine are, as nvidia-smi says."""

import subprocess
from typing import Any

QUERY = ("index", "utilization.gpu", "memory.used", "memory.total")

PATIENCE_S = 5.0


def use() -> list[dict[str, Any]]:
    """Return `gpu` (nvidia-smi's index), `busy` (percent), `used` and `total` (MiB) of each GPU.

    None where there is no nvidia-smi, or it does not answer; of a GPU that is cut into instances (MIG), say,
    what it does not tell is None.
    """
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    names = ("busy", "used", "total")
    return [
        {"gpu": index, **{name: _number(cell) for name, cell in zip(names, cells, strict=True)}}
        for index, *cells in rows
        if len(cells) == len(names)
    ]


def _number(cell: str) -> int | None:
    return int(cell) if cell.isdecimal() else None


def describe(found: dict[str, Any]) -> str:
    """Return the use of one GPU as a line."""
    busy = "not known" if found["busy"] is None else f"{found['busy']} % busy"
    memory = "" if found["used"] is None else f", {found['used']:,} of {found['total'] or 0:,} MiB"
    return f"GPU {found['gpu']}: {busy}{memory}"
