"""What the tests share: one Ray cluster and one MLflow server per session, and a quiet torch."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parent.parent

QUIET = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""An MLflow server without the processes that it keeps for evaluations."""


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, which is also the default one."""
    folder = tmp_path / "home"
    monkeypatch.setenv("TUNING_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """A real cluster of three nodes in this machine: one without GPUs, two with two logical ones."""
    import ray
    from ray.cluster_utils import Cluster

    from tuning.schedule import connection  # sets what Ray reads when it is imported

    assert connection.nodes is not None
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 0})
    for _ in range(2):
        cluster.add_node(num_cpus=2, num_gpus=2)
    ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow server that proxies artifacts."""
    folder = tmp_path_factory.mktemp("mlflow")
    with serving_mlflow(folder, f"sqlite:///{folder}/mlflow.db") as address:
        yield address


@contextlib.contextmanager
def serving_mlflow(folder: Path, backend: str) -> Iterator[str]:
    """Serve MLflow over a database, artifacts in a folder; yield its address."""
    place = held_port()
    port = place.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", backend]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with open(folder / "server.log", "w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=QUIET)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(address, folder / "server.log", server)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)
        place.close()


def held_port() -> socket.socket:
    """Return a socket bound to a free port: a server may listen there, nobody else gets it."""
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    place.bind(("127.0.0.1", 0))
    return place


def wait_until_up(address: str, log: Path, server: subprocess.Popen[bytes] | None = None) -> None:
    end_s = time.monotonic() + 90
    while time.monotonic() < end_s:
        assert server is None or server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the MLflow server did not come up: {log.read_text()}")


@pytest.fixture
def command(home: Path) -> Any:
    """Run `tuning ...` as a user would, in a process of its own, with the test's home."""

    def run(
        *arguments: str, cwd: Path | None = None, timeout: float = 180
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tuning", *arguments],
            cwd=cwd or REPOSITORY,
            env={**os.environ, "TUNING_HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="session")
def swept_to_trust(tmp_path_factory: pytest.TempPathFactory, ray_cluster: Any) -> Path:
    """A home with a sweep in cohorts, `together`, and one of single trials, `alone`: not to be changed."""
    import tuning
    from tests import trusted

    home = tmp_path_factory.mktemp("trusted")
    tuning.sweep(trusted.spec(home, "together", cohort=8))
    tuning.sweep(trusted.spec(home, "alone", cohort=1, trials=5))
    return home
