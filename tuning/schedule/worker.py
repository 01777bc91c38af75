"""What a worker process does once: finds its device, loads the data, waits for the others, measures."""

import contextlib
import json
import math
import os
import socket
import time
from collections.abc import Iterable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError

from tuning import copies
from tuning.data import Splits
from tuning.engine import machine, memory, probe
from tuning.errors import SweepError
from tuning.references import load_data
from tuning.schedule import datasets
from tuning.spec import SweepSpec

GATE_TIMEOUT_S = 30.0

CONTEXT_BYTES = 600e6
"""What a process takes of a GPU's memory before its first tensor: contexts have some 300 to 600 MB."""


def measure(spec: SweepSpec, splits: Splits, device: torch.device, sizes: Iterable[int], workers: int) -> str:
    """Measure cohort sizes; return what was found as JSON: `device`, `measured`, `note`, `memory_bytes`."""
    memory_bytes = _memory_bytes(spec, device, workers)
    found, note = probe.measure(spec, splits, device, sizes, memory_bytes)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU of {socket.gethostname()}"
    measured = [asdict(one) for one in found]
    return json.dumps({"device": name, "measured": measured, "note": note, "memory_bytes": memory_bytes})


def failed(error: Exception) -> str:
    """Return what `measure` returns where it could not."""
    return json.dumps({"error": f"{type(error).__name__}: {error}"})


def _memory_bytes(spec: SweepSpec, device: torch.device, workers: int) -> float:
    """Return what one worker may take: its share of the GPU, or of the memory that is free."""
    if device.type == "cuda":
        return gpu_fraction(spec.resources.gpus or 1.0, device) * _total_bytes(device)
    return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) / workers


def prepare_process(spec: SweepSpec) -> torch.device:
    """Set the threads of this process, and its share of a GPU's memory; return that GPU, or the CPU.

    Ray shows a worker only its own GPUs, so the first that it sees is `cuda:0` whatever its number. That is
    nvidia-smi's number, by place on the bus: left to itself CUDA counts the fastest one first.
    https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#cuda-environment-variables
    """
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # before CUDA is used for the first time
    copies.enter()
    memory.keep_freed()
    machine.flush_denormals()
    torch.set_num_threads(max(1, math.floor(spec.resources.cpus)))
    with contextlib.suppress(RuntimeError):  # only before the first parallel work of a process
        torch.set_num_interop_threads(1)
    share = spec.resources.gpus or 0.0
    if not (share and torch.cuda.is_available()):
        if share and Path("/dev/nvidiactl").exists():
            raise SweepError(
                f"{socket.gethostname()} has GPUs, but torch sees none: its driver may be too old for CUDA "
                f"{torch.version.cuda}; `nvidia-smi` tells."
            )
        return torch.device("cpu")
    device = torch.device("cuda:0")
    # So that none takes the memory of those it shares the GPU with; the process may have had another share.
    torch.cuda.set_per_process_memory_fraction(gpu_fraction(share, device), device)
    return device


def gpu_fraction(share: float, device: torch.device) -> float:
    """Return which part of a GPU's memory a worker's tensors may take: CUDA's own context takes some, too."""
    if share >= 1:
        return 1.0
    return max(share / 2, share - CONTEXT_BYTES / _total_bytes(device))


def _total_bytes(device: torch.device) -> float:
    return float(torch.cuda.get_device_properties(device).total_memory)


@lru_cache(maxsize=1)
def load_splits(
    reference: str, seed: int, held: datasets.Held | None, num_outputs: int | None = None
) -> Splits:
    """Return the data that the driver has stored, or load it; once per process, for actors are reused."""
    if held is not None:
        with contextlib.suppress(RayError):  # this node's store is full, or the driver's is gone
            return datasets.get(held)
    return load_data(reference, seed=seed, num_outputs=num_outputs)


@lru_cache(maxsize=1)
def pass_gate(gate: Any, workers: int) -> None:
    """Wait, at a process's first cohort, until all wanted workers are up; at most a bounded time."""
    if up_at.cache_info().currsize:  # this process has passed it
        return
    end_s = time.monotonic() + GATE_TIMEOUT_S
    me = f"{socket.gethostname()}/{os.getpid()}"
    with contextlib.suppress(RayError):  # the gate died with its node: go on without
        while ray.get(gate.ready.remote(me)) < workers and time.monotonic() < end_s:
            time.sleep(0.02)


def is_open(gate: Any) -> bool:
    """Whether cohorts wait for the workers that measure, or will soon."""
    try:
        return bool(ray.get(gate.is_open.remote()))
    except RayError:  # it died with its node: nobody is held up
        return True


def wait_for_cohorts(gate: Any) -> None:
    """Hold this worker until there is a cohort for it: Tune ends all but one of those that are free."""
    end_s = time.monotonic() + GATE_TIMEOUT_S
    while not is_open(gate) and time.monotonic() < end_s:
        time.sleep(0.02)


@lru_cache(maxsize=1)
def up_at() -> float:
    """When this process passed the gate, in seconds of the wall clock."""
    return time.time()
