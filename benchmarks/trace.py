"""The trace of a run: one JSON line per trained epoch, and what follows from it.

Competitors write down only what they trained and when. Every figure is computed here, in the same
way for all, on one clock: CLOCK_MONOTONIC is the same in all processes of a machine.
"""

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.job import Job


class BenchmarkError(Exception):
    """A competitor did not do its job, so that its time means nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One epoch of training and validation, as it was done."""

    trial: int
    """Index of its configuration in the job."""
    worker: int
    """Process id."""
    epoch: int
    """Counted from 1."""
    start_s: float
    end_s: float
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one run of one competitor took."""

    startup_s: float
    """From the start of its process to the start of the first epoch."""
    trials_s: float
    """From there to the end of the last epoch."""
    tail_s: float
    """From there to the end of the process."""
    workers: int
    """Processes that trained."""
    busy: float
    """Seconds spent in epochs over `cores` times `trials_s`."""
    balance: float | None
    """Epoch seconds of the least over those of the most busy worker, 0 if a core had none; None where
    workers came and went."""
    finals: dict[str, list[float]]
    """Each trial's metrics after its last epoch; not finite where it diverged."""

    @property
    def whole_s(self) -> float:
        return self.startup_s + self.trials_s + self.tail_s

    @property
    def num_trials(self) -> int:
        return len(next(iter(self.finals.values())))

    @property
    def trials_per_s(self) -> float:
        return self.num_trials / self.trials_s

    @property
    def all_in_per_s(self) -> float:
        """Trials per second of all but the start-up: the last records and the shutdown count."""
        return self.num_trials / (self.trials_s + self.tail_s)


def append(path: str | Path, *epochs: Epoch) -> None:
    """Add epochs to a trace; several processes may, one at a time: a short write in append mode."""
    with open(path, "a", encoding="utf-8") as file:
        file.write("".join(json.dumps(asdict(epoch)) + "\n" for epoch in epochs))


def read(path: Path) -> list[Epoch]:
    if not path.exists():
        return []
    return [Epoch(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def measure(epochs: Sequence[Epoch], job: Job, *, launched_s: float, exited_s: float, cores: int) -> Measured:
    """Return what a run took.

    Raises:
        BenchmarkError: when it did not train each configuration for each epoch, once.
    """
    check_complete(epochs, job)
    start_s, end_s = min(e.start_s for e in epochs), max(e.end_s for e in epochs)
    per_worker: dict[int, float] = defaultdict(float)
    for epoch in epochs:
        per_worker[epoch.worker] += epoch.end_s - epoch.start_s
    trials_s = end_s - start_s
    ends = {e.trial: e for e in sorted(epochs, key=lambda e: e.epoch)}
    last = [ends[trial] for trial in sorted(ends)]
    return Measured(
        startup_s=start_s - launched_s,
        trials_s=trials_s,
        tail_s=exited_s - end_s,
        workers=len(per_worker),
        busy=sum(per_worker.values()) / (cores * trials_s),
        balance=_balance(sorted(per_worker.values()), cores),
        finals={key: [e.metrics[key] for e in last] for key in last[0].metrics},
    )


def _balance(busy_s: Sequence[float], cores: int) -> float | None:
    if len(busy_s) > cores:
        return None
    return busy_s[0] / busy_s[-1] if len(busy_s) == cores else 0.0


MOST_DIVERGED = 0.01
"""Share of configurations that may diverge; whoever notices need not train them to their end."""


def check_complete(epochs: Sequence[Epoch], job: Job) -> None:
    """Refuse a run that trained less than the job or more, or diverged more than now and then."""
    by_trial: dict[int, list[Epoch]] = {trial: [] for trial in range(len(job.configurations))}
    for epoch in epochs:
        by_trial.setdefault(epoch.trial, []).append(epoch)
    wrong, diverged = [], 0
    for trial, found in by_trial.items():
        done = sorted(found, key=lambda epoch: epoch.epoch)
        has_diverged = bool(done) and not all(map(math.isfinite, done[-1].metrics.values()))
        until = done[-1].epoch if has_diverged else job.epochs
        diverged += has_diverged
        if trial >= len(job.configurations) or [e.epoch for e in done] != list(range(1, until + 1)):
            wrong.append(trial)
    if wrong:
        raise BenchmarkError(
            f"Each of {len(job.configurations)} configurations must be trained for {job.epochs} epochs, "
            f"once, but {len(wrong)} were not, the first of them {wrong[0]}."
        )
    if diverged > MOST_DIVERGED * len(job.configurations):
        raise BenchmarkError(f"At most {MOST_DIVERGED:.0%} of the trials may diverge, but {diverged} did.")
