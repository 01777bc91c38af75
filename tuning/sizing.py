"""How many trials train together, chosen from what was measured.

Larger cohorts train more trials per second, up to what the device's caches, cores and memory hold; but
the configurations of a cohort are suggested together, knowing less than if they came one by one.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Literal

from tuning import storage
from tuning.space import is_finite

ROUNDS = 4
"""Cohorts that each worker has at least: the search learns between them."""

ENOUGH = 0.9
"""Share of the highest speed for which the smallest cohort is taken."""

IN_TURN_S = 3.0
"""Where a stack is no faster, a worker gets as many trials at once as take it this long: from the end of one
cohort to the start of the next passes, and goes into driver and records, about a tenth of a second."""

MOST_IN_TURN = 4
"""They are suggested together, and gain little by it."""

MEMORY_SHARE = 0.8
"""Share of a worker's memory that a cohort may be expected to take."""

SIZES = tuple(2**n for n in range(11))
"""Sizes that may be chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What training with a cohort of some size was found to be."""

    size: int
    trials_per_s: float
    """Trials trained to their last epoch, by one worker, per second."""
    memory_bytes: int
    """At the peak; of the GPU where there is one, else of the stacked tensors and their gradients."""
    startup_s: float = 0.0
    """Building the models and what the first step takes longer than others: once for each cohort."""

    def seconds(self, trials: int, workers: int) -> float:
        """Return how long so many trials train, cohort after cohort, to their last epoch."""
        cohorts = math.ceil(trials / self.size)
        busy = min(workers, cohorts)
        return trials / (self.trials_per_s * busy) + math.ceil(cohorts / busy) * self.startup_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """The cohort size of a sweep, and why it is so."""

    size: int
    why: str
    device: str
    in_turn: int = 1
    """New trials of a cohort where `size` is 1: each trains an epoch alone, then the next one."""
    asked: tuple[int, ...] = ()
    """Sizes that were to be measured; larger ones than those that were did not pay or fit."""
    measured: tuple[Measured, ...] = ()
    gpus: float | None = None
    """Share of a GPU per worker that was found best; None where that was not in question."""

    @property
    def chosen(self) -> Measured | None:
        """What was measured of the size; None where nothing was."""
        return next((one for one in self.measured if one.size == self.size), None)

    @property
    def trials_per_s(self) -> float:
        """Of one worker; 0 where that was not measured."""
        return self.chosen.trials_per_s if self.chosen else 0.0

    def speedup(self, size: int) -> float:
        """Return how many times as many trials per second so many are as one by one; 1 if nobody knows.

        By what was measured of that size, or of the next smaller one.
        """
        rates = {one.size: one.trials_per_s for one in self.measured if one.size <= size}
        return rates[max(rates)] / rates[1] if 1 in rates else 1.0

    def keep(self, file: Path) -> None:
        storage.write(str(file), (json.dumps(asdict(self), indent=2) + "\n").encode())

    @classmethod
    def load(cls, file: Path) -> "Sizing | None":
        """Return what was kept; None if nothing was, or nothing that can be read."""
        try:
            plain = json.loads(file.read_text(encoding="utf-8"))
            measured = tuple(Measured(**found) for found in plain["measured"])
            kept = cls(**{**plain, "asked": tuple(plain["asked"]), "measured": measured})
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return kept if kept._is_sound() else None

    def _is_sound(self) -> bool:
        """Whether every value is of its kind, which in a file may be any."""
        counts = (self.size, self.in_turn, *self.asked, *(one.size for one in self.measured))
        amounts = [
            value for one in self.measured for value in (one.trials_per_s, one.memory_bytes, one.startup_s)
        ]
        return (
            all(type(count) is int and count >= 1 for count in counts)
            and all(is_finite(amount) for amount in amounts)
            and all(one.trials_per_s > 0 for one in self.measured)
            and 1 in (self.size, self.in_turn)
            and (self.gpus is None or (is_finite(self.gpus) and self.gpus > 0))
            and isinstance(self.why, str)
            and isinstance(self.device, str)
        )

    def describe(self) -> str:
        if self == NOT_MEASURED:
            return self.why
        at_a_time = f", a worker gets {self.in_turn} at a time" if self.in_turn > 1 else ""
        together = (
            f"{self.size} trials train together" if self.size > 1 else f"each trial trains alone{at_a_time}"
        )
        shared = f", {round(1 / self.gpus)} such workers on a GPU" if self.gpus else ""
        return f"{together}{shared}: {self.why}"


NOT_MEASURED = Sizing(size=1, why="not measured yet", device="")


