"""Measuring cohort sizes before a sweep, for who wants to know what it would do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import ray

from tuning.references import load_data
from tuning.schedule.connection import Node, connect
from tuning.schedule.resources import local_node, share
from tuning.schedule.trainable import measure, prepare_process
from tuning.sizing import Sizing, from_workers, wanted_sizes, without_measuring
from tuning.spec import Resources, SweepSpec


@dataclass(frozen=True, slots=True)
class Layout:
    """What would run where."""

    resources: Resources
    workers: int
    sizing: Sizing


def lay_out(spec: SweepSpec, kept: Sizing | None, say: Callable[[str], None]) -> Layout:
    """Return how a complete spec would run on its cluster; a local one is started to measure on.

    Args:
        kept: what was measured before.
        say: told what takes time.

    Raises:
        RequestError: when the cluster cannot be reached, or holds no such worker.
    """
    if spec.address is None:
        size, workers, known = _without_measuring(spec, kept, [local_node()])
        if known is not None:
            return Layout(size, workers, known)
    with connect(spec.address) as cluster:
        size, workers, found = _without_measuring(spec, kept, cluster.nodes())
        if found is None:
            say("measuring cohort sizes ...")
            task = ray.remote(_measure).options(num_cpus=size.cpus, num_gpus=size.gpus or 0)
            used = min(workers, spec.trials)
            sizes = list(wanted_sizes(spec.trials, used))
            told: str = ray.get(task.remote(replace(spec, resources=size), sizes, used))
            found = from_workers([told], spec.trials, used)
        return Layout(size, workers, found)


def _without_measuring(
    spec: SweepSpec, kept: Sizing | None, nodes: Sequence[Node]
) -> tuple[Resources, int, Sizing | None]:
    size, workers = share(spec, nodes)
    return size, workers, without_measuring(spec.cohort, spec.trials, min(workers, spec.trials), kept)


def _measure(spec: SweepSpec, sizes: list[int], workers: int) -> str:
    device = prepare_process(spec)
    return measure(spec, load_data(str(spec.data), seed=spec.seed), device, sizes, workers)
