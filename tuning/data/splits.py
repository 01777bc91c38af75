"""What every data set comes as: three disjoint splits, and what a model must know about them."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

Task = Literal["classification", "regression"]
Augment = Callable[[Tensor, int], Tensor]
Arrays = tuple[Tensor, Tensor]


PARTS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Splits:
    """Training, validation and test examples of one data set, ready for a model."""

    name: str
    task: Task
    train: Dataset[Any]
    """Yields (input, target), as the other two do; sets in memory are `TensorDataset`s."""
    validation: Dataset[Any]
    test: Dataset[Any]
    num_outputs: int
    """Number of classes, or of target columns."""
    input_shape: tuple[int, ...]
    """Of one example, without the batch axis."""
    preprocess: dict[str, Any]
    """What must be done to a raw input before prediction: plain data for `preprocessor`."""
    fingerprint: str
    """SHA-256 (hex) over the values of all three splits."""
    augment: Augment | None = None
    """(training batch, seed) -> batch, with random parameters of its own for each example."""
    ordered: bool = False
    """The examples are consecutive windows of one series and must not be shuffled."""

    @property
    def is_in_memory(self) -> bool:
        """Whether all examples are tensors that are at hand, none read one by one."""
        return all(type(getattr(self, part)) is TensorDataset for part in PARTS)


def generator(name: str, seed: int, purpose: str = "split") -> torch.Generator:
    """Return a CPU generator that depends on nothing but these three words."""
    digest = hashlib.sha256(f"{name}/{seed}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def shuffled_parts(num_rows: int, sizes: tuple[int, ...], rng: torch.Generator) -> list[Tensor]:
    """Return disjoint random row numbers, one tensor per size; the sizes add up to all rows."""
    return list(torch.split(torch.randperm(num_rows, generator=rng), list(sizes)))


def stratified_parts(labels: Tensor, sizes: tuple[int, ...], rng: torch.Generator) -> list[Tensor]:
    """Like `shuffled_parts`, with every class in every part in its share of the whole."""
    rows = torch.randperm(len(labels), generator=rng)
    # How far along its own class a row stands, from 0 to 1. Rows sorted by it hold the classes in
    # their shares from any point to any other, so that exact sizes can be cut off.
    progress = torch.empty(len(labels), dtype=torch.float64)
    for label in torch.unique(labels):
        of_class = (labels[rows] == label).nonzero().squeeze(1)
        progress[of_class] = torch.arange(len(of_class), dtype=torch.float64) / len(of_class)
    parts = torch.split(rows[progress.argsort(stable=True)], list(sizes))
    return [part[torch.randperm(len(part), generator=rng)] for part in parts]


def not_finite(splits: Splits) -> str | None:
    """Return in words which examples hold NaN or infinity, if any do; None too where none is in memory."""
    if not splits.is_in_memory:
        return None
    for part in PARTS:
        dataset: Any = getattr(splits, part)
        for what, rows in zip(("input", "target"), dataset.tensors, strict=True):
            if not rows.is_floating_point() or all(map(math.isfinite, map(float, rows.aminmax()))):
                continue  # without a copy of what may fill much of the memory
            bad = (~rows.flatten(1).isfinite().all(1) if rows.ndim > 1 else ~rows.isfinite()).nonzero()
            if len(bad):
                return (
                    f"{len(bad)} of {len(rows)} {part} examples have NaN or infinity in their {what}, "
                    f"the first is number {int(bad[0])}"
                )
    return None


LARGE = 200.0
"""What a network that begins as usual does not expect of its inputs, or has to learn long to give out."""


def unscaled(splits: Splits) -> str | None:
    """Return in words that numbers are large, if any are; None too where none is in memory."""
    if not splits.is_in_memory:
        return None
    train: Any = splits.train
    for what, rows in zip(("inputs", "targets"), train.tensors, strict=True):
        largest = max(map(abs, map(float, rows.aminmax()))) if rows.is_floating_point() else 0.0
        if largest > LARGE:
            return (
                f"its {what} reach {largest:.3g}: most networks train badly unless they are scaled to about 1"
            )
    return None


def tensor_datasets(parts: list[Arrays]) -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    train, validation, test = (TensorDataset(inputs, targets) for inputs, targets in parts)
    return train, validation, test


def fingerprint(*datasets: Dataset[Any], num_samples: int = 32) -> str:
    """Return the SHA-256 over the data sets, as hex digits.

    Every value of a `TensorDataset` counts; of any other data set its length and, of a few examples,
    the targets and the inputs' shapes: a random transform may make the inputs new at each reading.
    """
    digest = hashlib.sha256()
    for dataset in datasets:
        length = len(dataset)  # type: ignore[arg-type]
        digest.update(f"{length} rows;".encode())
        if isinstance(dataset, TensorDataset):
            _digest_tensors(digest, dataset.tensors)
            continue
        for row in torch.linspace(0, length - 1, min(length, num_samples)).long().tolist():
            inputs, targets = (torch.as_tensor(part) for part in dataset[row])
            digest.update(f"{inputs.dtype} {tuple(inputs.shape)};".encode())
            _digest_tensors(digest, (targets,))
    return digest.hexdigest()


def _digest_tensors(digest: "hashlib._Hash", tensors: tuple[Tensor, ...]) -> None:
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).numpy().data)
