"""What a sweep has cost in hours of its workers' GPUs (or CPUs), and what was saved.

Counted in epochs, of which the study knows how many each trial has trained, whatever died meanwhile; and by
what an epoch of a trial has taken its worker, on average.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tuning.records import State, TrialRecord
from tuning.sizing import Sizing
from tuning.spec import SweepSpec

LEAST_HOURS = 0.1
"""What took less is told in seconds."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Hours of training; reading data, measuring cohorts and waiting are not among them."""

    unit: str
    """What is counted: `gpu` or `cpu`."""
    used: float
    saved_by_early_stopping: float
    """Had every trial that was stopped early trained to its last epoch."""
    saved_by_cohorts: float
    """Had every trial of a cohort trained alone, by what was measured of that; 0 where nothing was."""

    def to_plain(self) -> dict[str, float]:
        """Return the hours by name, as metrics."""
        hours = f"{self.unit}_hours"
        return {
            hours: self.used,
            f"{hours}_saved_by_early_stopping": self.saved_by_early_stopping,
            f"{hours}_saved_by_cohorts": self.saved_by_cohorts,
        }

    def describe(self) -> str:
        factor, time = (1, "hours") if self.used >= LEAST_HOURS else (3600, "seconds")
        unit = f"{self.unit.upper()}-{time}"
        saved = [
            f"{words} saved {amount(factor * value)} {unit}"
            for words, value in (
                ("early stopping", self.saved_by_early_stopping),
                ("cohorts", self.saved_by_cohorts),
            )
            if value
        ]
        return "; ".join([f"{amount(factor * self.used)} {unit} of training", *saved])


def cost(
    spec: SweepSpec, trials: Sequence[TrialRecord], sizing: Sizing, epoch_s: tuple[float, float] | None
) -> Cost | None:
    """Return what a sweep has cost so far; None before the first epoch.

    Args:
        epoch_s: what an epoch of a trial took, on average, in seconds of CPUs and of GPUs; of a trial in a
            cohort, its share of the cohort's.
    """
    if epoch_s is None:
        return None
    cpu_s, gpu_s = epoch_s
    epoch_h = (gpu_s or cpu_s) / 3600
    used = sum(max(trial.values, default=0) for trial in trials)
    spared = sum(
        (spec.epochs or 0) - max(trial.values, default=0) for trial in trials if trial.state is State.PRUNED
    )
    return Cost(
        unit="gpu" if gpu_s else "cpu",
        used=used * epoch_h,
        saved_by_early_stopping=spared * epoch_h,
        saved_by_cohorts=epoch_h * _spared_by_cohorts(trials, sizing),
    )


def _spared_by_cohorts(trials: Sequence[TrialRecord], sizing: Sizing) -> float:
    """Return in epochs what training alone would have taken more; by each trial's last stack."""
    return sum(max(trial.values, default=0) * (sizing.speedup(trial.width) - 1) for trial in trials)


def amount(value: float) -> str:
    """Return hours, or seconds, in two digits at least."""
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"
