"""Which trials go on at a rung. Pure: every value the sweep has goes in, one decision comes out.

`asha` is the stopping rule of asynchronous successive halving (Li et al., A System for Massively
Parallel Hyperparameter Tuning, MLSys 2020); `median` is the rule of Golovin et al., Google Vizier,
KDD 2017, section 3.2.1.
"""

import statistics
from collections.abc import Collection, Mapping, Sequence

from tuning.records import Mode


def rungs(grace_epochs: int, reduction: int, epochs: int) -> tuple[int, ...]:
    """Return the epochs grace * reduction^n below `epochs`, ascending."""
    found = []
    epoch = grace_epochs
    while epoch < epochs:
        found.append(epoch)
        epoch *= reduction
    return tuple(found)


def next_stop(epoch: int, stops: Sequence[int], epochs: int) -> int:
    """Return the epoch at which a trial that has trained `epoch` epochs is next decided upon."""
    return next((stop for stop in stops if stop > epoch), epochs)


def asha_goes_on(value: float, values: Collection[float], reduction: int, mode: Mode) -> bool:
    """Whether `value` is in the best 1/`reduction` of `values`, all of that rung, its own included.

    The best value always goes on, so the first trial at a rung does; equal values share a fate.
    """
    ranked = sorted(values, reverse=mode == "max")
    cutoff = ranked[max(len(ranked) // reduction, 1) - 1]
    return value <= cutoff if mode == "min" else value >= cutoff


def median_goes_on(
    values: Mapping[int, float], others: Collection[Mapping[int, float]], epoch: int, mode: Mode
) -> bool:
    """Whether a trial's best value so far is no worse than the others' median running mean.

    `values` and each of `others` map epochs to values; others that have not come to `epoch` are
    left out, and without any the trial goes on.
    """
    means = [
        statistics.fmean(value for at, value in other.items() if at <= epoch)
        for other in others
        if epoch in other
    ]
    if not means:
        return True
    median = statistics.median(means)
    so_far = [value for at, value in values.items() if at <= epoch]
    return min(so_far) <= median if mode == "min" else max(so_far) >= median
