"""Batches of a data set: in-memory sets are indexed on the device, others go through a DataLoader.

The order of an epoch is a function of (sweep seed, epoch), the same for every trial. Windows of one
series are not shuffled: row b of a batch goes on where row b of the batch before it ended, so that
a hidden state can be carried along.
"""

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from tuning import faults
from tuning.data import Splits
from tuning.seeds import derive

Batch = tuple[Tensor, Tensor]

LOADER_WORKERS = 2
"""Processes that read a data set which is not in memory."""


_held: WeakKeyDictionary[TensorDataset, dict[torch.device, Batch]] = WeakKeyDictionary()
"""What of data sets lies on devices, once for all members of a cohort."""


def _on_device(dataset: TensorDataset, device: torch.device) -> Batch:
    held = _held.setdefault(dataset, {})
    if device not in held:
        inputs, targets = dataset.tensors
        held[device] = inputs.to(device), targets.to(device)
    return held[device]


class Batches:
    """The batches of one split at one batch size on one device; `Splits` stay as they were."""

    def __init__(
        self, dataset: Dataset[Any], batch_size: int, device: torch.device, *, ordered: bool
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.device = device
        self.ordered = ordered
        self.rows = len(dataset)  # type: ignore[arg-type]
        self.tensors: Batch | None = None
        if isinstance(dataset, TensorDataset):
            self.tensors = _on_device(dataset, device)

    @property
    def steps(self) -> int:
        """Training batches of an epoch."""
        if self.ordered:
            return self.rows // min(self.batch_size, self.rows)
        full, rest = divmod(self.rows, self.batch_size)
        return full + (rest > 1 or not full)

    def in_order(self) -> Iterator[Batch]:
        """All rows, for measurement; those of a series as the one stream that they are."""
        return self._take(torch.arange(self.rows).split(1 if self.ordered else self.batch_size))

    def shuffled(self, seed: int, epoch: int) -> Iterator[Batch]:
        """The training batches of an epoch; a last batch of one row is dropped (batch norm refuses it)."""
        if self.ordered:
            return self._take(self._streams())
        generator = torch.Generator().manual_seed(derive(seed, "order", epoch))
        parts = torch.randperm(self.rows, generator=generator).split(self.batch_size)
        return self._take(parts[: self.steps])

    def _streams(self) -> tuple[Tensor, ...]:
        """Split a series into `batch_size` streams; what does not fill the last column is left out."""
        streams = min(self.batch_size, self.rows)
        length = self.rows // streams
        return tuple(torch.arange(streams * length).view(streams, length).T)

    def _take(self, parts: tuple[Tensor, ...]) -> Iterator[Batch]:
        if self.tensors is not None:
            inputs, targets = self.tensors
            for rows in parts:
                on_device = rows.to(self.device)
                yield inputs[on_device], targets[on_device]
                faults.place("mid-epoch")
            return
        loader: DataLoader[Any] = DataLoader(
            self.dataset,
            batch_sampler=[part.tolist() for part in parts],
            num_workers=LOADER_WORKERS,
            pin_memory=self.device.type == "cuda",
        )
        for inputs, targets in loader:
            yield (
                _as_inputs(inputs).to(self.device, non_blocking=True),
                _as_targets(targets).to(self.device, non_blocking=True),
            )


def _as_inputs(inputs: Tensor) -> Tensor:
    """Integers stay what they are, for they number words or classes."""
    return inputs.float() if inputs.is_floating_point() else inputs


def _as_targets(targets: Tensor) -> Tensor:
    return targets.float() if targets.is_floating_point() else targets.long()


def augmented(batches: Iterator[Batch], splits: Splits, seed: int, epoch: int) -> Iterator[Batch]:
    """Apply the data set's augmentation, a function of (seed, epoch, batch)."""
    assert splits.augment is not None
    for index, (inputs, targets) in enumerate(batches):
        yield splits.augment(inputs, derive(seed, "augment", epoch, index)), targets


def head(splits: Splits, rows: int) -> Batch:
    """Return the first training rows as one batch on the CPU, to try a model on."""
    first = Subset(splits.train, range(min(rows, len(splits.train))))  # type: ignore[arg-type]
    inputs, targets = next(iter(DataLoader(first, batch_size=rows)))
    return _as_inputs(inputs), _as_targets(targets)
