"""Cohort sizes, and how many workers share a GPU, measured by tasks before a sweep's workers start."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tuning import sizing
from tuning.data import Splits
from tuning.halving import first_share
from tuning.schedule import connection, datasets, resources
from tuning.schedule.connection import Node
from tuning.schedule.gate import Gate
from tuning.schedule.resources import GPU_SHARE, num_workers, share
from tuning.schedule.worker import failed, load_splits, measure, pass_gate, prepare_process
from tuning.sizing import Sizing
from tuning.spec import Resources, SweepSpec

SHARES = (1.0, 0.5, 0.25)
"""Of a GPU per worker; documented nets use little of one."""

TIMEOUT_S = 120.0


def is_open(spec: SweepSpec, nodes: Sequence[Node], kept: Sizing | None) -> bool:
    """Whether it has to be measured how many workers share a GPU: not for a few trials."""
    if spec.resources.gpus is not None or spec.cohort != "auto" or not any(node.gpus for node in nodes):
        return False
    return (kept is None or kept.gpus is None) and sizing.most_useful(spec.trials, share(spec, nodes)[1]) > 1


def with_share(spec: SweepSpec, kept: Sizing | None) -> SweepSpec:
    """Return a spec with the share of a GPU that was measured, if it leaves that open."""
    if spec.resources.gpus is not None or kept is None or kept.gpus is None:
        return spec
    return replace(spec, resources=replace(spec.resources, gpus=kept.gpus))


def measure_shares(
    spec: SweepSpec, splits: Splits, nodes: Sequence[Node], say: Callable[[str], None]
) -> Sizing | None:
    """Measure each share with as many workers at a time as fit on one GPU; return the best one's sizing.

    None where others use every GPU now: then the usual share is taken, and a later command may measure.
    """
    if not any(node.gpus >= 1 for node in connection.free_nodes()):
        say(f"no GPU is free to measure how many workers share one: {round(1 / GPU_SHARE)} do")
        return None
    say("measuring how many workers share a GPU ...")
    found = []
    for gpus in SHARES:
        size, count = Resources(cpus=spec.resources.cpus, gpus=gpus), round(1 / gpus)
        if not any(_holds(node, size, count) for node in nodes):
            continue
        workers = min(num_workers(size, nodes), spec.max_concurrent or spec.trials, spec.trials)
        sized = replace(spec, resources=size)
        told = measure_together(sized, splits, sizing.wanted_sizes(spec.trials, workers), workers, count)
        found.append(
            (replace(sizing.from_workers(told, spec.trials, workers, first_share(spec)), gpus=gpus), workers)
        )
    return sizing.best_share(found, otherwise=GPU_SHARE)


def _holds(node: Node, size: Resources, count: int) -> bool:
    """Whether a node has a GPU, and CPUs for as many workers as shall share it."""
    return node.gpus >= 1 and node.cpus >= count * size.cpus


def measure_together(
    spec: SweepSpec, splits: Splits, sizes: Sequence[int], workers: int, count: int
) -> list[str]:
    """Return what `count` workers found who measured at the same time, on one node; errors too.

    Args:
        workers: of the sweep to come.
    """
    size = spec.resources
    gate = ray.remote(Gate).options(num_cpus=0).remote()
    task = ray.remote(max_calls=1)(_measure).options(  # its process ends, and gives up the GPU's memory
        num_cpus=size.cpus, num_gpus=size.gpus or 0, scheduling_strategy=_one_node(size, count), max_retries=0
    )
    held = datasets.put(splits)
    known = splits.num_outputs
    found = [task.remote(spec, held, known, list(sizes), workers, gate, count) for _ in range(count)]
    _, late = ray.wait(found, num_returns=count, timeout=TIMEOUT_S)
    for one in late:  # the GPUs are taken, say
        ray.cancel(one, force=True)
    return [_told(one) for one in found]


def _told(task: Any) -> str:
    try:
        found: str = ray.get(task)
        return found
    except RayError as error:  # it died, of the memory it took perhaps, or did not begin in time
        return failed(error)


def _one_node(size: Resources, count: int) -> Any:
    """Return where to run: a node that is up and holds so many workers, so that none is launched for it.

    If possible one that has room for them now.
    """
    for node in (*connection.free_nodes(), *connection.nodes()):
        if resources.count(size, [node]) >= count:
            return NodeAffinitySchedulingStrategy(node.id, soft=False)
    return "DEFAULT"


def _measure(
    spec: SweepSpec,
    held: datasets.Held | None,
    num_outputs: int,
    sizes: list[int],
    workers: int,
    gate: Any,
    count: int,
) -> str:
    try:
        device = prepare_process(spec)
        splits = load_splits(str(spec.data), spec.seed, held, num_outputs)
        pass_gate(gate, count)
        return measure(spec, splits, device, sizes, workers)
    except Exception as error:  # a user's model may raise anything
        return failed(error)
