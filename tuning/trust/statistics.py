"""What a few trainings say of all that there could be: means, intervals, and whether two means differ."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtr, stdtrit

LEVEL = 0.05
"""What a test may be wrong in, where there is no difference; an interval misses the mean as often."""


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def within(self, other: "Interval") -> "Interval":
        return Interval(max(self.low, other.low), min(self.high, other.high))


def confidence(values: Sequence[float]) -> Interval | None:
    """Return the 95 % confidence interval of the mean, by Student's t; None where nothing tells it.

    That is of one value, and of several that are equal, as accuracies of few examples may be: a spread of 0
    that two or three values happen to have would make it a certainty.
    """
    return _around(values, 1 / len(values))


def prediction(values: Sequence[float]) -> Interval | None:
    """Return where one more value would lie 19 times out of 20, by Student's t; None as of `confidence`."""
    return _around(values, 1 + 1 / len(values))


def _around(values: Sequence[float], share: float) -> Interval | None:
    if len(set(values)) < 2:
        return None
    mean = statistics.fmean(values)
    quantile = float(stdtrit(len(values) - 1, 1 - LEVEL / 2))
    half = quantile * statistics.stdev(values) * math.sqrt(share)
    return Interval(mean - half, mean + half)


def welch(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how likely two means differ as much by chance: the two-sided p of Welch's t-test.

    Where all values of each side are equal, as accuracies of few examples may be, there is no variance to go
    by: then it is the chance that so many values fall apart into these two sides (a permutation test).

    Args:
        one, other: at least two values each.
    """
    squares = [statistics.variance(values) / len(values) for values in (one, other)]
    apart = abs(statistics.fmean(one) - statistics.fmean(other))
    if not sum(squares):
        return 2 / math.comb(len(one) + len(other), len(one)) if apart else 1.0
    freedom = sum(squares) ** 2 / sum(
        square**2 / (len(values) - 1) for square, values in zip(squares, (one, other), strict=True)
    )
    return 2 * float(stdtr(freedom, -apart / math.sqrt(sum(squares))))
