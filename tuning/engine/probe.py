"""Times the real step at growing cohort sizes on the device at hand."""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch

from tuning.data import Splits
from tuning.engine import grouping, solo
from tuning.engine.batches import Batch, Batches
from tuning.engine.failures import is_out_of_memory, one_by_one
from tuning.engine.layers import replace_dropout
from tuning.engine.rows import CannotStack
from tuning.engine.stack import Stack
from tuning.records import TrialSpec
from tuning.sizing import MEMORY_SHARE, Measured
from tuning.space import Choice, Dimension, Int
from tuning.spec import SweepSpec

SECONDS = 0.1
"""Time spent on each size, at least, beyond its first steps."""

BUDGET_S = 2.0
"""Time after which no larger size is begun; size 1 is not counted.

On a CPU of this thread, not of the clock: on a machine that is busy with other things too, as many sizes
are measured as on an idle one.
"""

MOST_S = 10 * BUDGET_S
"""... but by the clock no longer than this: the first cohorts wait."""

GAIN = 1.1
"""A stack is worth doubling if it is this much faster than the one before."""


def measure(
    spec: SweepSpec,
    splits: Splits,
    device: torch.device,
    sizes: Iterable[int],
    memory_bytes: float,
) -> tuple[list[Measured], str]:
    """Return what was measured, the smallest size first, and why no larger one was tried, if not for speed.

    Args:
        sizes: ascending, from 1; asked for one by one.
        memory_bytes: what one worker may take of the device.
    """
    clock = time.thread_time if device.type == "cpu" else time.perf_counter
    end_s = most_s = math.inf
    found: list[Measured] = []
    _load_libraries(spec, splits, device)
    for size in sizes:
        if size > 1 and (note := _too_large(found, size, memory_bytes)):
            return found, note
        try:
            found.append(_measure_one(spec, splits, device, size))
        except Exception as error:  # whatever the model raises, alone or stacked
            if not found:
                raise
            return found, "a larger one does not fit" if is_out_of_memory(error) else one_by_one(error)
        end_s = min(end_s, clock() + BUDGET_S)
        most_s = min(most_s, time.perf_counter() + MOST_S)
        if clock() > end_s or time.perf_counter() > most_s or _no_longer_pays(found):
            break
    return found, ""


def _no_longer_pays(found: Sequence[Measured]) -> bool:
    """Whether doubling a stack brought little, twice: once may be what else the machine does just then.

    The first few stacks may well be slower than single trials, so that not even the third is as fast.
    """
    alone, *rates = (one.trials_per_s for one in found)
    if len(rates) < 3:
        return False
    is_slow = max(rates[-2:]) < alone and rates[-1] < GAIN * rates[-2]
    return is_slow or max(rates[-2:]) < GAIN * max(rates[:-2])


def _too_large(found: Sequence[Measured], size: int, memory_bytes: float) -> str:
    last = found[-1]
    expected = last.memory_bytes * size / last.size
    if expected <= MEMORY_SHARE * memory_bytes:
        return ""
    return f"{size} trials would take {expected / 1e9:.1f} GB of the {memory_bytes / 1e9:.1f} GB of a worker"


def typical(spec: SweepSpec) -> dict[str, Any]:
    """Return hyperparameters from the middle of every range and of every list of choices."""
    searched = {key: _middle(dimension) for key, dimension in (spec.search or {}).items()}
    return {**searched, **spec.fixed}


def _middle(dimension: Dimension) -> Any:
    if isinstance(dimension, Choice):
        return dimension.choices[len(dimension.choices) // 2]
    low, high = dimension.low, dimension.high
    middle = (low * high) ** 0.5 if dimension.log else (low + high) / 2
    return round(middle) if isinstance(dimension, Int) else middle


def _load_libraries(spec: SweepSpec, splits: Splits, device: torch.device) -> None:
    """Train on one batch: the first of a process takes what none of its cohorts takes."""
    first = [TrialSpec(number=0, hyperparameters=typical(spec))]
    rows = solo.batch_size(first[0], spec)
    step, evaluate, _ = _alone(first, spec, splits, device)
    step(itertools.islice(Batches(splits.train, rows, device, ordered=splits.ordered).in_order(), 1))
    evaluate(itertools.islice(Batches(splits.validation, rows, device, ordered=splits.ordered).in_order(), 1))


def _measure_one(spec: SweepSpec, splits: Splits, device: torch.device, size: int) -> Measured:
    trials = [TrialSpec(number=number, hyperparameters=typical(spec)) for number in range(size)]
    rows = solo.batch_size(trials[0], spec)
    train = Batches(splits.train, rows, device, ordered=splits.ordered)
    held_out = Batches(splits.validation, rows, device, ordered=splits.ordered)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    start_s = time.perf_counter()
    step, evaluate, kept_bytes = (_alone if size == 1 else _together)(trials, spec, splits, device)
    built_s = time.perf_counter() - start_s
    first_step_s, step_s = _time(step, lambda: train.shuffled(spec.seed, 1), device)
    first_evaluate_s, evaluate_s = _time(evaluate, held_out.in_order, device)
    num_held_out = -(-held_out.rows // (1 if splits.ordered else rows))
    epoch_s = step_s * train.steps + evaluate_s * num_held_out
    used = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else kept_bytes
    return Measured(
        size=size,
        trials_per_s=size / (epoch_s * (spec.epochs or 1)),
        memory_bytes=int(used),
        startup_s=built_s + max(0.0, first_step_s - step_s) + max(0.0, first_evaluate_s - evaluate_s),
    )


Pass = Callable[[Iterator[Batch]], Any]


def _alone(
    trials: Sequence[TrialSpec], spec: SweepSpec, splits: Splits, device: torch.device
) -> tuple[Pass, Pass, int]:
    """Return what trains on batches, what evaluates on them, and the bytes that this keeps."""
    model = solo.build_model(trials[0], spec, splits).to(device)
    dropouts = replace_dropout(model, spec.seed, 0)
    optimizer = solo.make_optimizer(model, trials[0].hyperparameters)
    kept = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    return (
        lambda batches: solo.train_epoch(model, optimizer, batches, splits, dropouts, 0, spec.precision),
        lambda batches: solo.evaluate(model, batches, splits),
        KEPT * kept,
    )


def _together(
    trials: Sequence[TrialSpec], spec: SweepSpec, splits: Splits, device: torch.device
) -> tuple[Pass, Pass, int]:
    group, *others = grouping.groups(trials, spec, splits, {})
    if others:
        differs = grouping.difference(group[0][1], others[0][0][1])
        raise CannotStack(f"their models differ in {differs}")
    stack = Stack(
        trials,
        [model for _, model in group],
        device=device,
        seed=spec.seed,
        task=splits.task,
        carry=splits.ordered,
        precision=spec.precision,
    )
    kept = sum(rows.numel() * rows.element_size() for rows in stack.rows.values())
    return lambda batches: stack.train_epoch(batches, 0), stack.evaluate, KEPT * kept


KEPT = 5
"""Copies of the parameters that training holds: themselves, the best, gradients, two of the optimizer."""


def _time(run: Pass, batches: Callable[[], Iterator[Batch]], device: torch.device) -> tuple[float, float]:
    """Return the seconds that a batch takes: the first, and the least of several times after it."""
    batch = next(batches())
    taken: list[float] = []
    while sum(taken[1:]) < SECONDS and len(taken) < 51:
        start_s = time.perf_counter()
        run(iter([batch]))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - start_s)
    return taken[0], min(taken[1:])
