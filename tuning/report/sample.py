"""Which trials are drawn where there are too many: the best, and a random draw of the others."""

import random
from collections.abc import Iterable, Sequence

from tuning.records import Mode, TrialRecord, ranked

BEST_SHARE = 0.2
"""The part of a sample that the best trials take."""


def sample(trials: Sequence[TrialRecord], most: int, mode: Mode) -> list[TrialRecord]:
    """Return at most `most` trials in order of number, always the same of the same ones."""
    if len(trials) <= most:
        return list(trials)
    best = ranked(trials, mode)[: max(1, int(BEST_SHARE * most))]
    chosen = {trial.number for trial in best}
    others = [trial for trial in trials if trial.number not in chosen]
    drawn = random.Random(0).sample(others, most - len(best))
    return sorted([*best, *drawn], key=lambda trial: trial.number)


def thinned(epochs: Iterable[int], most: int) -> list[int]:
    """Return at most `most` epochs, evenly spread, the first and the last among them."""
    every = sorted(epochs)
    if len(every) <= most:
        return every
    step = (len(every) - 1) / (most - 1)
    return [every[round(index * step)] for index in range(most)]
