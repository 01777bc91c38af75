"""Data in memory goes through Ray's object store, once per node."""

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from torch.utils.data import Dataset, TensorDataset

import tuning
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


OWN = """
import os
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

HERE = Path(__file__).parent


def note(name):
    with open(HERE / name, "a") as file:
        file.write(f"{os.getpid()}\\n")


class Net(nn.Linear):
    def __init__(self):
        super().__init__(1, 1)


class Lines(Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, row):
        x = torch.tensor([row / 40.0])
        return x, x


def lines():
    note("opened")
    by = "driver" if os.getpid() == int((HERE / "driver").read_text()) else "worker"
    if not (HERE / f"{by}-prepared").exists():
        note(f"{by}-prepares")
        time.sleep(1)
        (HERE / f"{by}-prepared").touch()
    return (Lines(),) * 3


def points():
    note("opened")
    x = torch.linspace(0, 1, 40).unsqueeze(1)
    return (TensorDataset(x, x),) * 3
"""


def opened_by(folder: Path, name: str) -> list[int]:
    """Sweep four trials at once over a data set of one's own; return which processes opened it."""
    (folder / "own.py").write_text(OWN)
    (folder / "driver").write_text(str(os.getpid()))
    result = tuning.sweep(
        tuning.SweepSpec(
            model=f"{folder}/own.py:Net",
            data=f"{folder}/own.py:{name}",
            name=name,
            trials=4,
            epochs=1,
            cohort=1,
            resources=tuning.Resources(cpus=1, gpus=0),
            home=str(folder / "home"),
        )
    )
    assert result.states == {"completed": 4}
    return [int(line) for line in (folder / "opened").read_text().split()]


def test_what_is_prepared_on_a_disk_is_prepared_by_one_worker_of_a_node(
    ray_cluster: Any, tmp_path: Path
) -> None:
    workers = set(opened_by(tmp_path, "lines")) - {os.getpid()}
    assert len(workers) == 4, "each opens it"
    assert len((tmp_path / "worker-prepares").read_text().split()) == 1, "all wait for the first"


def test_data_in_memory_is_made_by_the_driver_alone(ray_cluster: Any, tmp_path: Path) -> None:
    assert set(opened_by(tmp_path, "points")) == {os.getpid()}
