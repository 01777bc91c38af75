"""Users' own data: any callable that returns three data sets, checked before a trial starts."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset

from tuning.data.splits import Arrays, Splits, Task, fingerprint
from tuning.errors import RequestError, at_line

SPLIT_NAMES = ("train", "validation", "test")


class _AsTensors(Dataset[Arrays]):
    """Examples of a user's data set, converted one by one as they are read."""

    def __init__(self, dataset: Any, task: Task) -> None:
        self.dataset, self.task = dataset, task

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> Arrays:
        x, y = self.dataset[row]
        return _input(torch.as_tensor(x)), _targets(torch.as_tensor(y), self.task, batch_axes=0)


def from_callable(
    function: Callable[..., Any], *, name: str, seed: int, num_outputs: int | None = None
) -> Splits:
    """Call a user's function, with `seed` if it takes that, and check what it returns.

    Integer targets make it a classification, floating ones a regression. Floating inputs become
    float32; integer ones other than bytes (numbers of words, say) stay integers.

    Args:
        num_outputs: where it is known; else classes are counted.

    Raises:
        RequestError: unless it returns three non-empty data sets of (input, target) pairs alike.
    """
    returned = _call(function, name, seed)
    firsts = {split: _first_example(dataset, name, split) for split, dataset in returned.items()}
    _check_alike(firsts, name)
    first_input, first_target = firsts["train"]
    task: Task = "regression" if first_target.is_floating_point() else "classification"
    if task == "classification" and first_target.ndim:
        raise RequestError(
            f"Data {name!r}: a class label must be one integer, but got integer targets of shape "
            f"{tuple(first_target.shape)}; return labels of shape (n,), or floats for a regression."
        )
    datasets = {split: _converted(dataset, task) for split, dataset in returned.items()}
    try:
        digest = fingerprint(*datasets.values())
    except Exception as error:  # a user's data set may raise anything when it is read
        raise RequestError(
            f"Data {name!r} cannot be read: {type(error).__name__}: {error}{at_line(error)}"
        ) from error
    return Splits(
        name=name,
        task=task,
        train=datasets["train"],
        validation=datasets["validation"],
        test=datasets["test"],
        num_outputs=num_outputs or _num_outputs(datasets, task, first_target, name),
        input_shape=tuple(first_input.shape),
        preprocess={"kind": "none", "shape": list(first_input.shape), **_integers(first_input)},
        fingerprint=digest,
    )


def _call(function: Callable[..., Any], name: str, seed: int) -> dict[str, Any]:
    try:
        takes_seed = "seed" in inspect.signature(function).parameters
        returned = function(seed=seed) if takes_seed else function()
    except Exception as error:  # it is the user's
        raise RequestError(
            f"Data {name!r} failed with {type(error).__name__}: {error}{at_line(error)}"
        ) from error
    if not isinstance(returned, tuple | list) or len(returned) != 3:
        raise RequestError(
            f"Data {name!r} must return three data sets (train, validation, test), "
            f"but it returned {_described(returned)}."
        )
    return dict(zip(SPLIT_NAMES, returned, strict=True))


def _first_example(dataset: Any, name: str, split: str) -> Arrays:
    """Return the first example as tensors."""
    where = f"Data {name!r}, {split} split"
    try:
        length = len(dataset)
        example = dataset[0] if length else None
    except Exception as error:  # it is the user's
        raise RequestError(
            f"{where}: a data set must have `__len__` and `__getitem__` that work, "
            f"but {_described(dataset)} raised {type(error).__name__}: {error}"
        ) from error
    if not length:
        raise RequestError(f"{where}: must hold at least one example, but it is empty.")
    if not isinstance(example, tuple | list) or len(example) != 2:
        raise RequestError(f"{where}: must yield (input, target) pairs, but yields {_described(example)}.")
    try:
        x, y = (torch.as_tensor(part) for part in example)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RequestError(
            f"{where}: input and target must be tensors, arrays or numbers ({error}); "
            "convert them in the data set (an image: torchvision.transforms.v2)."
        ) from error
    return x, y


def _check_alike(firsts: dict[str, Arrays], name: str) -> None:
    kinds = {
        split: (tuple(x.shape), tuple(y.shape), "float" if y.is_floating_point() else "integer")
        for split, (x, y) in firsts.items()
    }
    if len(set(kinds.values())) > 1:
        listed = "; ".join(
            f"{split}: input {x}, target {y} {number}" for split, (x, y, number) in kinds.items()
        )
        raise RequestError(f"Data {name!r}: the splits must hold examples alike, but got {listed}.")


def _converted(dataset: Any, task: Task) -> Dataset[Any]:
    in_memory = _in_memory(dataset)
    if in_memory is None:
        return _AsTensors(dataset, task)
    inputs, targets = in_memory
    return TensorDataset(_input(inputs), _targets(targets, task, batch_axes=1))


def _in_memory(dataset: Any) -> Arrays | None:
    """Return inputs and targets of a data set of tensors, also of a part that was cut from one."""
    if type(dataset) is TensorDataset:
        inputs, targets = dataset.tensors
        return inputs, targets
    if type(dataset) is Subset and (whole := _in_memory(dataset.dataset)) is not None:
        rows = torch.as_tensor(dataset.indices)
        return whole[0][rows], whole[1][rows]
    return None


def _input(x: Tensor) -> Tensor:
    if x.is_floating_point() or x.dtype in (torch.uint8, torch.bool):
        return x.float()
    return x.long()


def _integers(x: Tensor) -> dict[str, str]:
    """Return what a raw input is to stay, if it is one of integers."""
    dtype = _input(x).dtype
    return {} if dtype.is_floating_point else {"dtype": str(dtype).removeprefix("torch.")}


def _targets(y: Tensor, task: Task, *, batch_axes: int) -> Tensor:
    if task == "classification":
        return y.long()
    return y.float().unsqueeze(-1) if y.ndim == batch_axes else y.float()


def _num_outputs(datasets: dict[str, Dataset[Any]], task: Task, first_target: Tensor, name: str) -> int:
    if task == "regression":
        return first_target.shape[-1] if first_target.ndim else 1
    # A set that is read example by example is gone through once, and only its training part.
    held = [d.tensors[1] for d in datasets.values() if isinstance(d, TensorDataset)]
    if not isinstance(train := datasets["train"], TensorDataset):
        held.append(torch.stack([train[row][1] for row in range(len(train))]))  # type: ignore[arg-type]
    labels = torch.cat(held)
    if labels.min() < 0:
        raise RequestError(f"Data {name!r}: class labels must count from 0, but got {int(labels.min())}.")
    return int(labels.max()) + 1


def _described(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"{len(value)} values"
    return f"a {type(value).__name__}"
