"""The trial that is looked at: its network at the start, at its best, and a twin but for one thing."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, Subset, TensorDataset

import models
from tuning import paths, reuse
from tuning.data import Splits
from tuning.engine import machine, solo
from tuning.engine.batches import Batch, Batches
from tuning.errors import CheckpointError
from tuning.ledger import Sweep
from tuning.records import TrialRecord, TrialSpec
from tuning.references import load_data
from tuning.spec import SweepSpec

CPU = torch.device("cpu")

Say = Callable[[str], None]
"""Tells the user what takes a while."""

MAX_TRAINED_ROWS = 100_000
"""Rows times epochs for which a twin is trained: about a minute of the CNN on one core."""

MAX_SAMPLED = 100_000_000
"""Numbers that go into a network: of large images fewer are taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A trial with all that its figures are made from."""

    spec: SweepSpec
    trial: TrialRecord
    splits: Splits
    best: nn.Module
    """With the checkpoint's weights, in `eval()` mode."""
    epoch: int
    """The checkpoint's."""

    @property
    def initial(self) -> nn.Module:
        """The network as the trial began: its weights are a function of (sweep seed, trial number)."""
        return solo.build_model(self._trial(), self.spec, self.splits).eval()

    @property
    def is_documented(self) -> bool:
        return self.spec.model in models.CATALOG

    def _trial(self, **changes: Any) -> TrialSpec:
        hyperparameters = {**self.trial.hyperparameters, **changes}
        return TrialSpec(number=self.trial.number, hyperparameters=hyperparameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """The trial's network with one hyperparameter changed, its initial weights the same."""

    initial: nn.Module
    trained: nn.Module | None
    """After as many epochs as the trial's best; None: that would have been too much work."""
    diverged: int | None = None
    """The epoch after which its loss was no finite number any more."""


def load(sweep: Sweep, number: int | None) -> Subject:
    """Return a trial of a sweep, or the best one, on the data that it was trained on.

    Raises:
        RequestError: when there is no such trial.
        SweepError: when the sweep has no best trial yet.
        CheckpointError: when the trial has no checkpoint, or the data has changed since.
    """
    trial = sweep.trial(number) if number is not None else sweep.best_or_raise()
    path = paths.checkpoint_file(sweep.folder, trial.number)
    try:
        loaded = reuse.load_of_sweep(path, sweep.spec, trial.number)
    except CheckpointError as error:
        if trial.value is None or not trial.state.has_ended:
            raise CheckpointError(
                f"A trial must have a checkpoint to be looked into, but trial {trial.number}, which is "
                f"{trial.state.value}, has none: it gets one when it ends, if an epoch's loss was finite. "
                "Choose another with --trial."
            ) from error
        raise
    splits = load_data(str(sweep.spec.data), seed=sweep.spec.seed)
    reuse.check_data(loaded, splits)
    return Subject(spec=sweep.spec, trial=trial, splits=splits, best=loaded.model, epoch=loaded.card["epoch"])


def twin(subject: Subject, **changes: Any) -> Twin:
    """Return the trial's twin with these hyperparameters changed, trained here for as many epochs."""
    trial = subject._trial(**changes)
    spec = replace(subject.spec, precision="fp32")  # bfloat16 on a CPU takes many times as long
    initial = solo.build_model(trial, spec, subject.splits).eval()
    rows = len(subject.splits.train)  # type: ignore[arg-type]
    if rows * subject.epoch > MAX_TRAINED_ROWS:
        return Twin(initial=initial, trained=None)
    trained = solo.build_model(trial, spec, subject.splits)
    diverged = None
    with machine.as_in_a_worker(threads=1):  # where all cores are busy, more wait for each other each step
        for report, state in solo.train(trial, spec, subject.splits, until=subject.epoch, device=CPU):
            if report.epoch == subject.epoch or report.state.has_ended:
                trained.load_state_dict(state.model)
                diverged = report.epoch if report.state.has_ended else None
    return Twin(initial=initial, trained=trained.eval(), diverged=diverged)


def described(found: Twin, what: str, epochs: int) -> str:
    """Return what exactly a trial is compared with.

    Args:
        what: in which the twin differs, as `without dropout`.
    """
    same = f"{what[0].upper()}{what[1:]}: the same trial but for that (initial weights, data order, all else)"
    count = f"{epochs} epoch{'' if epochs == 1 else 's'}"
    if found.trained is None:
        much = f"rows times epochs are more than the {MAX_TRAINED_ROWS:,} that are trained here"
        return f"{same}, at the start only: {much}."
    if found.diverged is not None:
        return f"{same}, trained for this figure until its loss diverged, in epoch {found.diverged}."
    return f"{same}, trained for this figure for {count} as well; it is no trial of the sweep."


def sample(splits: Splits, part: str, rows: int, batch_size: int) -> list[Batch]:
    """Return batches of at most `rows` rows of a split, the same ones each time: evenly from all over it.

    A series is taken from its beginning, window by window.
    """
    dataset = getattr(splits, part)
    count = len(dataset)
    rows = min(rows, count, max(1, MAX_SAMPLED // math.prod(splits.input_shape)))
    chosen = torch.arange(rows) if splits.ordered else torch.linspace(0, count - 1, rows).long()
    return list(Batches(_subset(dataset, chosen), batch_size, CPU, ordered=splits.ordered).in_order())


def _subset(dataset: Dataset[Any], rows: torch.Tensor) -> Dataset[Any]:
    if isinstance(dataset, TensorDataset):
        return TensorDataset(*(tensor[rows] for tensor in dataset.tensors))
    return Subset(dataset, rows.tolist())
