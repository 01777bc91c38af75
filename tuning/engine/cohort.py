"""A cohort's training: its members in step, epoch by epoch, up to the next rung or the end."""

import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from tuning.data import Splits
from tuning.engine import solo
from tuning.engine.solo import Training
from tuning.records import Cohort, EpochReport, State
from tuning.spec import SweepSpec

Epoch = tuple[list[EpochReport], list[Training]]
"""The reports of one epoch, and the state of the members that have not ended."""


def train(
    cohort: Cohort,
    spec: SweepSpec,
    splits: Splits,
    *,
    device: torch.device,
    resume: Mapping[int, dict[str, Any]],
) -> Iterator[Epoch]:
    """Train the members of a cohort, yielding once per epoch; `resume` holds states by trial number.

    A member that diverges or raises ends alone; the others go on.
    """
    runs = {
        member.trial.number: solo.train(
            member.trial,
            spec,
            splits,
            until=cohort.until,
            device=device,
            resume=resume.get(member.trial.number),
        )
        for member in cohort.members
    }
    states: dict[int, Training] = {}
    for epoch in range(_first_epoch(cohort, resume), cohort.until + 1):
        reports: list[EpochReport] = []
        for number, run in list(runs.items()):
            try:
                steps = _up_to(run, epoch)
            except Exception:  # a user's model or data may raise anything: its own trial ends, no other
                error = traceback.format_exc()
                steps = [EpochReport(trial=number, epoch=epoch, metrics={}, state=State.FAILED, error=error)]
            else:
                states[number] = steps[-1][1]
            reports += [step if isinstance(step, EpochReport) else step[0] for step in steps]
            if reports[-1].state is not State.RUNNING:
                del runs[number]
        yield reports, list(states.values())
        if not runs:
            return


def _first_epoch(cohort: Cohort, resume: Mapping[int, dict[str, Any]]) -> int:
    return 1 + max((state["epoch"] for state in resume.values()), default=cohort.epoch)


def _up_to(run: Iterator[tuple[EpochReport, Training]], epoch: int) -> list[Any]:
    """Advance a member to `epoch`; one whose resume state was lost has earlier epochs to catch up."""
    steps = [next(run)]
    while steps[-1][0].epoch < epoch and steps[-1][0].state is State.RUNNING:
        steps.append(next(run))
    return steps
