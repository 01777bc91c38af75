"""Batches: what order the rows come in."""

import itertools

import pytest
import torch
from torch.utils.data import TensorDataset

from tuning.engine.batches import Batches

CPU = torch.device("cpu")


def batches(rows: int, batch_size: int, *, ordered: bool = False) -> Batches:
    numbers = torch.arange(rows)
    return Batches(TensorDataset(numbers.float(), numbers), batch_size, CPU, ordered=ordered)


def test_an_epoch_takes_every_row_once_in_an_order_of_seed_and_epoch_alone() -> None:
    found = batches(100, 16)
    orders = {
        (seed, epoch): torch.cat([rows for _, rows in found.shuffled(seed, epoch)]).tolist()
        for seed in (0, 1)
        for epoch in (1, 2)
    }
    assert all(sorted(order) == list(range(100)) for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) == 4
    assert torch.cat([rows for _, rows in batches(100, 16).shuffled(1, 2)]).tolist() == orders[1, 2]


@pytest.mark.parametrize(
    ("rows", "batch_size"), [(1, 4), (3, 4), (4, 4), (5, 4), (6, 4), (8, 4), (9, 4), (7, 1)]
)
def test_the_steps_of_an_epoch_are_known_before_it(rows: int, batch_size: int) -> None:
    found = batches(rows, batch_size)
    assert found.steps == len(list(found.shuffled(0, 1)))


def test_all_members_of_a_cohort_read_the_same_copy_on_their_device() -> None:
    data = TensorDataset(torch.zeros(9, 3), torch.zeros(9))
    first, second = (Batches(data, size, torch.device("meta"), ordered=False) for size in (2, 3))
    assert first.tensors is second.tensors and first.tensors is not None
    assert {tensor.device.type for tensor in first.tensors} == {"meta"}


def test_a_last_training_batch_of_one_row_is_dropped_but_measured() -> None:
    found = batches(33, 16)
    assert [len(rows) for _, rows in found.shuffled(0, 1)] == [16, 16]
    assert [len(rows) for _, rows in found.in_order()] == [16, 16, 1]
    assert [len(rows) for _, rows in batches(1, 16).shuffled(0, 1)] == [1], "a set of one row stays"


@pytest.mark.parametrize(
    ("rows", "batch_size", "steps"), [(100, 1, 100), (100, 10, 10), (23, 5, 4), (3, 64, 1)]
)
def test_each_row_of_an_ordered_batch_goes_on_where_it_ended(rows: int, batch_size: int, steps: int) -> None:
    found = [numbers for _, numbers in batches(rows, batch_size, ordered=True).shuffled(0, 1)]
    assert len(found) == steps == batches(rows, batch_size, ordered=True).steps
    for before, after in itertools.pairwise(found):
        assert torch.equal(after, before + 1)
