"""Whether competitors trained the same: a quick one that trained less would be no better."""

import math
from collections.abc import Mapping
from statistics import median

from benchmarks.trace import BenchmarkError, Measured

LOSSES = ("train_loss", "val_loss")

MOST_DIFFERENT = 0.2
"""Initial weights and order of rows are the same for all; dropout masks are not."""


def difference(one: Measured, other: Measured) -> float:
    """Return by which share the final losses of two runs differ, in the median over the trials of both.

    Of training and validation loss the larger difference.
    """
    both = min(one.num_trials, other.num_trials)
    return max(
        median(
            abs(a - b) / max(abs(a), abs(b))
            for a, b in zip(one.finals[key][:both], other.finals[key][:both], strict=True)
            if math.isfinite(a) and math.isfinite(b)
        )
        for key in LOSSES
    )


def check_same_training(
    measured: Mapping[str, Measured], reference: str, most: float = MOST_DIFFERENT
) -> None:
    """Refuse a round in which somebody's trials ended elsewhere than those of `reference`."""
    for name, one in measured.items():
        found = difference(one, measured[reference])
        if found > most:
            raise BenchmarkError(
                f"Final losses of {name} and {reference} may differ by {most:.0%} in the median "
                f"over the trials, but differ by {found:.0%}: they did not train the same."
            )
