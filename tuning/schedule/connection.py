"""The Ray cluster a sweep runs on: a local one of its own, one that exists, or the process's."""

import contextlib
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace

from tuning.errors import SweepError, one_line
from tuning.processors import local_cpus

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

from tuning.schedule import shipping  # noqa: E402
from tuning.schedule.joining import MAX_REASON, check_joined, join  # noqa: E402


@dataclass(frozen=True, slots=True)
class Node:
    """What one living node declares."""

    host: str
    cpus: float
    gpus: float
    id: str = ""
    """Ray's; empty where there is none yet."""


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
        self.is_wanted = True
        """Whether whoever waited for it still does."""

    @property
    def is_up(self) -> bool:
        return self._nodes.done()

    def nodes(self) -> list[Node]:
        """Wait until it is up, and return its nodes.

        Raises:
            RequestError: when there is no such cluster.
            SweepError: when a local one does not start.
            KeyboardInterrupt: on Ctrl-C; nobody waits for it any more.
        """
        try:
            return self._nodes.result()
        except KeyboardInterrupt:
            self.is_wanted = False
            raise

    def release(self) -> None:
        """Note that one sweep has run; after the last one leave the cluster, while records are closed.

        What Tune has left is collected before: a reference to an actor or an object that is collected in
        one thread while another one leaves Ray ends the process at once, with code 1 and no word.
        """
        self._uses -= 1
        if self._uses == 0:
            gc.collect()
            self._leave()


_ray = ThreadPoolExecutor(1, thread_name_prefix="ray-init")
"""One thread connects and disconnects: from another, Ray's core waits 15 s for it.

What is asked of it goes in turn, so that who connects comes after a disconnection that nobody waited for.
"""


@contextlib.contextmanager
def connect(
    address: str | None, uses: int = 1, own_files: shipping.OwnFiles | None = None
) -> Iterator[Cluster]:
    """Connect to the cluster at `address`, or start a local one and stop it at the end.

    Args:
        own_files: what goes to every other node.

    A local cluster takes four seconds to come up, in which its user can import torch and check the
    request. A process that is connected already (a notebook, a test, another sweep) keeps its connection.

    Raises:
        RequestError: when that one is to another cluster, or cannot bring files along any more.
    """
    if _ray.submit(ray.is_initialized).result():
        found = nodes()
        check_joined(address, own_files, len(found))
        done: Future[list[Node]] = Future()
        done.set_result(found)
        yield Cluster(done, uses)
        return
    cluster = Cluster(_ray.submit(_initialise, address, own_files), uses, lambda: _ray.submit(ray.shutdown))
    try:
        yield cluster
    except KeyboardInterrupt:
        if cluster.is_wanted and address is None:
            print("interrupted: Ray ends, which may take some seconds ...", file=sys.stderr, flush=True)
        raise
    finally:
        with open(os.devnull, "w") as sink, redirect_stdout(sink), redirect_stderr(sink):
            left = _ray.submit(ray.shutdown)  # prints what workers said last
            if cluster.is_wanted:
                left.result()


def _initialise(address: str | None, own_files: shipping.OwnFiles | None) -> list[Node]:
    if address is None:
        # Ray's head, where it dies, comes back on a cluster only: a minute's wait for it would be in vain.
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "15")
        # For Ray's dashboard and `ray list`, which nobody asks of it; 1 % of two cores, all the time.
        os.environ.setdefault("RAY_task_events_report_interval_ms", "0")
        os.environ.setdefault("RAY_enable_metrics_collection", "0")
        try:
            _start_local()
        except Exception:  # Ray gives a node 30 s to come up, which a busy machine may not grant
            ray.shutdown()
            _start_again()
        return nodes()
    join(address, own_files)
    return nodes()


def _start_local() -> None:
    ray.init(
        address="local",
        num_cpus=local_cpus(),  # what requests are checked against: Ray itself rounds a quota down to 0
        include_dashboard=False,
        logging_level=logging.ERROR,
    )


def _start_again() -> None:
    try:
        _start_local()
    except Exception as error:  # Ray raises all kinds
        ray.shutdown()
        raise SweepError(
            f"Ray could not start on this machine, twice: {one_line(error)[:MAX_REASON]} Is it very busy, or "
            "short of memory or disk? Nothing is lost: run the command again. Ray's own logs: "
            "/tmp/ray/session_latest/logs"
        ) from error


def nodes() -> list[Node]:
    """Return the living nodes of the connected cluster."""
    return [
        Node(
            host=node["NodeManagerHostname"],
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            id=node["NodeID"],
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def free_nodes() -> list[Node]:
    """Return the living nodes of the connected cluster, each with what nobody uses of it now."""
    left = ray._private.state.available_resources_per_node()  # there is no public name for it
    return [
        replace(node, cpus=left[node.id].get("CPU", 0.0), gpus=left[node.id].get("GPU", 0.0))
        for node in nodes()
        if node.id in left
    ]
