"""The Ray cluster a sweep runs on: a local one of its own, one that exists, or the process's."""

import contextlib
import gc
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

# Read by Ray when it is imported or started; whoever sets one of them keeps it.
for _name, _value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",  # held back to be counted, a worker's lines would come after the sweep's log
    "RAY_AIR_NEW_OUTPUT": "0",  # the old output prints nothing at verbose=0
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a user's relative paths go on to mean what they meant
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the coming default, without its warning
    "RAY_prestart_worker_first_driver": "0",  # Tune's workers never take the processes started ahead
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # its handler ends a run at once
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # the study is the truth, not Tune's snapshots
}.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402  (after the settings above)

from tuning.errors import RequestError  # noqa: E402


@dataclass(frozen=True, slots=True)
class Node:
    """What one living node declares."""

    host: str
    cpus: float
    gpus: float


class Cluster:
    """A connection to a Ray cluster, perhaps still on its way up.

    Args:
        nodes: what it holds.
        uses: sweeps that will run on it.
        leave: begins to disconnect, and returns without waiting for the end of that.
    """

    def __init__(
        self, nodes: "Future[list[Node]]", uses: int, leave: Callable[[], object] = lambda: None
    ) -> None:
        self._nodes, self._uses, self._leave = nodes, uses, leave

    @property
    def is_up(self) -> bool:
        return self._nodes.done()

    def nodes(self) -> list[Node]:
        """Wait until it is up, and return its nodes.

        Raises:
            RequestError: when there is no such cluster.
        """
        return self._nodes.result()

    def release(self) -> None:
        """Note that one sweep has run; after the last one leave the cluster, while records are closed.

        What Tune has left is collected before: a reference to an actor or an object that is collected in
        one thread while another one leaves Ray ends the process at once, with code 1 and no word.
        """
        self._uses -= 1
        if self._uses == 0:
            gc.collect()
            self._leave()


@contextlib.contextmanager
def connect(address: str | None, uses: int = 1) -> Iterator[Cluster]:
    """Connect to the cluster at `address`, or start a local one and stop it at the end.

    A local cluster takes four seconds to come up, in which its user can import torch and check the
    request. A process that is connected already (a notebook, a test, another sweep) keeps its connection.
    """
    if ray.is_initialized():
        done: Future[list[Node]] = Future()
        done.set_result(nodes())
        yield Cluster(done, uses)
        return
    # One thread connects and disconnects: from another, Ray's core waits 15 s for it.
    with ThreadPoolExecutor(1, thread_name_prefix="ray-init") as executor:
        try:
            yield Cluster(executor.submit(_initialise, address), uses, lambda: executor.submit(ray.shutdown))
        finally:
            with open(os.devnull, "w") as sink, redirect_stdout(sink), redirect_stderr(sink):
                executor.submit(ray.shutdown).result()  # prints what workers said last


def _initialise(address: str | None) -> list[Node]:
    if address is None:
        # Ray's head, where it dies, comes back on a cluster only: a minute's wait for it would be in vain.
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "15")
        ray.init(
            address="local",
            num_cpus=local_cpus(),  # what requests are checked against: Ray itself rounds a quota down to 0
            include_dashboard=False,
            logging_level=logging.ERROR,
        )
        return nodes()
    try:
        ray.init(address=address, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RequestError(
            f"There is no Ray cluster at --address {address!r}: {error}. "
            "Start one (`ray start --head`), or leave --address out for a local one."
        ) from error
    return nodes()


def local_cpus() -> int:
    """CPUs this process may use: the affinity mask, or a container's quota if that is less."""
    allowed = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8").split()
        allowed = min(allowed, max(1, int(quota) // int(period)))
    return allowed


def nodes() -> list[Node]:
    """Return the living nodes of the connected cluster."""
    return [
        Node(
            host=node["NodeManagerHostname"],
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
