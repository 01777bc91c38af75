"""What a worker does with a cohort: train, save its state each epoch, report, save the best."""

import contextlib
import gc
import json
import math
import os
import socket
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import ray
import torch
from ray import tune
from ray.exceptions import RayError

from tuning import attempts, faults, paths, storage
from tuning.data import Splits
from tuning.engine import checkpoint, cohort, memory, probe
from tuning.engine.solo import Outcome, Training
from tuning.errors import CheckpointError, SweepError
from tuning.records import Cohort, EpochReport, State
from tuning.references import load_data
from tuning.schedule.messages import Message
from tuning.schedule.watchdog import watched
from tuning.spec import SweepSpec

REPORT_INTERVAL_S = 0.2
"""Reports of quicker epochs go together: one costs the worker a round trip of 10 ms to the driver."""

SAVING_SHARE = 0.05
"""Share of the time that saving resume state may take: very short epochs are saved several at a time."""

GATE_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the workers of one driver need to know beside their cohorts."""

    spec: SweepSpec
    folder: str
    """Path or URI of checkpoints and resume state."""
    attempt: str
    """Whose files may be written (`attempts`)."""
    fingerprint: str
    """Of the data."""
    gate: Any
    workers: int

    def check(self) -> None:
        attempts.check(self.folder, self.attempt)


def run_cohort(config: dict[str, Any], *, work: Work) -> None:
    """Tune's function trainable: trains the cohort of one opaque string, or measures cohort sizes.

    What goes wrong here, but for the death of the process, is not retried: it would go wrong again.
    What is wrong with a model or with data ends trials, what is wrong with storage ends the sweep.
    Memory that does not suffice for a cohort may do for its halves.
    """
    spec = work.spec
    task = Cohort.from_json(config["cohort"]) if "cohort" in config else None
    out_of_memory = False
    try:
        device = prepare_process(spec)
        with _watched(work, task):
            splits = _splits(str(spec.data), spec.seed)
        pass_gate(work.gate, work.workers)
        _up_at()
        if splits.fingerprint != work.fingerprint:
            raise SweepError(
                f"Data {spec.data!r} must be the same on every worker, but on {socket.gethostname()} its "
                "fingerprint differs from the driver's: is it drawn without a fixed seed?"
            )
        if task is None:
            with _watched(work, task):
                found = measure(spec, splits, device, config["sizes"], work.workers)
            _send(Message(probe=found))
            _wait_for_cohorts(work.gate)
        else:
            _train(task, work, splits, device)
    except SweepError as error:
        _send(Message(fault=str(error)))
    except Exception as error:  # of a model, of data, of storage: told, so that the worker lives on
        out_of_memory = cohort.is_out_of_memory(error) and task is not None and len(task.members) > 1
        if task is not None and not out_of_memory:
            _send(Message(cohort=task.id, reports=_failed(task, traceback.format_exc())))
        elif task is None:
            _send(Message(probe=failed(error)))
    if out_of_memory:  # here the exception, which held the tensors, is gone
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        _send(Message(out_of_memory=True))


def _failed(task: Cohort, error: str) -> list[EpochReport]:
    return [
        EpochReport(trial=number, epoch=task.epoch + 1, metrics={}, state=State.FAILED, error=error)
        for number in task.numbers
    ]


def _train(task: Cohort, work: Work, splits: Splits, device: torch.device) -> None:
    """Train a cohort, saving its state each epoch, and report; at the end save each trial's best."""
    spec, resume = work.spec, _resume_states(task, work.folder)
    outbox = _Outbox(task.id, _missed(task, resume))
    faults.place("before-first-report")
    saver = _Saver(paths.resume_file(work.folder, paths.resume_name(task.id)), work)
    last: cohort.Epoch | None = None
    ended: set[int] = set()
    with _watched(work, task) as feed:
        for last in cohort.train(task, spec, splits, device=device, resume=resume):
            feed()
            ended |= {report.trial for report in last.reports if report.state is not State.RUNNING}
            going_on = [number for number in task.numbers if number not in ended]
            epoch = last.reports[-1].epoch
            if going_on and epoch < (spec.epochs or 0):
                saver.save(last, going_on, at_once=epoch >= task.until)
            outbox.put(last, hold=epoch >= task.until)
    for member in task.members:  # before the driver hears of the end: what it is told of exists
        outcome = _outcome(member.trial.number, last, resume)
        if outcome is not None:
            with _storing(work.folder):
                checkpoint.save_best(work.folder, outcome, member.trial, spec, splits, work.check)
    outbox.flush()


def _watched(work: Work, task: Cohort | None) -> AbstractContextManager[Callable[[], None]]:
    """Within, this process ends when it gives no sign of life for the sweep's `trial_timeout`."""

    def tell(stack: str) -> None:
        if task is not None:
            storage.write(paths.hang_file(work.folder, task.id), stack.encode(), work.check)

    return watched(work.spec.trial_timeout, tell)


@contextlib.contextmanager
def _storing(folder: str) -> Iterator[None]:
    """Tell what is wrong with the storage from what is wrong with a model: no trial fails for it."""
    try:
        yield
    except SweepError:
        raise
    except Exception as error:  # of a disk, or of whatever stands behind a URI
        raise SweepError(
            f"{folder} cannot be written on {socket.gethostname()}: {type(error).__name__}: {error}"
        ) from error


def _outcome(number: int, last: cohort.Epoch | None, resume: dict[int, dict[str, Any]]) -> Outcome | None:
    """Return how far a member has come after the last epoch; if none was left, by the resume file."""
    if last is not None:
        return last.outcome(number)
    return Training(**resume[number]) if number in resume else None


