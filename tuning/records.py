"""The values that flow: what a trial is, what it reports, how it ended."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

Mode = Literal["min", "max"]


class State(StrEnum):
    """How a trial ended, or that it has not."""

    COMPLETED = "completed"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    FAILED = "failed"
    RUNNING = "running"
    INTERRUPTED = "interrupted"

    @property
    def has_ended(self) -> bool:
        return self not in (State.RUNNING, State.INTERRUPTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpec:
    """One configuration of hyperparameters under its number within the sweep."""

    number: int
    hyperparameters: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A trial on its way into a cohort, with where its training stands."""

    trial: TrialSpec
    epoch: int = 0
    """Epochs already trained."""
    resume: str | None = None
    """File name under `resume/` that holds its state after `epoch` epochs; None at the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Trials at the same epoch that one worker trains together, up to and including epoch `until`."""

    id: str
    members: tuple[Member, ...]
    until: int

    @property
    def epoch(self) -> int:
        return self.members[0].epoch

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(member.trial.number for member in self.members)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Cohort":
        plain = json.loads(text)
        members = tuple(
            Member(trial=TrialSpec(**item["trial"]), epoch=item["epoch"], resume=item["resume"])
            for item in plain["members"]
        )
        return cls(id=plain["id"], members=members, until=plain["until"])


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport:
    """What one trial has to say after one epoch."""

    trial: int
    epoch: int
    """Counted from 1."""
    metrics: dict[str, float]
    state: State = State.RUNNING
    """RUNNING, or DIVERGED / FAILED when the trial ends with this report."""
    error: str | None = None
    """Traceback of a failed trial."""
    seconds: float = 0.0
    """Wall time of the epoch, training and validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a trial trains: all that is needed to train it again as it was trained."""

    trial: int
    where: str
    """Host and GPU."""
    cohort: str
    """Id of the cohort."""
    epoch: int
    """The first one that it trained there."""
    slot: int
    """Its row in a stack of `width` trials."""
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """What is known of a trial: the study's entry in this project's words."""

    number: int
    state: State
    hyperparameters: dict[str, Any]
    values: dict[int, float] = field(default_factory=dict)
    """The sweep's metric per epoch, from 1."""
    value: float | None = None
    """The best of `values`."""
    epoch: int | None = None
    """The epoch of `value`; of equal ones the earliest."""
    where: str | None = None
    """Host and GPU on which it last trained."""
    cohort: str | None = None
    """Id of the cohort in which it last trained."""
    slot: int = 0
    width: int = 1
    """Its row in the last stack, and the trials of that."""
    cause: str | None = None
    """Why it failed."""

    def without_driver(self) -> "TrialRecord":
        """Return the record as it is when no driver is alive: no trial is running then."""
        return replace(self, state=State.INTERRUPTED) if self.state is State.RUNNING else self


def improves(value: float, best: float | None, mode: Mode | None) -> bool:
    """Whether a finite value is better than the best so far, if there is one; an equal one is not."""
    if not math.isfinite(value) or best is None:
        return math.isfinite(value)
    return value < best if mode == "min" else value > best


def best_epoch(values: Mapping[int, float], mode: Mode) -> int | None:
    """Return the epoch of the best finite value, the earlier one of equals; None if there is none."""
    finite = {epoch: value for epoch, value in values.items() if math.isfinite(value)}
    sign = 1 if mode == "min" else -1
    return min(finite, key=lambda epoch: (sign * finite[epoch], epoch), default=None)


def best_trial(trials: list[TrialRecord], mode: Mode) -> TrialRecord | None:
    """Return the best completed trial, the best pruned one only if none completed; ties: lower number."""
    sign = 1 if mode == "min" else -1
    for state in (State.COMPLETED, State.PRUNED):
        candidates = [t for t in trials if t.state is state and t.value is not None]
        if candidates:
            return min(candidates, key=lambda t: (sign * (t.value or 0.0), t.number))
    return None


def has_completed(trials: Iterable[TrialRecord]) -> bool:
    """Whether one trial at least was trained to its end."""
    return any(trial.state is State.COMPLETED for trial in trials)