def most_useful(trials: int, workers: int) -> int:
    """Return the largest cohort with which every worker has `ROUNDS` of them, at least 1."""
    return max(1, trials // (workers * ROUNDS))


def wanted_sizes(trials: int, workers: int) -> tuple[int, ...]:
    """Return the sizes worth measuring for a sweep."""
    return tuple(size for size in SIZES if size <= most_useful(trials, workers))


def without_measuring(
    cohort: int | Literal["auto"], trials: int, workers: int, kept: Sizing | None = None, ranks: int = 1
) -> Sizing | None:
    """Return the size where there is nothing to measure; None where there is.

    Args:
        ranks: GPUs that a trial has.
        kept: what was measured before, which serves again as long as the same sizes are in question.
    """
    if ranks > 1:
        return Sizing(size=1, why=f"on {ranks} GPUs", device="")
    if cohort != "auto":
        return Sizing(size=cohort, why="as asked", device="")
    asked = wanted_sizes(trials, workers)
    if kept is not None and kept.asked == asked:
        return kept
    if len(asked) > 1:
        return None
    each = (
        f"of so few trials ({trials}) each is chosen better knowing what those before it found; from "
        f"{2 * ROUNDS * workers} on, {2 * ROUNDS} for each of {workers} workers, they may train together"
    )
    return Sizing(size=1, why=each, device="", asked=asked)


def from_workers(found: Sequence[str], trials: int, workers: int, first_share: float) -> Sizing:
    """Choose a size from what workers have measured at the same time, a JSON object each.

    Args:
        first_share: part of a trial that a cohort trains before there is a decision.
    """
    plain = [json.loads(text) for text in found]
    good = [one for one in plain if one.get("measured")]
    asked = wanted_sizes(trials, workers)
    if not good:
        errors = [str(one["error"]) for one in plain if "error" in one] or ["the workers died over it"]
        return Sizing(
            size=1, why=f"larger cohorts could not be measured ({errors[0]})", device="", asked=asked
        )
    of_workers = [([Measured(**item) for item in one["measured"]], str(one["note"])) for one in good]
    measured, note = together(of_workers)
    size, why = choose(measured, trials, workers, note)
    sizing = Sizing(size=size, why=why, device=good[0]["device"], asked=asked, measured=tuple(measured))
    if size > 1:
        return sizing
    memory_bytes = min(one["memory_bytes"] for one in good)
    return replace(
        sizing, in_turn=in_turn(measured[0], first_share, most_useful(trials, workers), memory_bytes)
    )


def in_turn(alone: Measured, first_share: float, most: int, memory_bytes: float) -> int:
    """Return how many trials that train alone make a cohort: models of all are in memory.

    Args:
        first_share: part of a trial that the cohort trains.
        most: trials of a cohort that are useful.
        memory_bytes: of a worker.
    """
    enough = round(IN_TURN_S * alone.trials_per_s / first_share)
    held = int(MEMORY_SHARE * memory_bytes / max(1, alone.memory_bytes))
    return max(1, min(enough, held, most, MOST_IN_TURN))


def choose(measured: Sequence[Measured], trials: int, workers: int, note: str = "") -> tuple[int, str]:
    """Return the smallest size that is nearly as fast as the fastest, and why.

    Args:
        measured: of every size tried, the smallest first; at least of size 1.
        note: why no larger size was tried, if there is a reason of its own.
    """
    fastest = max(one.trials_per_s for one in measured)
    enough = next(one for one in measured if one.trials_per_s >= ENOUGH * fastest)
    if enough.size == 1:
        is_limited = 2 * measured[-1].size > most_useful(trials, workers)
        more = "; a sweep of more trials tries more at once" if is_limited else ""
        return 1, note or f"training {_sizes(measured)} at once is not faster here{more}"
    why = f"{enough.trials_per_s / measured[0].trials_per_s:.1f} times as many per second as one by one"
    if enough.size == measured[-1].size and (note or 2 * enough.size > most_useful(trials, workers)):
        few = f"with more at once, {workers} workers would have fewer than {ROUNDS} cohorts each"
        limit = note or f"{few}, between which the search learns"
        why += f"; {limit}"
    return enough.size, why


def _sizes(measured: Sequence[Measured]) -> str:
    sizes = [one.size for one in measured if one.size > 1]
    return f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else f"{sizes[0] if sizes else 'more'}"


def best_share(found: Sequence[tuple[Sizing, int]], otherwise: float) -> Sizing:
    """Return the one with the fewest workers on a GPU that nearly reach the highest speed.

    Args:
        found: of several shares of a GPU, the largest first, each with the workers that there would be.
        otherwise: the share that is taken where none could be measured.
    """
    rates = [one.trials_per_s * workers for one, workers in found]
    if not any(rates):
        return replace(found[0][0], gpus=otherwise)
    return next(one for (one, _), rate in zip(found, rates, strict=True) if rate >= ENOUGH * max(rates))


def together(of_workers: Sequence[tuple[Sequence[Measured], str]]) -> tuple[list[Measured], str]:
    """Return the mean of each size over the workers that measured it, and why no larger one can be had.

    A worker that stopped early says little: it may just then have been slow. One that says why it could not
    go on, for memory or because the model cannot be stacked, limits all.

    Args:
        of_workers: what each measured at the same time, and why it could not go on, if so.
    """
    limits = [(measured[-1].size, note) for measured, note in of_workers if note]
    most, note = min(limits, default=(SIZES[-1], ""))
    by_size: dict[int, list[Measured]] = {}
    for one in (one for measured, _ in of_workers for one in measured if one.size <= most):
        by_size.setdefault(one.size, []).append(one)
    return [_mean(by_size[size]) for size in sorted(by_size)], note


def _mean(found: Sequence[Measured]) -> Measured:
    return Measured(
        size=found[0].size,
        trials_per_s=fmean(one.trials_per_s for one in found),
        memory_bytes=max(one.memory_bytes for one in found),
        startup_s=fmean(one.startup_s for one in found),
    )