class _Saver:
    """Saves the members' states after each epoch, as far as `SAVING_SHARE` of the time lets it."""

    def __init__(self, path: str, work: Work) -> None:
        self._path, self._work = path, work
        self._next_s = -math.inf

    def save(self, epoch: cohort.Epoch, numbers: list[int], *, at_once: bool) -> None:
        start_s = time.monotonic()
        if at_once or start_s >= self._next_s:
            with _storing(self._work.folder):
                checkpoint.save_resume(self._path, epoch.to_plain(numbers), self._work.check)
            end_s = time.monotonic()
            self._next_s = end_s + (end_s - start_s) / SAVING_SHARE


class _Outbox:
    """Gathers reports, and sends them at most every `REPORT_INTERVAL_S`."""

    def __init__(self, cohort_id: str, reports: list[EpochReport]) -> None:
        self._cohort = cohort_id
        self._reports = reports
        self._notes: list[str] = []
        self._parts: list[cohort.Part] = []
        self._stacks: list[list[int]] = []
        self._sent_s = -math.inf

    def put(self, epoch: cohort.Epoch, *, hold: bool) -> None:
        self._reports += epoch.reports
        self._notes += epoch.notes
        parts = list(epoch.parts.values())
        if parts != self._parts:  # the first epoch, or trials that train alone from now on
            self._parts, self._stacks = parts, epoch.stacks()
        if not hold and time.monotonic() - self._sent_s > REPORT_INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        if self._reports:
            _send(Message(cohort=self._cohort, reports=self._reports, notes=self._notes, stacks=self._stacks))
            self._reports, self._notes, self._stacks = [], [], []
        self._sent_s = time.monotonic()


def _send(message: Message) -> None:
    tune.report(message.encode(_up_at()))


def measure(spec: SweepSpec, splits: Splits, device: torch.device, sizes: list[int], workers: int) -> str:
    """Measure cohort sizes; return what was found as JSON: `device`, `measured`, `note`."""
    found, note = probe.measure(spec, splits, device, sizes, _memory_bytes(spec, device, workers))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU of {socket.gethostname()}"
    return json.dumps({"device": name, "measured": [asdict(one) for one in found], "note": note})


def failed(error: Exception) -> str:
    """Return what `measure` returns where it could not."""
    return json.dumps({"error": f"{type(error).__name__}: {error}"})


def _memory_bytes(spec: SweepSpec, device: torch.device, workers: int) -> float:
    """Return what one worker may take: its share of the GPU, or of the memory that is free."""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        return float(total) * min(1.0, spec.resources.gpus or 1.0)
    return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) / workers


def prepare_process(spec: SweepSpec) -> torch.device:
    """Set the threads of this process; return the GPU that Ray gave it, or the CPU.

    Ray shows a worker only its own GPUs, so the first that it sees is `cuda:0` whatever its number.
    """
    memory.keep_freed()
    torch.set_num_threads(max(1, math.floor(spec.resources.cpus)))
    with contextlib.suppress(RuntimeError):  # only before the first parallel work of a process
        torch.set_num_interop_threads(1)
    has_gpu = bool(spec.resources.gpus) and torch.cuda.is_available()
    return torch.device("cuda:0" if has_gpu else "cpu")


@lru_cache(maxsize=1)
def _splits(reference: str, seed: int) -> Splits:
    """Load the data once per process: a reused actor finds it there."""
    return load_data(reference, seed=seed)


@lru_cache(maxsize=1)
def pass_gate(gate: Any, workers: int) -> None:
    """Wait, at a process's first cohort, until all wanted workers are up; at most a bounded time."""
    end_s = time.monotonic() + GATE_TIMEOUT_S
    me = f"{socket.gethostname()}/{os.getpid()}"
    with contextlib.suppress(RayError):  # the gate died with its node: go on without
        while ray.get(gate.ready.remote(me)) < workers and time.monotonic() < end_s:
            time.sleep(0.02)


def _wait_for_cohorts(gate: Any) -> None:
    """Hold this worker until there is a cohort for it: Tune ends all but one of those that are free."""
    end_s = time.monotonic() + GATE_TIMEOUT_S
    with contextlib.suppress(RayError):
        while not ray.get(gate.is_open.remote()) and time.monotonic() < end_s:
            time.sleep(0.02)


@lru_cache(maxsize=1)
def _up_at() -> float:
    """When this process passed the gate, in seconds of the wall clock."""
    return time.time()


def _resume_states(task: Cohort, folder: str) -> dict[int, dict[str, Any]]:
    """Return the members' states: the cohort's own file if this is a retry, else where they came from.

    A file that is lost or torn costs the epochs in it, not the trial: it is trained again.
    """
    for names in ({paths.resume_name(task.id)}, {member.resume for member in task.members}):
        found: dict[int, dict[str, Any]] = {}
        for name in sorted(filter(None, names)):
            with contextlib.suppress(FileNotFoundError, CheckpointError):
                found |= checkpoint.load_resume(paths.resume_file(folder, name), task.numbers)
        if found:
            return found
    return {}


def _missed(task: Cohort, resume: dict[int, dict[str, Any]]) -> list[EpochReport]:
    """Return what an earlier attempt at this cohort trained but may not have reported."""
    return [
        EpochReport(trial=number, epoch=epoch, metrics=metrics)
        for number, state in resume.items()
        for epoch, metrics in enumerate(state["history"], start=1)
        if epoch > task.epoch
    ]
