"""What a worker does with a cohort: train, save its state each epoch, report, save the best."""

import contextlib
import json
import math
import os
import socket
import time
import traceback
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import ray
import torch
from ray import tune
from ray.exceptions import RayError

from tuning import paths
from tuning.data import Splits
from tuning.engine import checkpoint, cohort
from tuning.engine.solo import Training
from tuning.errors import CheckpointError, SweepError
from tuning.records import Cohort, EpochReport, State
from tuning.references import load_data
from tuning.spec import SweepSpec

REPORT_INTERVAL_S = 0.2
"""Reports of quicker epochs go together: one costs the worker a round trip of 10 ms to the driver."""

GATE_TIMEOUT_S = 30.0


def run_cohort(
    config: dict[str, Any], *, spec: SweepSpec, folder: str, fingerprint: str, gate: Any, workers: int
) -> None:
    """Tune's function trainable: trains the cohort of one opaque string.

    What goes wrong here, but for the death of the process, is not retried: it would go wrong again.
    """
    task = Cohort.from_json(config["cohort"])
    try:
        device = _prepare_process(spec)
        splits = _splits(str(spec.data), spec.seed)
        _pass_gate(gate, workers)
        _up_at()
        if splits.fingerprint != fingerprint:
            raise SweepError(
                f"Data {spec.data!r} must be the same on every worker, but on {socket.gethostname()} its "
                "fingerprint differs from the driver's: is it drawn without a fixed seed?"
            )
        _train(task, spec, splits, folder, device)
    except Exception:
        error = traceback.format_exc()
        tune.report(
            encode_reports(
                [
                    EpochReport(
                        trial=number, epoch=task.epoch + 1, metrics={}, state=State.FAILED, error=error
                    )
                    for number in task.numbers
                ]
            )
        )


def _train(task: Cohort, spec: SweepSpec, splits: Splits, folder: str, device: torch.device) -> None:
    """Train a cohort, saving its state each epoch, and report; at the end save each trial's best."""
    resume = _resume_states(task, folder)
    outbox = _Outbox([_missed(task, resume, spec)])
    resume_path = paths.resume_file(folder, paths.resume_name(task.id))
    last: cohort.Epoch | None = None
    ended: set[int] = set()
    for last in cohort.train(task, spec, splits, device=device, resume=resume):
        ended |= {report.trial for report in last.reports if report.state is not State.RUNNING}
        going_on = [number for number in task.numbers if number not in ended]
        epoch = last.reports[-1].epoch
        if going_on and epoch < (spec.epochs or 0):
            checkpoint.save_resume(resume_path, last.to_plain(going_on))
        outbox.put(last.reports, hold=epoch >= task.until)
    for member in task.members:  # before the driver hears of the end: what it is told of exists
        training = _state(member.trial.number, last, resume)
        if training is not None:
            checkpoint.save_best(folder, training, member.trial, spec, splits)
    outbox.flush()


def _state(number: int, last: cohort.Epoch | None, resume: dict[int, dict[str, Any]]) -> Training | None:
    """Return a member's state after the last epoch; if none was left, that of the resume file."""
    if last is not None:
        return last.training(number)
    return Training(**resume[number]) if number in resume else None


class _Outbox:
    """Gathers reports, and sends them at most every `REPORT_INTERVAL_S`."""

    def __init__(self, batches: list[list[EpochReport]]) -> None:
        self._reports = [report for batch in batches for report in batch]
        self._sent_s = -math.inf

    def put(self, reports: list[EpochReport], *, hold: bool) -> None:
        self._reports += reports
        if not hold and time.monotonic() - self._sent_s > REPORT_INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        if self._reports:
            tune.report(encode_reports(self._reports))
            self._reports = []
        self._sent_s = time.monotonic()


def encode_reports(reports: list[EpochReport]) -> dict[str, str]:
    """Return reports as one Tune result: one string, which Tune does not take apart."""
    worker = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "up_at": _up_at(),
    }
    return {"reports": json.dumps({"worker": worker, "reports": [asdict(report) for report in reports]})}


def decode_reports(result: dict[str, Any]) -> tuple[dict[str, Any], list[EpochReport]]:
    """Return the worker and the reports of a Tune result."""
    content = json.loads(result["reports"])
    reports = [EpochReport(**{**item, "state": State(item["state"])}) for item in content["reports"]]
    return content["worker"], reports


def _prepare_process(spec: SweepSpec) -> torch.device:
    """Set the threads of this process; return the GPU that Ray gave it, or the CPU.

    Ray shows a worker only its own GPUs, so the first that it sees is `cuda:0` whatever its number.
    """
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
def _pass_gate(gate: Any, workers: int) -> None:
    """Wait, at a process's first cohort, until all wanted workers are up; at most a bounded time."""
    end_s = time.monotonic() + GATE_TIMEOUT_S
    me = f"{socket.gethostname()}/{os.getpid()}"
    with contextlib.suppress(RayError):  # the gate died with its node: go on without
        while ray.get(gate.ready.remote(me)) < workers and time.monotonic() < end_s:
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
                found |= checkpoint.load_resume(paths.resume_file(folder, name))
        if found:
            return {number: state for number, state in found.items() if number in task.numbers}
    return {}


def _missed(task: Cohort, resume: dict[int, dict[str, Any]], spec: SweepSpec) -> list[EpochReport]:
    """Return what an earlier attempt at this cohort trained but may not have reported."""
    return [
        EpochReport(trial=number, epoch=epoch, metrics=metrics)
        for number, state in resume.items()
        for epoch, metrics in enumerate(state["history"], start=1)
        if epoch > task.epoch
    ]
