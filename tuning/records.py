"""The values that flow: what a trial is, what it reports, how it ended."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
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
    """Begins with its driver's (`begun_by`): what an earlier one has left is told from what runs."""
    members: tuple[Member, ...]
    until: int
    is_stacked: bool = True
    """Whether its members train as one program where they can be stacked; else one after the other."""
    turn: int = field(default=0, compare=False)
    """How often its worker was lost: one that lives on, on a node that is cut off, is of an earlier turn."""

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
        return cls(**{**plain, "members": members})


def begun_by(driver: str) -> str:
    """Return with what the ids of all cohorts of a driver begin, and of no other.

    Args:
        driver: id of its claim.
    """
    return f"{driver[:8]}-"


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
    span: "Span"
    """The time so far."""
    machine: str = ""
    """Kind of the device (`engine.machine.kind`), and the threads that trained it."""
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Span:
    """A time, in seconds of the wall clock, for which one process trained a trial."""

    where: str
    """Host and GPU."""
    process: int
    """Its id on that host."""
    begin_s: float
    end_s: float
    """When it last reported, as far as that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """What is known of a trial: the study's entry in this project's words."""

    number: int
    state: State
    hyperparameters: dict[str, Any]
    values: dict[int, float] = field(default_factory=dict, repr=False)
    """The sweep's metric per epoch, from 1."""
    value: float | None = None
    """The best of `values`."""
    epoch: int | None = None
    """The epoch of `value`; of equal ones the earliest."""
    where: str | None = None
    """Host and GPU on which it last trained."""
    cohort: str | None = field(default=None, repr=False)
    """Id of the cohort in which it last trained."""
    waits: bool = field(default=False, repr=False)
    """Whether the worker of that cohort died or had too little memory, and none has taken it up since."""
    slot: int = field(default=0, repr=False)
    width: int = field(default=1, repr=False)
    """Its row in the last stack, and the trials of that."""
    spans: tuple[Span, ...] = field(default=(), repr=False)
    """Where it has trained, and when; none in studies of earlier versions."""
    stacks: Sequence[Sequence[int]] = field(default=(), repr=False)
    """First epoch, slot and width of each stack in which it trained, in that order."""
    machines: Sequence[Sequence[Any]] = field(default=(), repr=False)
    """First epoch, kind of device and threads, where one of the latter changed."""
    cause: str | None = None
    """Why it failed."""

    def without_driver(self) -> "TrialRecord":
        """Return the record as it is when no driver is alive: no trial is running then."""
        return replace(self, state=State.INTERRUPTED) if self.state is State.RUNNING else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What a sweep has had to train on, also what never trained, and when its drivers were at work."""

    gpus: Mapping[str, int] = field(default_factory=dict)
    """By host, where workers have GPUs."""
    workers: int = 0
    """At the same time, at most."""
    drives: Sequence[tuple[float, float | None]] = ()
    """Begin and end of each, in seconds of the wall clock; the latter is None of one that lives or died."""

    def driven_s(self, trials: Iterable[TrialRecord], since_s: float | None) -> float:
        """Return for how long drivers had trials trained; one that was killed until it last kept that.

        Args:
            since_s: since when there is a driver that is alive, which is not counted, by the wall clock.
        """
        work = [(span.begin_s, span.end_s) for trial in trials for span in trial.spans]
        until = math.inf if since_s is None else since_s - ROUNDING_S
        return sum(end - begin for begin, end in ended(self.drives, work) if begin < until)


ROUNDING_S = 0.1
"""To what the times of drives are rounded."""


def ended(
    drives: Sequence[tuple[float, float | None]], work: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Return begin and end of each drive; one without an end has it where a worker of it last trained.

    Args:
        work: begin and end of trainings, in seconds of the wall clock, as what drives have.
    """
    found = []
    for index, (begin, end) in enumerate(drives):
        until = drives[index + 1][0] if index + 1 < len(drives) else math.inf
        last = max((min(one[1], until) for one in work if one[0] < until), default=begin)
        found.append((begin, max(begin, last) if end is None else end))
    return found


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


def ranked(trials: Iterable[TrialRecord], mode: Mode) -> list[TrialRecord]:
    """Return the trials that have a value, the best first; ties: lower number."""
    sign = 1 if mode == "min" else -1
    valued = ((sign * trial.value, trial.number, trial) for trial in trials if trial.value is not None)
    return [trial for _, _, trial in sorted(valued, key=lambda found: found[:2])]


def best_trial(trials: list[TrialRecord], mode: Mode) -> TrialRecord | None:
    """Return the best completed trial, the best pruned one only if none completed; ties: lower number."""
    for state in (State.COMPLETED, State.PRUNED):
        candidates = [t for t in trials if t.state is state and t.value is not None]
        if candidates:
            return ranked(candidates, mode)[0]
    return None


def has_completed(trials: Iterable[TrialRecord]) -> bool:
    """Whether one trial at least was trained to its end."""
    return any(trial.state is State.COMPLETED for trial in trials)
