"""Data in memory goes through Ray's object store, once per node."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import ray
import torch
from torch.utils.data import Dataset, TensorDataset

from tuning import data
from tuning.schedule import datasets
from tuning.seeds import derive


@pytest.mark.parametrize("name", ["mnist5k", "sine", "diabetes"])
def test_what_comes_out_is_what_went_in(name: str, ray_cluster: Any) -> None:
    splits = data.load(name, seed=3)
    held = datasets.put(splits)
    assert held is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = datasets.get(held)
    for part in data.PARTS:
        for mine, theirs in zip(getattr(splits, part).tensors, getattr(found, part).tensors, strict=True):
            assert torch.equal(mine, theirs) and mine.dtype == theirs.dtype
    same = ("name", "task", "num_outputs", "input_shape", "preprocess", "fingerprint", "ordered")
    assert all(getattr(splits, key) == getattr(found, key) for key in same)
    if splits.augment is not None:
        batch, seed = splits.train[0][0].unsqueeze(0), derive(0, "augment", 1, 2)
        assert found.augment is not None
        assert torch.equal(splits.augment(batch, seed), found.augment(batch, seed))


def test_workers_of_a_node_share_one_copy(ray_cluster: Any) -> None:
    """The tensors are views of the object store's memory, which is mapped read-only into each process."""
    held = datasets.put(data.load("mnist5k", seed=0))
    assert held is not None
    arrays = ray.get(held[0])["train"]
    tensors = datasets.get(held).train.tensors  # type: ignore[attr-defined]
    assert [tensor.data_ptr() for tensor in tensors] == [array.ctypes.data for array in arrays]
    assert not any(array.flags.writeable for array in arrays)


class Lines(Dataset[Any]):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(1), torch.zeros(1)


def test_a_set_that_is_read_example_by_example_is_opened_by_each_worker() -> None:
    splits = data.load("noisy_line", seed=0)
    assert datasets.put(replace(splits, validation=Lines())) is None


def test_a_set_that_the_store_cannot_hold_is_loaded_by_each_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(value: object) -> None:
        raise ray.exceptions.ObjectStoreFullError("too large")

    monkeypatch.setattr(datasets.ray, "put", full)
    assert datasets.put(data.load("noisy_line", seed=0)) is None


def test_a_node_without_the_network_trains_on_what_its_driver_has_downloaded(ray_cluster: Any) -> None:
    """A worker is given the data, whatever it could have loaded by that name."""
    x = torch.from_numpy(np.arange(8, dtype=np.float32)).unsqueeze(1)
    part = TensorDataset(x, x)
    splits = replace(data.load("noisy_line", seed=0), name="mnist", train=part, validation=part, test=part)
    held = datasets.put(splits)

    def of_a_worker(held: Any) -> float:
        from tuning.schedule.worker import load_splits

        train: Any = load_splits("mnist", 0, held).train
        return float(train.tensors[0].sum())

    assert ray.get(ray.remote(of_a_worker).remote(held)) == 28.0
