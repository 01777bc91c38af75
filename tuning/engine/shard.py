"""One rank's part of a trial that trains on several devices, called from within `solo.train`.

Gradients are averaged over the whole batch: the result is that of one rank with the same batch, but for
rounding. https://docs.pytorch.org/docs/stable/notes/ddp.html
"""

from collections.abc import Iterator

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from tuning.data import Splits
from tuning.engine import solo
from tuning.engine.batches import Batch
from tuning.engine.layers import HashDropout
from tuning.engine.precision import autocast
from tuning.engine.synchronized import synchronize
from tuning.spec import Precision


class Shard:
    """One rank's part of every batch."""

    def __init__(self, number: int, count: int, device: torch.device) -> None:
        self._number, self._count, self._device = number, count, device
        self._parallel: DistributedDataParallel | None = None

    def train_epoch(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        batches: Iterator[Batch],
        splits: Splits,
        dropouts: list[HashDropout],
        first_step: int,
        precision: Precision,
    ) -> float:
        """Take one step per batch together with the other ranks; return the mean training loss."""
        parallel = self._wrapped(model)
        model.train()
        total, rows, hidden = torch.zeros(1, dtype=torch.float64, device=self._device), 0, None
        for step, (inputs, targets) in enumerate(batches, start=first_step):
            if len(targets) < self._count:  # a last batch in which a rank would have no row
                continue
            mine = self.rows(len(targets))
            for dropout in dropouts:
                dropout.begin(step, part=(mine.start, mine.stop, len(targets)))
            share = (mine.stop - mine.start) / len(targets)
            with autocast(precision, inputs.device):
                outputs, hidden = solo.predict(parallel, inputs[mine], hidden, carry=splits.ordered)
                loss = solo.LOSSES[splits.task](outputs, targets[mine]) * share
            optimizer.zero_grad()
            (self._count * loss).backward()  # the ranks' gradients are averaged, not summed
            optimizer.step()
            total += loss.detach().double() * len(targets)
            rows += len(targets)
        distributed.all_reduce(total)
        for buffer in model.buffers():  # a model may keep what it has seen of its own rows
            distributed.broadcast(buffer, 0)
        return float(total) / rows

    def agreed(self, metrics: dict[str, float]) -> dict[str, float]:
        """Return the first rank's: all decide by the same numbers, down to the last bit."""
        values = torch.tensor(list(metrics.values()), dtype=torch.float64, device=self._device)
        distributed.broadcast(values, 0)
        return dict(zip(metrics, values.tolist(), strict=True))

    def rows(self, count: int) -> slice:
        """Return which rows of a batch of so many are this rank's: side by side, shared out evenly."""
        return slice(count * self._number // self._count, count * (self._number + 1) // self._count)

    def _wrapped(self, model: nn.Module) -> DistributedDataParallel:
        if self._parallel is None:
            synchronize(model)
            devices = [torch.cuda.current_device()] if next(model.parameters()).is_cuda else None
            self._parallel = DistributedDataParallel(
                model, device_ids=devices, forward_sync_buffers=False, find_unused_parameters=True
            )
            self._parallel.__dict__["carry_hidden"] = getattr(model, "carry_hidden", True)
        return self._parallel
