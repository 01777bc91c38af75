"""Which trials go on at a rung: every value the sweep has goes in, decisions come out.

`asha` is the stopping rule of asynchronous successive halving (Li et al., A System for Massively
Parallel Hyperparameter Tuning, MLSys 2020); `median` is the rule of Golovin et al., Google Vizier,
KDD 2017, section 3.2.1.
"""

import bisect
import statistics
from collections.abc import Collection, Mapping, Sequence

from tuning.records import Mode
from tuning.spec import EarlyStopping, SweepSpec


def rungs(grace_epochs: int, reduction: int, epochs: int) -> tuple[int, ...]:
    """Return the epochs grace * reduction^n below `epochs`, ascending."""
    found = []
    epoch = grace_epochs
    while epoch < epochs:
        found.append(epoch)
        epoch *= reduction
    return tuple(found)


def rungs_of(stopping: EarlyStopping, epochs: int) -> tuple[int, ...]:
    """Return the epochs at which a sweep decides upon its trials."""
    return rungs(stopping.grace_epochs, stopping.reduction, epochs) if stopping.kind != "none" else ()


def next_stop(epoch: int, stops: Sequence[int], epochs: int) -> int:
    """Return the epoch at which a trial that has trained `epoch` epochs is next decided upon."""
    return next((stop for stop in stops if stop > epoch), epochs)


def first_share(spec: SweepSpec) -> float:
    """Return which part of a whole trial's epochs comes before it is decided upon for the first time."""
    epochs = spec.epochs or 1
    return next_stop(0, rungs_of(spec.early_stopping, epochs), epochs) / epochs


def asha_cutoff(values: Collection[float], reduction: int, mode: Mode) -> float:
    """Return the worst value that goes on.

    The best value always goes on, so the first trial at a rung does; equal values share a fate.
    """
    ranked = sorted(values, reverse=mode == "max")
    return ranked[max(len(ranked) // reduction, 1) - 1]


def is_worse(value: float, bound: float, mode: Mode) -> bool:
    return not (value <= bound if mode == "min" else value >= bound)


def running_mean(values: Mapping[int, float], epoch: int) -> float:
    return statistics.fmean(value for at, value in values.items() if at <= epoch)


def best_so_far(values: Mapping[int, float], epoch: int, mode: Mode) -> float:
    so_far = [value for at, value in values.items() if at <= epoch]
    return min(so_far) if mode == "min" else max(so_far)


class Stopper:
    """Decides for many trials at once, over all values that the sweep has at a rung.

    Args:
        stopping: the rule.
        epochs: of a trial that is not stopped.
        values: metric per epoch of every trial, by number, as far as known; `told` adds to them.
    """

    def __init__(
        self, stopping: EarlyStopping, epochs: int, mode: Mode, values: Mapping[int, Mapping[int, float]]
    ) -> None:
        self._stopping, self._mode = stopping, mode
        self._values = {number: dict(found) for number, found in values.items()}
        self.rungs = rungs_of(stopping, epochs)

    def told(self, number: int, epoch: int, value: float) -> None:
        self._values.setdefault(number, {})[epoch] = value

    def going_on(self, numbers: Collection[int], rung: int) -> set[int]:
        """Return which of these trials, all of which have come to `rung`, go on."""
        at_rung = {number: found for number, found in self._values.items() if rung in found}
        if self._stopping.kind == "median":
            means = {number: running_mean(found, rung) for number, found in at_rung.items()}
            ranked = sorted(means.values())
            return {number for number in numbers if self._beats_median(number, means[number], ranked, rung)}
        values = [found[rung] for found in at_rung.values()]
        cutoff = asha_cutoff(values, self._stopping.reduction, self._mode) if numbers else 0.0
        return {number for number in numbers if not is_worse(at_rung[number][rung], cutoff, self._mode)}

    def _beats_median(self, number: int, own_mean: float, ranked: Sequence[float], rung: int) -> bool:
        """Whether a trial is as good as the median of the others' means; `ranked` holds its own as well."""
        own = bisect.bisect_left(ranked, own_mean)
        others = [*ranked[:own], *ranked[own + 1 :]]
        best = best_so_far(self._values[number], rung, self._mode)
        return not others or not is_worse(best, statistics.median(others), self._mode)
