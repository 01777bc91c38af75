"""A stack's training: epoch by epoch, each member with its own metrics, best epoch and end."""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from tuning.data import Splits
from tuning.engine.batches import Batches, augmented
from tuning.engine.rows import Layout
from tuning.engine.solo import Outcome, Training, batch_size
from tuning.engine.stack import Stack
from tuning.records import EpochReport, State, TrialSpec, improves
from tuning.spec import SweepSpec

LARGE = 2**14
"""From so many elements on a CPU copies a row by itself."""

Plain = dict[str, Any]
"""The state of all members between two epochs, as tensors and plain data."""


class StackedTraining:
    """Members of one structure at one epoch, trained together.

    Args:
        models: as built, one per trial; those of resumed trials hold their weights.
        resume: states by trial number; all of one epoch, or none at all.

    Raises:
        CannotStack: when these models cannot be stacked.
    """

    def __init__(
        self,
        trials: Sequence[TrialSpec],
        models: Sequence[nn.Module],
        spec: SweepSpec,
        splits: Splits,
        *,
        device: torch.device,
        resume: Mapping[int, Plain],
    ) -> None:
        self.numbers = tuple(trial.number for trial in trials)
        self._spec, self._splits = spec, splits
        self._is_augmented = bool(trials[0].hyperparameters.get("augment")) and splits.augment is not None
        size = batch_size(trials[0], spec)
        self._train = Batches(splits.train, size, device, ordered=splits.ordered)
        self._held_out = Batches(splits.validation, size, device, ordered=splits.ordered)
        self._stack = Stack(
            trials,
            models,
            device=device,
            seed=spec.seed,
            task=splits.task,
            carry=splits.ordered,
            compile=spec.compile,
            precision=spec.precision,
        )
        self._histories: list[list[dict[str, float]]] = [[] for _ in trials]
        self._best_epochs: list[int | None] = [None for _ in trials]
        self._best = {dtype: rows.clone() for dtype, rows in self._stack.rows.items()}
        self._ended: set[int] = set()
        """Rows of members that have diverged: they are carried along, and say nothing more."""
        self.epoch = 0
        if resume:
            self._load([Training(**resume[number]) for number in self.numbers])

    @property
    def going_on(self) -> tuple[int, ...]:
        return tuple(number for row, number in enumerate(self.numbers) if row not in self._ended)

    def advance(self, until: int) -> list[EpochReport]:
        """Train up to and including epoch `until`; return the reports of all members that go on or end."""
        reports: list[EpochReport] = []
        while self.epoch < until and len(self._ended) < len(self.numbers):
            reports += self._one_epoch()
        return reports

    def _one_epoch(self) -> list[EpochReport]:
        start_s = time.perf_counter()
        self.epoch += 1
        batches = self._train.shuffled(self._spec.seed, self.epoch)
        if self._is_augmented:
            batches = augmented(batches, self._splits, self._spec.seed, self.epoch)
        losses = self._stack.train_epoch(batches, (self.epoch - 1) * self._train.steps)
        measured = self._stack.evaluate(self._held_out.in_order())
        rows = [row for row in range(len(self.numbers)) if row not in self._ended]
        seconds = (time.perf_counter() - start_s) / len(rows)
        reports = [self._report(row, {"train_loss": losses[row], **measured[row]}, seconds) for row in rows]
        self._keep_best()
        return reports

    def _report(self, row: int, metrics: dict[str, float], seconds: float) -> EpochReport:
        """Take in a member's metrics of this epoch, and note whether it has diverged or is at its best."""
        history, before = self._histories[row], self._best_epochs[row]
        state = State.RUNNING if all(map(math.isfinite, metrics.values())) else State.DIVERGED
        if state is State.DIVERGED:
            self._ended.add(row)
        elif improves(self._value(metrics), before and self._value(history[before - 1]), self._spec.mode):
            self._best_epochs[row] = self.epoch
        history.append(metrics)
        return EpochReport(
            trial=self.numbers[row], epoch=self.epoch, metrics=metrics, state=state, seconds=seconds
        )

    def _value(self, metrics: dict[str, float]) -> float:
        return metrics[str(self._spec.metric)]

    def _keep_best(self) -> None:
        """Copy the rows of members for which this epoch is the best so far."""
        better = [row for row, epoch in enumerate(self._best_epochs) if epoch == self.epoch]
        for dtype, kept in self._best.items():
            found = self._stack.rows[dtype]
            if kept.device.type == "cpu" and kept.shape[1] >= LARGE:  # nothing but these rows is touched
                for row in better:
                    kept[row].copy_(found[row])
            elif better:  # in one pass over all rows
                is_better = torch.zeros(len(kept), 1, dtype=torch.bool)
                is_better[better] = True
                torch.where(is_better.to(kept.device), found, kept, out=kept)

    def close(self) -> None:
        """Nothing: it runs in this process alone."""

    def notes(self) -> list[str]:
        return self._stack.notes()

    def outcome(self, number: int) -> Outcome:
        """Return a copy of how far a member has come."""
        row = self.numbers.index(number)
        best = _best(self._stack.layout, self._live(), row)
        return Outcome(epoch=self.epoch, history=self._histories[row], best=best)

    def has_ended(self, row: int) -> bool:
        return row in self._ended

    def member(self, row: int) -> Training:
        """Return the whole state of the member in a row; its tensors are copies."""
        return Training(**_member(self._stack.layout, self._live(), row))

    def to_plain(self, numbers: Sequence[int]) -> Plain:
        """Return the states of these members; where it is all of them, their tensors are live."""
        live = self._live()
        chosen = [row for row, number in enumerate(self.numbers) if number in numbers]
        if len(chosen) < len(self.numbers):
            for key in ("trials", "histories", "best_epochs"):
                live[key] = [live[key][row] for row in chosen]
            for key in ("model", "best", "optimizer"):
                live[key] = {name: rows[chosen] for name, rows in live[key].items()}
        return {"stack": {**live, "layout": self._stack.layout.to_plain()}}

    def _live(self) -> Plain:
        return {
            "trials": list(self.numbers),
            "epoch": self.epoch,
            "histories": self._histories,
            "best_epochs": self._best_epochs,
            "model": self._stack.rows,
            "best": self._best,
            "optimizer": self._stack.optimizer.state,
            "steps": self._stack.optimizer.steps,
        }

    def _load(self, members: Sequence[Training]) -> None:
        """Take over the states of members that were trained before, in whatever engine."""
        self.epoch = members[0].epoch
        self._stack.optimizer.steps = self.epoch * self._train.steps
        self._stack.load_optimizer([found.optimizer for found in members])
        self._histories = [list(found.history) for found in members]
        for row, found in enumerate(members):
            if found.best is not None:
                self._best_epochs[row] = found.best["epoch"]
                self._stack.layout.write(self._best, row, found.best["state_dict"])


def members(stacked: Plain, numbers: Collection[int] | None) -> list[dict[str, Any]]:
    """Return members' states out of a stack's, as `Training` takes them; of these trials, or of all."""
    layout = Layout.from_plain(stacked["layout"])
    rows = [row for row, trial in enumerate(stacked["trials"]) if numbers is None or trial in numbers]
    return [_member(layout, stacked, row) for row in rows]


def _member(layout: Layout, stacked: Plain, row: int) -> dict[str, Any]:
    """Return one member's state; its tensors are copies."""
    return {
        "trial": stacked["trials"][row],
        "epoch": stacked["epoch"],
        "model": layout.state_dict(stacked["model"], row),
        "optimizer": layout.optimizer_state(stacked["optimizer"], row, stacked["steps"]),
        "history": stacked["histories"][row],
        "best": _best(layout, stacked, row),
    }


def _best(layout: Layout, stacked: Plain, row: int) -> dict[str, Any] | None:
    """Return one member's best epoch and a copy of its `state_dict` there; None before its first."""
    epoch = stacked["best_epochs"][row]
    return None if epoch is None else {"epoch": epoch, "state_dict": layout.state_dict(stacked["best"], row)}
