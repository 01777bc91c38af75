"""A Ray cluster in a process of its own: a head that trains nothing, and two nodes of one CPU each."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.chaos import processes

NODES = 2


@dataclass(frozen=True)
class Nodes:
    address: str
    gcs: int
    raylets: list[int]
    """Of the nodes that train."""

    def training(self) -> set[int]:
        """Return all processes of a node that trains."""
        for raylet in self.raylets:
            found = processes.below(raylet)
            if any("run_cohort" in one.command or "ImplicitFunc" in one.command for one in found.values()):
                return {raylet, *found}
        raise AssertionError("no node trains")


@contextmanager
def nodes(environment: Mapping[str, str]) -> Iterator[Nodes]:
    """Start the cluster; stop it, and all that belongs to it, at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.cluster"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        line = next(line for line in process.stdout if line.startswith("{"))
        yield Nodes(**json.loads(line))
    finally:
        session = {pid for pid, one in processes.processes().items() if one.session == process.pid}
        processes.kill(session | processes.below(process.pid).keys())
        process.wait()
        process.stdout.close()


def main() -> None:
    from tuning.schedule import connection  # sets what Ray reads when it is imported

    assert connection.nodes is not None
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    workers = [cluster.add_node(num_cpus=1) for _ in range(NODES)]
    raylets = [node.all_processes["raylet"][0].process.pid for node in workers]
    (gcs,) = cluster.head_node.all_processes["gcs_server"]
    print(json.dumps({"address": cluster.address, "gcs": gcs.process.pid, "raylets": raylets}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
