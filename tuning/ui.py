"""The MLflow UI over a home: a server that ends with the command."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tuning import ledger, paths
from tuning.errors import RequestError, SweepError
from tuning.tracking import client, view

PORTS_TRIED = 100

GUARD = 'read _; kill -TERM "-$1"; sleep 5; kill -KILL "-$1"'
"""Ends the server's processes once the pipe breaks that this command holds: so they do not outlive it when it
is killed, or its terminal closed."""


def serve(home: Path, first_port: int) -> None:
    """Serve until Ctrl-C or SIGTERM, at the first free port from `first_port` on.

    Raises:
        RequestError: when the home holds nothing to show, or no port is free.
        SweepError: when the server ends by itself.
    """
    elsewhere = ", ".join(ledger.servers(home))
    if not os.path.exists(paths.tracking_database(home)):  # False also for a name that is too long
        if elsewhere:
            raise RequestError(f"The sweeps of {home} have their records at {elsewhere}; open that instead.")
        raise RequestError(f"There is nothing to show in {home} yet; start a sweep: `tuning sweep cnn`.")
    port = _free_port(first_port)
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a script's `&` had SIGINT ignored
        signal.signal(number, _end)
    with _server(home, port) as server:
        try:
            taken = f" (port {first_port} is taken)" if port != first_port else ""
            print(f"starting the MLflow UI over {home}{taken} ...", file=sys.stderr, flush=True)
            if elsewhere:
                print(f"sweeps that have their records at {elsewhere} are not in it", file=sys.stderr)
            while server.poll() is None and not answers(port):
                time.sleep(0.1)
            if server.poll() is None:
                _tell(f"http://127.0.0.1:{port}", client.default_uri(home))
            code = server.wait()
        except KeyboardInterrupt:
            return
    raise SweepError(f"The MLflow server ended with code {code}; {paths.ui_log(home)} says why.")


@contextlib.contextmanager
def _server(home: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Within, MLflow's server runs; then, or when this process dies, it and all that it started end."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--app-name", "tuning", "--workers", "1", "--backend-store-uri", client.default_uri(home)]
    command += ["--default-artifact-root", paths.tracking_artifacts(home).as_uri()]
    # Its job runner, eight processes for judging language models, is of no use here, and no pickle is opened.
    environment = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with open(paths.ui_log(home), "wb") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        )
    guard = subprocess.Popen(
        ["sh", "-c", GUARD, "sh", str(server.pid)], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield server
    finally:
        _end_all(server)
        guard.kill()
        guard.communicate()


def _tell(address: str, uri: str) -> None:
    print(f"{address} (Ctrl-C ends it)", file=sys.stderr, flush=True)
    newest = None
    with contextlib.suppress(Exception):  # of MLflow: the page is there without it
        newest = view.newest(uri)
    if newest is not None:
        name, link = newest
        print(f"the trials of {name}, by their last epoch: {address}{link}", file=sys.stderr, flush=True)


def _end(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _end_all(server: "subprocess.Popen[bytes]") -> None:
    """End the server and the processes that it started, which are of its session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            server.wait(timeout=5)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def answers(port: int) -> bool:
    """Whether somebody listens at this port of this machine."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _free_port(first: int) -> int:
    if not 1 <= first <= 65535:
        raise RequestError(f"--port must be from 1 to 65535, but got {first}.")
    for port in range(first, min(first + PORTS_TRIED, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RequestError(f"All ports from {first} to {port} are taken; choose another --port.")
