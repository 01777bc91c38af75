"""Users' own data: what is understood, and what is refused before any trial starts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, TensorDataset, random_split

from tuning.data import from_callable, not_finite, preprocessor, unscaled
from tuning.errors import RequestError


def tensors(x: torch.Tensor, y: torch.Tensor) -> Callable[[], Any]:
    return lambda: (TensorDataset(x, y), TensorDataset(x[:4], y[:4]), TensorDataset(x[:2], y[:2]))


class Examples(Dataset[Any]):
    """A data set that is read example by example."""

    def __init__(self, examples: list[Any]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, row: int) -> Any:
        return self.examples[row]


def own(function: Callable[..., Any], seed: int = 0) -> Any:
    return from_callable(function, name="my.py:data", seed=seed)


@pytest.mark.parametrize(
    ("x", "y", "task", "num_outputs", "target_shape"),
    [
        (torch.rand(9, 3), torch.arange(9) % 4, "classification", 4, ()),
        (torch.rand(9, 1, 8, 8), torch.arange(9, dtype=torch.uint8), "classification", 9, ()),
        (torch.rand(9, 3).double(), torch.rand(9).double(), "regression", 1, (1,)),
        (torch.rand(9, 3), torch.rand(9, 2), "regression", 2, (2,)),
        (torch.rand(9, 5, 3), torch.rand(9, 5, 1), "regression", 1, (5, 1)),
    ],
)
def test_tensors_are_understood(
    x: torch.Tensor, y: torch.Tensor, task: str, num_outputs: int, target_shape: tuple[int, ...]
) -> None:
    splits = own(tensors(x, y))
    assert (splits.task, splits.num_outputs) == (task, num_outputs)
    assert splits.input_shape == x.shape[1:]
    assert splits.name == "my.py:data"
    inputs, targets = splits.train.tensors
    assert inputs.dtype == torch.float32
    assert targets.dtype == (torch.int64 if task == "classification" else torch.float32)
    assert targets.shape[1:] == target_shape
    assert preprocessor(splits.preprocess)(x[0]).shape == (1, *x.shape[1:])


@pytest.mark.parametrize(
    ("dtype", "becomes"),
    [(torch.uint8, torch.float32), (torch.int32, torch.int64), (torch.float16, torch.float32)],
)
def test_inputs_become_floats_unless_they_may_be_numbers_of_words(
    dtype: torch.dtype, becomes: torch.dtype
) -> None:
    splits = own(tensors(torch.ones(9, 3).to(dtype), torch.rand(9)))
    assert splits.train.tensors[0].dtype == becomes


def test_parts_of_one_set_come_into_memory() -> None:
    x = torch.arange(20.0).unsqueeze(1)
    splits = own(lambda: random_split(TensorDataset(x, torch.arange(20) % 3), [12, 4, 4]))
    together = torch.cat([d.tensors[0] for d in (splits.train, splits.validation, splits.test)])
    assert torch.equal(together.sort(0).values, x)


@pytest.mark.parametrize(
    ("example", "task", "num_outputs"),
    [
        ((np.zeros((2, 3)), 4), "classification", 5),
        ((np.zeros((2, 3)), np.int64(4)), "classification", 5),
        ((np.zeros((2, 3)), 0.5), "regression", 1),
        (([[0.0] * 3] * 2, np.zeros(7)), "regression", 7),
    ],
)
def test_examples_read_one_by_one_become_tensors(
    example: tuple[Any, Any], task: str, num_outputs: int
) -> None:
    splits = own(lambda: [Examples([example] * 3)] * 3)
    assert (splits.task, splits.num_outputs) == (task, num_outputs)
    assert splits.input_shape == (2, 3) and len(splits.train) == 3
    x, y = splits.train[0]
    assert x.dtype == torch.float32
    assert y.dtype == (torch.int64 if task == "classification" else torch.float32)


def test_classes_are_counted_over_the_whole_training_part() -> None:
    examples = [(torch.zeros(1), label) for label in (0, 1, 6, 2)]
    assert own(lambda: [Examples(examples), Examples(examples[:1]), Examples(examples[:1])]).num_outputs == 7


def test_who_knows_the_classes_need_not_read_all_examples() -> None:
    """Each worker opens such a set: of a large one that would be minutes of decoding images."""
    read: list[int] = []

    class Watched(Examples):
        def __getitem__(self, row: int) -> Any:
            read.append(row)
            return super().__getitem__(row)

    def data() -> Any:
        return [Watched([(torch.zeros(1), row % 7) for row in range(500)])] * 3

    counted, rows = own(data), len(set(read))
    read.clear()
    known = from_callable(data, name="my.py:data", seed=0, num_outputs=counted.num_outputs)
    assert (known.num_outputs, known.fingerprint) == (7, counted.fingerprint)
    assert rows == 500 and len(set(read)) < 100


def test_a_subclass_with_its_own_reading_is_read_through_it() -> None:
    class Doubled(TensorDataset):
        def __getitem__(self, row: int) -> tuple[torch.Tensor, ...]:
            x, y = super().__getitem__(row)
            return 2 * x, y

    part = Doubled(torch.ones(4, 1), torch.zeros(4))
    x, _ = own(lambda: (part, ConcatDataset([part]), part)).train[0]
    assert x.item() == 2


def test_seed_is_handed_on_to_those_who_take_it() -> None:
    def data(seed: int) -> Any:
        x = torch.rand(9, 2, generator=torch.Generator().manual_seed(seed))
        return tensors(x, torch.arange(9))()

    first, second = own(data, seed=1), own(data, seed=2)
    assert first.fingerprint != second.fingerprint
    assert own(data, seed=1).fingerprint == first.fingerprint


def test_fingerprint_of_examples_knows_length_and_targets_and_bears_random_inputs() -> None:
    def fingerprint(target: float, length: int) -> str:
        part = Examples([(torch.rand(1), target)] * length)  # as after a random crop
        return own(lambda: (part, part, part)).fingerprint

    assert fingerprint(1.0, 5) == fingerprint(1.0, 5)
    assert len({fingerprint(1.0, 5), fingerprint(2.0, 5), fingerprint(1.0, 6)}) == 3


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield torch.zeros(1), 0


def raises() -> Any:
    raise KeyError("no such column")


good = TensorDataset(torch.rand(4, 3), torch.arange(4))
floats = TensorDataset(torch.rand(4, 3), torch.rand(4))
wider = TensorDataset(torch.rand(4, 5), torch.arange(4))
empty = TensorDataset(torch.rand(0, 3), torch.arange(0))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: None, "three data sets.*returned a NoneType"),
        (lambda: (good, good), "three data sets.*returned 2 values"),
        (lambda: good, "three data sets.*a TensorDataset"),
        (lambda: (good, empty, good), "validation split.*empty"),
        (lambda: (good, good, wider), r"alike.*test: input \(5,\)"),
        (lambda: (good, floats, good), "alike.*validation.*float"),
        (lambda: (good, good, Stream()), "test split.*__len__"),
        (lambda: (good, good, 3), "test split.*__len__.*a int"),
        (lambda: [Examples([torch.zeros(3)])] * 3, "pairs, but yields a Tensor"),
        (lambda: [Examples([(1, 2, 3)])] * 3, "pairs, but yields 3 values"),
        (lambda: [Examples([("cat.png", 0)])] * 3, "train split.*tensors, arrays or numbers"),
        (lambda: [Examples([(torch.zeros(3), "cat")])] * 3, "tensors, arrays or numbers"),
        (tensors(torch.rand(9, 3), torch.zeros(9, 1).long()), r"one integer.*shape \(1,\)"),
        (tensors(torch.rand(9, 3), torch.arange(9) - 1), "count from 0, but got -1"),
        (raises, "KeyError.*no such column"),
        (lambda path: None, "TypeError.*path"),
    ],
)
def test_what_is_no_data_is_refused(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        own(function)
    assert "my.py:data" in str(caught.value)


def test_numbers_that_are_large_are_told_of() -> None:
    x, y = torch.linspace(-1, 1, 6).unsqueeze(1), torch.linspace(-3000, 2000, 6)
    splits = from_callable(lambda: [TensorDataset(x, y)] * 3, name="own", seed=0)
    said = unscaled(splits)
    assert said is not None and said.startswith("its targets reach 3e+03: most networks train badly unless")
    assert unscaled(from_callable(lambda: [TensorDataset(x, y / 3000)] * 3, name="own", seed=0)) is None
    images = TensorDataset(255 * x, torch.arange(6) % 2)
    assert "its inputs reach 255" in str(unscaled(from_callable(lambda: [images] * 3, name="own", seed=0)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_told_of(value: float) -> None:
    x, y = torch.zeros(6, 2), torch.zeros(6)
    x[4, 1] = value
    sets = [TensorDataset(x, y), TensorDataset(x[:2], y[:2]), TensorDataset(x[:2], y[:2])]
    found = not_finite(from_callable(lambda: sets, name="own", seed=0))
    assert found == "1 of 6 train examples have NaN or infinity in their input, the first is number 4"
    good = [TensorDataset(x[:2], y[:2])] * 3
    assert not_finite(from_callable(lambda: good, name="own", seed=0)) is None
    y[1] = value
    bad = [TensorDataset(x[:2], torch.zeros(2)), *[TensorDataset(x[:2], y[:2])] * 2]
    told = not_finite(from_callable(lambda: bad, name="own", seed=0))
    assert told == "1 of 2 validation examples have NaN or infinity in their target, the first is number 1"
