"""Measuring cohort sizes before a sweep, for who wants to know what it would do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tuning.data import Splits
from tuning.errors import SweepError
from tuning.halving import first_share
from tuning.schedule import resources, sharing, shipping
from tuning.schedule.connection import Node, connect, free_nodes
from tuning.schedule.resources import expected_nodes, local_node, share
from tuning.schedule.worker import failed
from tuning.sizing import Sizing, from_workers, wanted_sizes, without_measuring
from tuning.spec import Resources, SweepSpec


@dataclass(frozen=True, slots=True)
class Layout:
    """What would run where."""

    nodes: Sequence[Node]
    """Those that an autoscaler may add among them."""
    resources: Resources
    workers: int
    sizing: Sizing

    def seconds(self, trials: int) -> float | None:
        """Return how long so many trials train to their last epoch; None where nothing was measured."""
        chosen = self.sizing.chosen
        return chosen.seconds(trials, self.workers) if chosen else None


def lay_out(spec: SweepSpec, splits: Splits, kept: Sizing | None, say: Callable[[str], None]) -> Layout:
    """Return how a complete spec would run on its cluster; a local one is started to measure on.

    Args:
        kept: what was measured before.
        say: told what takes time.

    Raises:
        RequestError: when the cluster cannot be reached, or holds no such worker.
    """
    if spec.address is None:
        here = [local_node()]
        size, workers, known = _without_measuring(spec, kept, here)
        if known is not None:
            return Layout(here, size, workers, known)
    with connect(spec.address, own_files=shipping.of([spec])) as cluster:
        living, nodes = cluster.nodes(), expected_nodes()
        if sharing.is_open(spec, living, kept):
            kept = sharing.measure_shares(spec, splits, living, say) or kept
        size, workers, found = _without_measuring(spec, kept, nodes)
        if found is None:
            used = min(workers, spec.trials)
            told = _measured(replace(spec, resources=size), splits, used, living, say)
            found = from_workers(told, spec.trials, used, first_share(spec))
        return Layout(nodes, size, workers, found)


def _measured(
    spec: SweepSpec, splits: Splits, workers: int, living: Sequence[Node], say: Callable[[str], None]
) -> list[str]:
    """Measure on a node that is up: no autoscaler shall buy one to answer a question."""
    most = max((resources.count(spec.resources, [node]) for node in living), default=0)
    if not most:
        return [failed(SweepError("no node that holds a worker is up yet; the sweep will measure"))]
    say("measuring cohort sizes ...")
    sizes = wanted_sizes(spec.trials, workers)
    at_once = max(1, min(workers, most, resources.count(spec.resources, free_nodes())))
    return sharing.measure_together(spec, splits, sizes, workers, count=at_once)


def _without_measuring(
    spec: SweepSpec, kept: Sizing | None, nodes: Sequence[Node]
) -> tuple[Resources, int, Sizing | None]:
    size, workers = share(sharing.with_share(spec, kept), nodes)
    if sharing.is_open(spec, nodes, kept):
        return size, workers, None
    used = min(workers, spec.trials)
    return size, workers, without_measuring(spec.cohort, spec.trials, used, kept, spec.ranks)
