"""What fresh seeds made of a sweep's best trials, and which trial is the best by that.

The figure by which a search chose its winner is the largest of many that chance had a part in: it flatters.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

from tuning.records import Mode, State, TrialRecord, best_trial
from tuning.space import is_finite

FORMAT = 2

Run = tuple[float, Mapping[str, float]] | None
"""The sweep's metric at the best epoch, and that model's metrics on the test split; None: it diverged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """A trial that was trained again with fresh seeds."""

    trial: int
    searched: float
    """The sweep's metric as the search found it."""
    values: tuple[float | None, ...]
    """The same by seed, of the best epoch on the validation split; None: it diverged."""
    test: tuple[Mapping[str, float] | None, ...]
    """Metrics of that epoch's model on the test split, by seed."""
    mean: float
    """Of `values`."""
    low: float | None
    """The 95 % confidence interval of the mean; None where the seeds came to a single figure."""
    high: float | None
    held_out: "HeldOut | None" = None
    """The metric's own figure on the test split; None in studies of earlier versions."""

    @property
    def diverged(self) -> int:
        return self.values.count(None)

    @property
    def test_means(self) -> dict[str, float]:
        found = [metrics for metrics in self.test if metrics is not None]
        return {key: sum(one[key] for one in found) / len(found) for key in (found[0] if found else ())}

    def flattered(self, mode: Mode) -> float:
        """Return by how much the search's figure is better than what was held out; negative: it is worse.

        The mean of the seeds on the validation split will not do where the test split is known: each of them
        is that of a best epoch, chosen there.
        """
        mean = self.mean if self.held_out is None else self.held_out.mean
        if math.isclose(self.searched, mean, rel_tol=1e-9):  # but for rounding
            return 0.0
        return self.searched - mean if mode == "max" else mean - self.searched

    @property
    def is_unreliable(self) -> bool:
        """Whether it diverged with half of the seeds or more."""
        return 2 * self.diverged >= len(self.values)

    def rank(self, mode: Mode) -> tuple[bool, float, int]:
        """Return what orders trials, the best first: by their mean, those that often diverged last."""
        return self.is_unreliable, self.mean if mode == "min" else -self.mean, self.trial


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """What a trial's trainings came to on the test split, which no choice has seen."""

    metric: str
    mean: float
    low: float | None
    """The 95 % confidence interval of the mean, as of `Confirmed`."""
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """Trials of a sweep that were trained again, at whatever time, each with the same seeds."""

    metric: str
    mode: Mode
    seeds: int
    trials: tuple[Confirmed, ...]
    """As the search ranks them; only those that came to a figure with some seed."""
    hopeless: tuple[int, ...]
    """Trials beside them that diverged with every seed."""
    winner: int
    """The search's best trial, which may be hopeless."""
    holds: bool
    """Whether the search's winner is still the best, as far as chance lets it be told."""
    verdict: str

    @property
    def best(self) -> Confirmed:
        return min(self.trials, key=lambda found: found.rank(self.mode))

    def of(self, trial: int) -> Confirmed | None:
        return next((found for found in self.trials if found.trial == trial), None)

    def runs(self, trial: int) -> list[Run]:
        """Return by seed what became of a trial; nothing if it was not trained again."""
        if trial in self.hopeless:
            return [None] * self.seeds
        one = self.of(trial)
        pairs = zip(one.values, one.test, strict=False) if one is not None else ()
        return [None if value is None or test is None else (value, test) for value, test in pairs]

    def over(self, trial: int) -> frozenset[int]:
        """Return the confirmed trials that a confirmed one is no worse than, itself among them."""
        one = self.of(trial)
        if one is None:
            return frozenset()
        return frozenset(o.trial for o in self.trials if o.rank(self.mode) >= one.rank(self.mode))

    def metrics(self) -> dict[str, float]:
        """Return what MLflow is to show of the best one."""
        best, found = self.best, self.best.held_out
        told = {"confirmed_mean": best.mean, "confirmed_low": best.low, "confirmed_high": best.high}
        if found is not None:
            of = f"confirmed_{found.metric}"
            told |= {f"{of}_mean": found.mean, f"{of}_low": found.low, f"{of}_high": found.high}
        return {key: value for key, value in told.items() if value is not None}

    def to_plain(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_plain(cls, plain: object) -> "Confirmation | None":
        """Return what a study holds; None where it holds none, or nothing that can be read."""
        try:
            if (
                not isinstance(plain, Mapping)
                or plain["format"] != FORMAT
                or plain["mode"] not in get_args(Mode)
            ):
                return None
            trials = tuple(map(_from_plain, plain["trials"]))
            found = cls(
                **{key: plain[key] for key in plain if key not in ("format", "trials", "hopeless")},
                trials=trials,
                hopeless=tuple(plain["hopeless"]),
            )
            numbers = (found.winner, found.seeds, *found.hopeless)
            held_out = {one.held_out and one.held_out.metric for one in trials}
            is_whole = all(type(number) is int for number in numbers) and len(held_out) == 1
            return found if is_whole and trials and all(map(_is_sound, trials)) else None
        except (KeyError, TypeError, AttributeError):
            return None


def _from_plain(one: Mapping[str, Any]) -> Confirmed:
    held_out = one.get("held_out")
    lists = {"values": tuple(one["values"]), "test": tuple(one["test"])}
    return Confirmed(**{**one, **lists, "held_out": held_out and HeldOut(**held_out)})


def _is_sound(one: Confirmed) -> bool:
    """Whether every value is of its kind, which in a study may be any."""
    means: list[Confirmed | HeldOut] = [one, *([one.held_out] if one.held_out is not None else [])]
    figures: list[float | None] = [one.searched, *(value for value in one.values if value is not None)]
    for metrics in one.test:
        figures += (metrics or {}).values()
    for mean in means:
        figures.append(mean.mean)
        if mean.low is not None or mean.high is not None:
            figures += [mean.low, mean.high]
    is_named = one.held_out is None or isinstance(one.held_out.metric, str)
    return type(one.trial) is int and is_named and all(map(is_finite, figures))


def interval_in_words(one: Confirmed | HeldOut) -> str:
    return "-" if one.low is None else f"{one.low:.5g} to {one.high:.5g}"


def _ends(one: Confirmed | HeldOut) -> list[float | None] | None:
    return None if one.low is None else [one.low, one.high]


def facts_of(found: Confirmation, one: Confirmed) -> dict[str, Any]:
    """Return what there is to say of a confirmed trial, as plain data."""
    held_out = one.held_out
    return {
        "trial": one.trial,
        "searched": one.searched,
        "mean": one.mean,
        "interval": _ends(one),
        "held_out": held_out
        and {"metric": held_out.metric, "mean": held_out.mean, "interval": _ends(held_out)},
        "flattered": one.flattered(found.mode),
        "seeds": found.seeds,
        "diverged": one.diverged,
        "values": list(one.values),
        "test": one.test_means,
    }


def best_of(trials: Iterable[TrialRecord], mode: Mode, found: Confirmation | None) -> TrialRecord | None:
    """Return the best confirmed trial; without a confirmation the best by the search's own figures."""
    trials = list(trials)
    if found is not None:
        completed = {trial.number: trial for trial in trials if trial.state is State.COMPLETED}
        if found.best.trial in completed:
            return completed[found.best.trial]
    return best_trial(trials, mode)
