"""How many workers of a given size a cluster holds; refuses what no node can hold."""

import contextlib
import math
import socket
import time
from collections.abc import Callable, Sequence

from tuning.errors import RequestError
from tuning.processors import local_cpus
from tuning.schedule import autoscaler, connection
from tuning.schedule.connection import Node
from tuning.spec import Resources, SweepSpec

GPU_SHARE = 0.25
"""Share of a GPU per worker where the sweep leaves it open: documented nets use little of one."""


def local_node() -> Node:
    """Return what a local cluster will have, without starting one."""
    import torch

    return Node(host=socket.gethostname(), cpus=float(local_cpus()), gpus=float(torch.cuda.device_count()))


ROOM_INTERVAL_S = 5.0
"""How often a sweep looks whether nodes have come or gone."""


def chosen(resources: Resources, nodes: Sequence[Node]) -> Resources:
    """Fill in `gpus`: a share where there are GPUs, none elsewhere."""
    if resources.gpus is not None:
        return resources
    has_gpus = any(node.gpus for node in nodes)
    return Resources(cpus=resources.cpus, gpus=GPU_SHARE if has_gpus else 0.0)


def expected_nodes() -> list[Node]:
    """Return the connected cluster's nodes; those of an autoscaler count as there before they are."""
    living, possible = connection.nodes(), autoscaler.possible_nodes()
    kinds = {(node.cpus, node.gpus) for node in possible}
    return [*possible, *(node for node in living if (node.cpus, node.gpus) not in kinds)]


def share(spec: SweepSpec, nodes: Sequence[Node]) -> tuple[Resources, int]:
    """Return what one worker of a sweep gets of the nodes, and how many workers there may be.

    Raises:
        RequestError: when not one node can hold a worker.
    """
    size = chosen(spec.resources, nodes)
    workers = num_workers(size, nodes)
    return size, min(workers, spec.max_concurrent or workers)


def room(spec: SweepSpec) -> Callable[[], int]:
    """Return what tells how many workers of a sweep the cluster holds: nodes come and go while it runs.

    Args:
        spec: with the share of the cluster that a worker gets.
    """
    told, looked_s = 1, -math.inf

    def look() -> int:
        nonlocal told, looked_s
        if time.monotonic() - looked_s > ROOM_INTERVAL_S:
            looked_s = time.monotonic()
            with contextlib.suppress(Exception):  # of Ray, of an autoscaler's file: it is as it was, then
                found = max(1, count(spec.resources, expected_nodes()))  # what is asked for may come back
                told = min(found, spec.max_concurrent or found)
        return told

    return look


def num_workers(resources: Resources, nodes: Sequence[Node]) -> int:
    """Return how many workers the nodes hold at the same time.

    Raises:
        RequestError: when not one node can hold a worker, with the arithmetic.
    """
    total = count(resources, nodes)
    if total:
        return total
    wants = f"cpus={resources.cpus:g}, gpus={resources.gpus or 0:g}"
    has = "; ".join(sorted({f"{node.host}: cpus={node.cpus:g}, gpus={node.gpus:g}" for node in nodes}))
    most = (
        f"at most --cpus-per-trial {max(node.cpus for node in nodes):g} "
        f"and --gpus-per-trial {max(node.gpus for node in nodes):g} fit (in a file: `resources`)"
    )
    raise RequestError(f"A worker needs {wants}, but no node has that ({has}); {most}.")


def count(resources: Resources, nodes: Sequence[Node]) -> int:
    """Return how many workers the nodes hold, which may be none."""
    return sum(_fits(resources, node) for node in nodes)


def _fits(resources: Resources, node: Node) -> int:
    """Workers on one node. A share of a GPU lies on one GPU: 0.4 fits twice on each, not 2.5 times."""
    bounds = []
    if resources.cpus:
        bounds.append(math.floor(node.cpus / resources.cpus + 1e-9))
    if resources.gpus:
        per_gpu = math.floor(1 / resources.gpus + 1e-9) if resources.gpus < 1 else 1
        units = node.gpus if resources.gpus < 1 else node.gpus // resources.gpus
        bounds.append(int(units) * per_gpu)
    return min(bounds)
