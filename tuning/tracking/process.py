"""The process that writes MLflow, as its driver starts it, speaks to it and ends it."""

import contextlib
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuning.tracking import messages

STILL_S = 90.0
"""How long the process may use no processor while the driver waits for it: then it hangs, as on a database
that fell silent. One that tries a server that is away uses some, and gives up itself
(`writer.GIVE_UP_S`)."""


def tell(process: "subprocess.Popen[bytes]", word: "messages.Job | messages.News") -> None:
    assert process.stdin is not None
    with _ended_if_still(process):
        pickle.dump(word, process.stdin)
        process.stdin.flush()


def answer(process: "subprocess.Popen[bytes]") -> messages.Answer:
    assert process.stdout is not None
    with _ended_if_still(process):
        found: messages.Answer = pickle.load(process.stdout)
        return found


@contextlib.contextmanager
def _ended_if_still(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Within, the process is waited for, but killed once it stands still: its pipes then end the waiting.

    Raises:
        TimeoutError: when it was.
    """
    is_over, is_still = threading.Event(), threading.Event()

    def watch() -> None:
        used, since_s = _processor_time(process), time.monotonic()
        while not is_over.wait(STILL_S / 20):
            now = _processor_time(process)
            if now is None or now != used:
                used, since_s = now, time.monotonic()
            elif time.monotonic() - since_s > STILL_S:
                is_still.set()
                process.kill()
                return

    threading.Thread(target=watch, name="mlflow-watch", daemon=True).start()
    try:
        yield
    except (OSError, EOFError, pickle.UnpicklingError) as error:
        if is_still.is_set():
            raise TimeoutError(f"the process that writes it stood still for {STILL_S:.0f} s") from error
        raise
    finally:
        is_over.set()


def _processor_time(process: "subprocess.Popen[bytes]") -> list[str] | None:
    """Return what a process has used of processors, in the kernel's ticks; None where that is not known."""
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[11:13]


def end(process: "subprocess.Popen[bytes] | None") -> None:
    if process is not None:
        process.kill()
        with contextlib.suppress(OSError):  # what it was not told, because it is gone
            process.communicate()


def start() -> "subprocess.Popen[bytes]":
    """Start the process: in a session of its own, so that Ctrl-C reaches the driver alone.

    With -P the current folder hides none of its modules.
    """
    here = str(Path(__file__).parents[2])
    environment: dict[str, Any] = {
        **os.environ,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        # A run that is asked for again, because the answer was late, would be made twice: the writer
        # itself tries again, once it has looked what is there.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "20"),
        "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH")))),
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "tuning.tracking.writer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
