"""Trials trained again with fresh seeds, as many at once as pays on the device at hand.

What happens is yielded: this may be another process, on another machine, than the one that tells a user.
"""

import gc
import math
import os
import socket
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import torch

from tuning import sizing
from tuning.confirmed import Run
from tuning.data import Splits
from tuning.engine import cohort, failures, machine, probe, solo
from tuning.engine.batches import Batches
from tuning.errors import SweepError, last_line
from tuning.processors import idle_cpus
from tuning.records import Cohort, EpochReport, Member, State, TrialRecord, TrialSpec
from tuning.seeds import derive
from tuning.sizing import Measured, Sizing
from tuning.spec import Resources, SweepSpec

MOST_SEEDS = 1000

LOOK_S = 10.0
"""How often it is looked how many processors others leave idle, which takes a fifth of a second."""


def fresh(spec: SweepSpec) -> SweepSpec:
    """Return the sweep with another seed, for one process.

    Initial weights, dropout masks and the order of rows are others than any trial of the sweep had. The order
    is one for all that train again, since a cohort shares its batches: how much another order would change,
    the intervals do not tell. The split stays, for data is loaded with the sweep's own seed.
    """
    gpus = spec.resources.gpus
    alone = Resources(cpus=spec.resources.cpus, gpus=None if gpus is None else min(1, gpus))
    return replace(spec, seed=derive(spec.seed, "confirm"), resources=alone)


def members(trial: TrialRecord, seeds: Iterable[int]) -> list[TrialSpec]:
    """Return a trial once per seed; weights and masks are a function of the number that it gets here."""
    return [
        TrialSpec(number=trial.number * MOST_SEEDS + seed, hyperparameters=trial.hyperparameters)
        for seed in seeds
    ]


def device_of(spec: SweepSpec) -> torch.device:
    """Return the GPU if there is one and the sweep may use it, else the CPU."""
    may = spec.resources.gpus is None or spec.resources.gpus > 0
    return torch.device("cuda:0" if may and torch.cuda.is_available() else "cpu")


@dataclass(frozen=True, slots=True)
class Pace:
    """How many train at once, and how long all take, as far as it is known."""

    size: int
    seconds: float | None = None


Event = str | int | Pace | dict[int, Run]
"""A line for the user, epochs that were trained, how many train at once, what came of those that have."""


def work(
    trials: Sequence[TrialSpec], known: Sizing, spec: SweepSpec, splits: Splits, device: torch.device
) -> Iterator[Event]:
    """Train all to their last epoch, as many at once as pays on this device.

    Args:
        known: what the sweep measured.

    Raises:
        SweepError: when one fails: it says nothing of how good the trials are.
    """
    with machine.as_in_a_worker(min(torch.get_num_threads(), idle_cpus())):
        found = pace(spec, known, splits, device, len(trials))
    yield found
    yield from train(trials, spec, splits, device, found.size)


def pace(spec: SweepSpec, known: Sizing, splits: Splits, device: torch.device, count: int) -> Pace:
    """Return how many of `count` trainings to do at once.

    As many as were asked for of the sweep; else as it measured on this device, unless larger cohorts than it
    had use for may be faster; else as are measured here.
    """
    if spec.cohort != "auto":
        return Pace(min(spec.cohort, count))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU of {socket.gethostname()}"
    measured: Sequence[Measured] = known.measured if known.device == name else ()
    is_full = bool(measured) and max(known.asked, default=0) > measured[-1].size
    if not measured or (_grows(measured, is_full) and measured[-1].size < count):
        sizes = [size for size in sizing.SIZES if size <= count]
        try:
            measured, limit = probe.measure(spec, splits, device, sizes, _memory_bytes(device))
            is_full = bool(limit)
        except Exception:  # what it is, the training itself will tell
            if not measured:
                return Pace(1)
    fastest = _fastest(measured)
    size = 2 * fastest.size if _grows(measured, is_full) else fastest.size
    return Pace(min(size, count), fastest.seconds(count, workers=1))


def _fastest(measured: Sequence[Measured]) -> Measured:
    return max(measured, key=lambda one: one.trials_per_s)


def _grows(measured: Sequence[Measured], is_full: bool) -> bool:
    """Whether a larger cohort than any that was measured may be faster still."""
    fastest = _fastest(measured)
    return fastest is measured[-1] and fastest.size > 1 and not is_full


def _memory_bytes(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def train(
    trials: Sequence[TrialSpec],
    spec: SweepSpec,
    splits: Splits,
    device: torch.device,
    size: int,
) -> Iterator[Event]:
    """Train all, `size` at once, and measure each one's best epoch on the test split."""
    waiting = [list(trials[start : start + size]) for start in range(0, len(trials), size)]
    idle, looked_s = 1, -math.inf
    while waiting:
        together = waiting.pop(0)
        if time.monotonic() - looked_s > LOOK_S:
            idle, looked_s = idle_cpus(), time.monotonic()
        try:
            with machine.as_in_a_worker(min(torch.get_num_threads(), idle)):
                found = yield from _trained(together, spec, splits, device)
        except Exception as error:  # of a model, of data, of a device
            if not failures.is_out_of_memory(error) or len(together) == 1:
                raise error if isinstance(error, SweepError) else _failure(error) from error
            half = len(together) // 2
            waiting = [together[:half], together[half:], *waiting]
            yield f"{len(together)} at once do not fit into memory: halved"
        else:
            yield found
        if len(together) > 1:
            gc.collect()  # of a stack, which refers to itself; here an exception that held it is gone
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _trained(
    together: Sequence[TrialSpec], spec: SweepSpec, splits: Splits, device: torch.device
) -> Generator[Event, None, dict[int, Run]]:
    """Train a cohort; return each member's result."""
    diverged: set[int] = set()
    last: cohort.Epoch | None = None
    task = Cohort(id="confirm", members=tuple(Member(trial=one) for one in together), until=spec.epochs or 0)
    with closing(cohort.train(task, spec, splits, device=device, resume={})) as epochs:
        for last in epochs:
            yield from last.notes
            for report in last.reports:
                if report.state is State.FAILED:
                    raise _failed(report)
                if report.state is State.DIVERGED:
                    diverged.add(report.trial)
            yield len(last.reports)
    assert last is not None
    return {
        one.number: None if one.number in diverged else _measured(one, last, spec, splits, device)
        for one in together
    }


def _measured(
    one: TrialSpec, last: cohort.Epoch, spec: SweepSpec, splits: Splits, device: torch.device
) -> Run:
    outcome = last.outcome(one.number)
    assert outcome is not None and outcome.best is not None
    model = solo.build_model(one, spec, splits)
    model.load_state_dict(outcome.best["state_dict"])
    rows = Batches(splits.test, solo.batch_size(one, spec), device, ordered=splits.ordered)
    metrics = solo.evaluate(model.to(device), rows.in_order(), splits, "test")
    return outcome.history[outcome.best["epoch"] - 1][str(spec.metric)], metrics


def _failed(report: EpochReport) -> SweepError:
    trial, seed = divmod(report.trial, MOST_SEEDS)
    cause = last_line(report.error)
    return SweepError(
        f"Trial {trial} with fresh seed {seed} failed in epoch {report.epoch}: {cause}; nothing is confirmed."
    )


def _failure(error: Exception) -> SweepError:
    return SweepError(f"Training again failed with {type(error).__name__}: {error}; nothing is confirmed.")
