"""What a worker's kernels do with numbers that are almost nothing, and who else does so."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import tuning
from tuning.engine import machine
from tuning.schedule import worker

TINY = 1e-40
"""Denormal in float32, whose least normal number is 1.2e-38."""


def product(*sizes: int) -> float:
    return float((torch.full(sizes or (1,), TINY) * 1).max())


def test_a_worker_takes_denormal_numbers_for_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # so that it is put back

    def in_a_worker() -> tuple[float, float, float]:
        worker.prepare_process(tuning.SweepSpec(model="net", resources=tuning.Resources(cpus=2, gpus=0)))
        weight = nn.Parameter(torch.tensor(TINY))
        (weight * 1).backward(torch.tensor(TINY))
        assert weight.grad is not None
        return product(), product(2**20), float(weight.grad)

    threads = torch.get_num_threads()
    assert product() > 0
    with ThreadPoolExecutor(max_workers=1) as pool:  # a new thread, as Tune has one for each cohort
        assert pool.submit(in_a_worker).result() == (0, 0, 0), "alone, shared among threads, and backward"
    torch.set_num_threads(threads)
    assert product() > 0, "each thread decides for itself"


def test_what_trains_again_elsewhere_rounds_as_workers_do_and_leaves_the_process_as_it_was() -> None:
    threads = torch.get_num_threads()
    with machine.as_in_a_worker(threads=2):
        assert torch.get_num_threads() == 2
        assert product() == product(2**20) == 0
    assert torch.get_num_threads() == threads
    assert product() > 0
