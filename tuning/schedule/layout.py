"""Measuring cohort sizes before a sweep, for who wants to know what it would do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tuning.schedule import sharing
from tuning.schedule.connection import Node, connect
from tuning.schedule.resources import local_node, share
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
        nodes = cluster.nodes()
        if sharing.is_open(spec, nodes, kept):
            kept = sharing.measure_shares(spec, nodes, say)
        size, workers, found = _without_measuring(spec, kept, nodes)
        if found is None:
            say("measuring cohort sizes ...")
            used = min(workers, spec.trials)
            sizes = wanted_sizes(spec.trials, used)
            told = sharing.measure_together(replace(spec, resources=size), sizes, used, count=1)
            found = from_workers(told, spec.trials, used)
        return Layout(size, workers, found)


def _without_measuring(
    spec: SweepSpec, kept: Sizing | None, nodes: Sequence[Node]
) -> tuple[Resources, int, Sizing | None]:
    size, workers = share(sharing.with_share(spec, kept), nodes)
    if sharing.is_open(spec, nodes, kept):
        return size, workers, None
    return size, workers, without_measuring(spec.cohort, spec.trials, min(workers, spec.trials), kept)
