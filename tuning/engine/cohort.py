"""A cohort's training: its members in step, epoch by epoch, up to the next rung or the end.

Members that differ in numbers only train as one stacked program; one that is alone in its structure,
or cannot be stacked, trains by the solo engine, as do all where a stack was found to be no faster.
"""

import itertools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from tuning.data import Splits
from tuning.engine import grouping
from tuning.engine.failures import is_device_lost, is_out_of_memory, may_pass, one_by_one
from tuning.engine.single import Single
from tuning.engine.solo import Outcome
from tuning.engine.stacked import StackedTraining
from tuning.records import Cohort, EpochReport, TrialSpec
from tuning.spec import SweepSpec

Resume = Mapping[int, dict[str, Any]]
"""States of members that were trained before, by trial number."""


class Part(Protocol):
    """Members of a cohort that train as one program."""

    @property
    def going_on(self) -> tuple[int, ...]:
        """Trials that have not ended."""

    def advance(self, until: int) -> list[EpochReport]:
        """Train up to and including an epoch, and report; a member that ends says so once."""

    def notes(self) -> list[str]:
        """Return what the user should know of, each once."""

    def outcome(self, number: int) -> Outcome | None:
        """Return how far a member has come; None before its first epoch."""

    def to_plain(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Return the states of these members for a resume file."""

    def close(self) -> None:
        """End what runs beside this process; what it has come to can still be asked for."""


@dataclass(slots=True)
class Epoch:
    """What a cohort has to say after an epoch."""

    reports: list[EpochReport]
    parts: dict[int, Part]
    """Who holds a member's state, by trial number; it changes with the next epoch."""
    notes: list[str]
    """What the user should know of, once."""

    def outcome(self, number: int) -> Outcome | None:
        return self.parts[number].outcome(number)

    def stacks(self) -> list[list[int]]:
        """Return the trials of each stack, in the order of its rows."""
        found = dict.fromkeys(part for part in self.parts.values() if isinstance(part, StackedTraining))
        return [list(part.numbers) for part in found]

    def to_plain(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Return the states of these members for a resume file."""
        by_part: dict[int, tuple[Part, list[int]]] = {}
        for number in numbers:
            part = self.parts[number]
            by_part.setdefault(id(part), (part, []))[1].append(number)
        return [part.to_plain(found) for part, found in by_part.values()]


def train(
    cohort: Cohort, spec: SweepSpec, splits: Splits, *, device: torch.device, resume: Resume
) -> Generator[Epoch, None, None]:
    """Train the members of a cohort, yielding once per epoch.

    A member that diverges or raises ends alone; the others go on.

    Raises:
        torch.OutOfMemoryError: when the memory does not suffice, which it may for fewer members; a member
            that is the only one fails of it.
        torch.AcceleratorError: when the device is lost to this process.
        RankDied: when a trial on several devices has lost one of its processes.
    """
    trials = {member.trial.number: member.trial for member in cohort.members}

    def alone(number: int) -> Part:
        state = resume.get(number)
        may_be_split = len(trials) > 1
        return Single(
            trials[number], may_be_split, spec, splits, device=device, resume=state, until=cohort.until
        )

    together = list(trials.values()) if cohort.is_stacked else []
    parts, notes = _parts(together, spec, splits, device, resume)
    parts = {number: parts[number] if number in parts else alone(number) for number in trials}
    try:
        yield from _epochs(cohort, resume, parts, notes, alone)
    finally:
        for part in dict.fromkeys(parts.values()):
            part.close()


def _epochs(
    cohort: Cohort, resume: Resume, parts: dict[int, Part], notes: list[str], alone: Callable[[int], Part]
) -> Iterator[Epoch]:
    for epoch in range(_first_epoch(cohort, resume), cohort.until + 1):
        reports: list[EpochReport] = []
        for part in dict.fromkeys(parts.values()):
            going_on: tuple[int, ...] = ()
            try:
                reports += part.advance(epoch)
                notes += part.notes()
            except Exception as error:  # vmap raises at what it cannot carry, a model at anything
                if is_out_of_memory(error) or may_pass(error):
                    raise
                notes.append(one_by_one(error))
                going_on = part.going_on
            for number in going_on:  # here the exception, which held the stack's tensors, is gone
                parts[number] = alone(number)
                reports += parts[number].advance(epoch)
        yield Epoch(reports, parts, notes)
        notes = []
        if not any(part.going_on for part in parts.values()):
            return


def _parts(
    trials: Sequence[TrialSpec], spec: SweepSpec, splits: Splits, device: torch.device, resume: Resume
) -> tuple[dict[int, Part], list[str]]:
    """Stack what can be stacked; return the stack by trial number, and why others are not in one."""
    parts: dict[int, Part] = {}
    groups = grouping.groups(trials, spec, splits, resume) if len(trials) > 1 else []
    notes = _unlike(groups) if groups and all(len(group) == 1 for group in groups) else []
    for group in groups:
        if len(group) > 1:
            together, models = zip(*group, strict=True)
            try:
                states = {t.number: resume[t.number] for t in together if t.number in resume}
                stacked = StackedTraining(together, models, spec, splits, device=device, resume=states)
            except Exception as error:  # whatever vmap, or the model under it, finds to object
                if is_out_of_memory(error) or is_device_lost(error):
                    raise
                notes.append(one_by_one(error))
            else:
                parts |= {trial.number: stacked for trial in together}
    return parts, notes


def _unlike(groups: Sequence[Sequence[tuple[TrialSpec, nn.Module]]]) -> list[str]:
    """Return a note where all models differ in what no hyperparameter of theirs explains."""
    for ((one, model),), ((other, other_model),) in itertools.pairwise(groups):
        explained = {
            key
            for key in one.hyperparameters.keys() | other.hyperparameters.keys()
            if key not in grouping.NUMBERS and one.hyperparameters.get(key) != other.hyperparameters.get(key)
        }
        found = grouping.difference(model, other_model)
        if found is not None and not explained:
            return [f"trials train one by one, they cannot be stacked: their models differ in {found}"]
    return []


def _first_epoch(cohort: Cohort, resume: Resume) -> int:
    return 1 + max((state["epoch"] for state in resume.values()), default=cohort.epoch)
