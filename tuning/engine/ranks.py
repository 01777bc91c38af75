"""One trial on several devices: data-parallel ranks, child processes of the one that asks.

Each rank takes its rows of every batch, and gradients are averaged over the whole batch: the result is that
of one rank with the same batch, but for rounding. Batch norm layers take their statistics over the whole
batch too, and the masks of dropout layers are rows of the whole batch's; what a model draws by itself is
drawn alike on all ranks. A last batch with fewer rows than there are ranks is left out.
https://docs.pytorch.org/docs/stable/notes/ddp.html
"""

import contextlib
import ctypes
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from torch.utils._pytree import tree_map_only
from torch.utils.data import TensorDataset

from tuning import references
from tuning.data import PARTS, Splits
from tuning.engine import machine, solo
from tuning.engine.failures import DeviceLost, RankDied, is_device_lost
from tuning.engine.shard import Shard
from tuning.engine.solo import Training
from tuning.errors import last_line, traced
from tuning.records import EpochReport, TrialSpec
from tuning.spec import SweepSpec

DATA = "data.pt"

PATIENCE = timedelta(days=30)
"""Of one rank for another: `--trial-timeout` is the sweep's own."""

PR_SET_PDEATHSIG = 1
"""Of Linux' prctl: a signal for when the parent dies."""

GOODBYE_S = 5.0
"""How long ranks may take to end by themselves, before they are killed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What a rank has raised."""

    text: str
    """With its traceback; the last line says what it is."""
    is_device_lost: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What every rank is told."""

    trial: TrialSpec
    spec: SweepSpec
    splits: Splits
    """Without its examples."""
    until: int
    resume: dict[str, Any] | None
    on_gpus: bool
    folder: str
    """Where they find each other, and data that is in memory; other data each rank opens itself."""
    parent: int
    """Its process."""

    @property
    def count(self) -> int:
        return self.spec.ranks


def train(
    trial: TrialSpec,
    spec: SweepSpec,
    splits: Splits,
    *,
    until: int,
    device: torch.device,
    resume: dict[str, Any] | None = None,
) -> Generator[tuple[EpochReport, Training], None, None]:
    """Train one trial on `spec.ranks` ranks; otherwise as `solo.train`.

    What is yielded comes from the first rank, its tensors on the CPU. When the consumer stops asking, the
    ranks and their process group are ended before this returns; they die with this process, too.

    Args:
        device: tells of what kind the ranks' devices are; rank r takes GPU r of this process.

    Raises:
        RankDied: when the process of a rank has died.
        DeviceLost: when its GPU takes no more work, with what it raised.
        RuntimeError: when a rank fails, with what it raised.
    """
    context = multiprocessing.get_context("spawn")
    patience_s = 0.0
    with tempfile.TemporaryDirectory() as folder:
        task = Task(
            trial=trial,
            spec=spec,
            splits=_kept(splits, f"{folder}/{DATA}"),
            until=until,
            resume=resume,
            on_gpus=device.type == "cuda",
            folder=folder,
            parent=os.getpid(),
        )
        plain = pickle.dumps(task)  # as it is: torch would put tensors into shared memory
        pipes = [context.Pipe() for _ in range(task.count)]
        ranks = [
            context.Process(target=_rank, args=(plain, number, theirs))
            for number, (_, theirs) in enumerate(pipes)
        ]
        try:
            for rank in ranks:
                rank.start()
            for _, theirs in pipes:
                theirs.close()  # so that the death of a rank is heard
            yield from _heard([ours for ours, _ in pipes])
            patience_s = GOODBYE_S
        finally:
            for rank in ranks:
                _end(rank, patience_s)


def _kept(splits: Splits, file: str) -> Splits:
    """Write data that is in memory to a file, which ranks map; return all else of it."""
    if splits.is_in_memory:
        torch.save({name: list(getattr(splits, name).tensors) for name in PARTS}, file)
    nothing: Any = None
    return replace(splits, train=nothing, validation=nothing, test=nothing)


def _opened(task: Task) -> Splits:
    file, spec = Path(task.folder) / DATA, task.spec
    if not file.exists():
        return references.load_data(str(spec.data), seed=spec.seed, num_outputs=task.splits.num_outputs)
    found = torch.load(file, weights_only=True, mmap=True)
    train, validation, test = (TensorDataset(*found[name]) for name in PARTS)
    return replace(task.splits, train=train, validation=validation, test=test)


def _heard(pipes: list[Any]) -> Iterator[tuple[EpochReport, Training]]:
    """Yield what the first rank tells, and let all go on when more is asked for, until all are done."""
    left = list(pipes)
    while left:
        for pipe in multiprocessing.connection.wait(left):
            assert isinstance(pipe, Connection)
            who = f"rank {pipes.index(pipe)} of {len(pipes)}"
            try:
                told = pickle.loads(pipe.recv_bytes())
            except (EOFError, ConnectionError):
                raise RankDied(f"{who} died") from None
            if told is None:
                left.remove(pipe)
            elif isinstance(told, Failure):
                kind = DeviceLost if told.is_device_lost else RuntimeError
                raise kind(f"{last_line(told.text)} ({who})\n{told.text}")
            else:
                yield told
                for each in pipes:
                    with contextlib.suppress(ConnectionError):  # whose death is heard in the next round
                        each.send_bytes(b"")


def _end(rank: Any, patience_s: float) -> None:
    if rank.pid is not None:  # it was started
        rank.join(patience_s)
        rank.kill()
        rank.join()


def _rank(plain: bytes, number: int, pipe: Connection) -> None:
    """The process of one rank; where something goes wrong it leaves at once, waiting for no other."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    task: Task = pickle.loads(plain)
    if os.getppid() != task.parent:  # it has died before it could be asked for
        os._exit(1)
    multiprocessing.set_start_method("fork", force=True)  # of what reads data, as in any other worker
    try:
        _train(task, number, pipe)
        pipe.send_bytes(pickle.dumps(None))
    except Exception as error:  # of a user's model, of a device
        with contextlib.suppress(ConnectionError):
            pipe.send_bytes(pickle.dumps(Failure(traced(error), is_device_lost(error))))
        os._exit(1)


def _train(task: Task, number: int, pipe: Connection) -> None:
    device = torch.device("cuda", number) if task.on_gpus else torch.device("cpu")
    if task.on_gpus:
        torch.cuda.set_device(device)
    torch.set_num_threads(max(1, int(task.spec.resources.cpus) // task.count))
    machine.flush_denormals()
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, "lo")  # all ranks are on one machine
    distributed.init_process_group(
        "nccl" if task.on_gpus else "gloo",
        init_method=f"file://{task.folder}/store",
        rank=number,
        world_size=task.count,
        timeout=PATIENCE,
    )
    shard = Shard(number, task.count, device)
    for report, state in solo.train(
        task.trial,
        task.spec,
        _opened(task),
        until=task.until,
        device=device,
        resume=task.resume,
        together=shard,
    ):
        if number == 0:
            plain = tree_map_only(Tensor, lambda tensor: tensor.cpu(), state.to_plain())
            pipe.send_bytes(pickle.dumps((report, Training(**plain))))
        pipe.recv_bytes()  # until more is asked for: not in a collective, which has its own patience
    distributed.destroy_process_group()
