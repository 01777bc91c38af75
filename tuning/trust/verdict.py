"""Whether the search's winner is the best: what fresh seeds say against it.

The claim: no other of the trials that were trained again is better than the winner. It does not hold where
another one's mean is better by more than chance makes (Welch's t-test, two-sided, at 5 % over all of them:
Bonferroni), or where the winner diverged with half of the seeds or more. That it holds does not mean that the
winner's mean is the best: among equals chance decides, and `best` goes by the means.
"""

import math
import statistics
from collections.abc import Mapping, Sequence

from tuning.confirmed import Confirmation, Confirmed, HeldOut, Run
from tuning.records import Mode
from tuning.trust.statistics import LEVEL, Interval, confidence, prediction, welch

RANGES = {"accuracy": Interval(0.0, 1.0), "loss": Interval(0.0, math.inf)}
"""Values that a metric can have, by the end of its name."""

ALL = Interval(-math.inf, math.inf)


def summary(trial: int, searched: float, runs: Sequence[Run], metric: str = "") -> Confirmed | None:
    """Return what fresh seeds, a run each, made of a trial; None if it diverged with every one.

    Args:
        metric: the interval holds no value that it cannot have: no accuracy above 1, no loss below 0.
    """
    found = [run for run in runs if run is not None]
    if not found:
        return None
    low, high = _interval([value for value, _ in found], metric)
    return Confirmed(
        trial=trial,
        searched=searched,
        values=tuple(run and run[0] for run in runs),
        test=tuple(run and dict(run[1]) for run in runs),
        mean=statistics.fmean(value for value, _ in found),
        low=low,
        high=high,
        held_out=_held_out([metrics for _, metrics in found], metric),
    )


def _interval(values: Sequence[float], metric: str) -> tuple[float, float] | tuple[None, None]:
    """Return the ends of the mean's interval, as far as the metric can have such values."""
    found = confidence(values)
    if found is None:
        return None, None
    kept = found.within(RANGES.get(metric.rpartition("_")[2], ALL))
    return kept.low, kept.high


def _held_out(tests: Sequence[Mapping[str, float]], metric: str) -> HeldOut | None:
    """Return what the metric's own figure comes to on the test split."""
    name = f"test_{metric.removeprefix('val_')}"
    values = [metrics[name] for metrics in tests if name in metrics]
    if not values:
        return None
    low, high = _interval(values, name)
    return HeldOut(metric=name, mean=statistics.fmean(values), low=low, high=high)


def judge(
    metric: str,
    mode: Mode,
    seeds: int,
    trials: Sequence[Confirmed],
    hopeless: Sequence[int] = (),
    winner: int | None = None,
) -> Confirmation:
    """Return the confirmation of these trials, in the order of the search.

    Args:
        hopeless: trials beside them that diverged with every seed.
        winner: the search's, if it may be one of those; else the first.
    """
    first, *others = trials
    against = "" if winner in (None, first.trial) else f"trial {winner} diverged with every fresh seed"
    against = against or _against(first, others, mode)
    verdict = against or _for(first, others, mode)
    if first.diverged and not against:
        verdict += f"; {_diverged(first)}"
    besides = [number for number in hopeless if number != winner]
    if besides:
        verdict += f"; diverged with every fresh seed: {', '.join(map(str, besides))}"
    return Confirmation(
        metric=metric,
        mode=mode,
        seeds=seeds,
        trials=tuple(trials),
        hopeless=tuple(hopeless),
        winner=first.trial if winner is None else winner,
        holds=not against,
        verdict=verdict,
    )


def _against(winner: Confirmed, others: Sequence[Confirmed], mode: Mode) -> str:
    """Return what says that the winner is not the best; nothing if nothing does."""
    if winner.is_unreliable:
        return _diverged(winner)
    better = [other for other in others if other.rank(mode) < winner.rank(mode)]
    for other in sorted(better, key=lambda other: other.rank(mode)):
        p = _p(winner, other)
        if p < LEVEL / len(others):
            return (
                f"trial {other.trial} is better than trial {winner.trial}, {other.mean:.5g} to "
                f"{winner.mean:.5g} in the mean, by more than chance makes (p = {p:.2g})"
            )
    return ""


def _diverged(one: Confirmed) -> str:
    return f"trial {one.trial} diverged with {one.diverged} of {len(one.values)} fresh seeds"


def _p(one: Confirmed, other: Confirmed) -> float:
    """Return how likely two means differ as much by chance; 1 where too few seeds are left to tell."""
    values = [[value for value in found.values if value is not None] for found in (one, other)]
    return welch(*values) if min(map(len, values)) > 1 else 1.0


def _for(winner: Confirmed, others: Sequence[Confirmed], mode: Mode) -> str:
    if not others:
        return f"there is no other trial to compare trial {winner.trial} with"
    best = min((winner, *others), key=lambda found: found.rank(mode))
    said = f"no other of the {len(others) + 1} is better than trial {winner.trial} by more than chance makes"
    if best is winner:
        return said
    return f"{said}; trial {best.trial} has the better mean, {best.mean:.5g} to {winner.mean:.5g}"


def is_typical(found: Confirmed) -> bool | None:
    """Whether the search's figure is one that a further seed may well give: 19 of 20 lie as near.

    None where the seeds came to a single figure, which tells nothing of that.
    """
    interval = prediction([value for value in found.values if value is not None])
    return None if interval is None else found.searched in interval
