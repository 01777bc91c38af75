"""An MLflow server that is killed and comes back."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chaos import processes
from tests.conftest import QUIET, held_port

PATIENCE_S = 90.0


class Server:
    """`mlflow server` over a database of its own; the same again after each `start`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._place = held_port()
        self._port = self._place.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        with open(self._folder / "server.log", "a") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=QUIET
            )
        end_s = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert time.monotonic() < end_s, (self._folder / "server.log").read_text()
            time.sleep(0.1)

    def pids(self) -> set[int]:
        return {self._process.pid, *processes.below(self._process.pid)}

    def kill(self) -> None:
        processes.kill(self.pids())
        self._process.wait()

    def close(self) -> None:
        self.kill()
        self._place.close()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                return True
        except OSError:
            return False


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    folder.mkdir()
    found = Server(folder)
    try:
        yield found
    finally:
        found.close()
