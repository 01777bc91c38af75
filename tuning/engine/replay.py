"""One trial trained again as it was: alone where it was alone, among copies of itself where it was stacked.

What a row of a stack computes depends on how many rows there are and which one it is, since kernels share
work out by both, but not on what the other rows hold: slice i of a mixed stack is bit-equal to slice i of a
stack of copies.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from tuning.data import Splits
from tuning.engine import solo
from tuning.engine.solo import Training
from tuning.engine.stacked import StackedTraining
from tuning.records import TrialSpec
from tuning.spec import SweepSpec


@dataclass(frozen=True, slots=True)
class Stretch:
    """Epochs, first and last one included, that a trial trained in one place."""

    first: int
    last: int
    slot: int
    """Its row in a stack of `width` trials."""
    width: int
    """1: it trained alone, by the solo engine."""


def stretches(stacks: Sequence[Sequence[int]], until: int) -> list[Stretch]:
    """Return in which stacks the epochs 1 to `until` were trained.

    Args:
        stacks: (first epoch, slot, width) in the order in which the trial came to them. One that begins
            where an earlier one already trained, after a death, has trained those epochs again.

    Raises:
        ValueError: when they do not tell where it began.
    """
    found: list[tuple[int, int, int]] = []
    for first, slot, width in stacks:
        found = [place for place in found if place[0] < first]
        if first <= until:
            found.append((first, slot, width))
    if not found or found[0][0] != 1 or not all(0 <= slot < width for _, slot, width in found):
        raise ValueError(
            f"stacks {[list(one) for one in stacks]} do not tell where it trained from epoch 1 on"
        )
    ends = [first - 1 for first, _, _ in found[1:]] + [until]
    return [Stretch(first, last, slot, width) for (first, slot, width), last in zip(found, ends, strict=True)]


def replay(
    trial: TrialSpec, spec: SweepSpec, splits: Splits, course: Sequence[Stretch], device: torch.device
) -> Iterator[Training]:
    """Train a trial through these stretches, yielding its state after each epoch.

    Between two stretches its state goes over as in a resume file. A trial that diverges ends there.
    What is yielded refers to live tensors: use it before asking for the next epoch.
    """
    state: dict[str, Any] | None = None
    for stretch in course:
        train = _alone if stretch.width == 1 else _among_copies
        for training in train(trial, spec, splits, stretch, device, state):
            yield training
        if training.epoch < stretch.last:
            return
        state = tree_map_only(Tensor, lambda tensor: tensor.detach().cpu().clone(), training.to_plain())


def _alone(
    trial: TrialSpec,
    spec: SweepSpec,
    splits: Splits,
    stretch: Stretch,
    device: torch.device,
    state: dict[str, Any] | None,
) -> Iterator[Training]:
    run = solo.train(trial, spec, splits, until=stretch.last, device=device, resume=state)
    return (training for _, training in run)


def _among_copies(
    trial: TrialSpec,
    spec: SweepSpec,
    splits: Splits,
    stretch: Stretch,
    device: torch.device,
    state: dict[str, Any] | None,
) -> Iterator[Training]:
    model = solo.build_model(trial, spec, splits)
    if state is not None:
        model.load_state_dict(state["model"])
    together = StackedTraining(
        list(itertools.repeat(trial, stretch.width)),
        list(itertools.repeat(model, stretch.width)),
        spec,
        splits,
        device=device,
        resume={} if state is None else {trial.number: state},
    )
    for epoch in range(stretch.first, stretch.last + 1):
        together.advance(epoch)
        training = together.member(stretch.slot)
        if len(training.history) == epoch:
            yield training
        if together.has_ended(stretch.slot):
            return
