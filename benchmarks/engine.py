"""The engine alone: trials per second one after the other, side by side in processes, and stacked.

Needs torch and this package only, no Ray, Optuna or MLflow: `python -m benchmarks.engine --device cuda`.
Every mode trains the same configurations with the same batches; times are of steps, evaluation left out.
"""

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

import models
from benchmarks import figure, machine, tables
from benchmarks.job import Job, draw
from tuning import data
from tuning.data import Splits
from tuning.engine import compiled, memory, solo
from tuning.engine.batches import Batches
from tuning.engine.layers import replace_dropout
from tuning.engine.stack import Stack
from tuning.records import TrialSpec
from tuning.references import load_model
from tuning.resolve import resolve
from tuning.spec import SweepSpec

RESULTS = Path(__file__).parent / "results"
SIZES = (1, 4, 16, 64, 256)
MODES = ("serial", "processes", "cohort", "compiled", "graph")
"""`compiled`: the cohort with `--compile`. `graph`: its step captured as a CUDA graph, on a GPU only."""

SECONDS = 0.5
"""Time that each measurement takes, at least, after a first step."""

LONGEST_S = 1.0
"""A step that takes longer is the largest that is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    model: str
    mode: str
    precision: str
    size: int
    """Trials at once: in one stack, or in as many processes."""
    steps_per_s: float
    """Steps of single trials, all together."""
    memory_mb: float | None
    """Peak on the GPU; None on a CPU."""


def main() -> int:
    parser = _parser()
    options = parser.parse_args()
    if "graph" in options.mode and options.device != "cuda":
        parser.error("--mode graph needs a GPU (--device cuda)")
    memory.keep_freed()  # as the workers of a sweep do
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    found: list[Found] = []
    for model in options.model or models.CATALOG:
        for precision in options.precision:
            for mode in options.mode or (mode for mode in MODES if mode != "graph" or device.type == "cuda"):
                for size in (1,) if mode == "serial" else options.sizes:
                    one = measure(model, mode, size, precision, device)
                    if one is None:
                        break
                    found.append(one)
                    print(
                        f"{model} {mode} {precision} x{size}: {one.steps_per_s:.1f} steps/s", file=sys.stderr
                    )
    circumstances = machine.describe("python -m benchmarks.engine " + " ".join(sys.argv[1:]))
    text = f"{markdown(found, device)}\n\n{tables.circumstances_markdown(circumstances)}\n"
    print(text)
    if not options.keep:
        return 0
    name = f"engine_{device.type}"
    plain = {**circumstances, "found": [asdict(one) for one in found]}
    (RESULTS / f"{name}.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    figure.speedups(speedups(found, options.precision[0]), RESULTS / f"{name}.svg")
    return 0


def measure(model: str, mode: str, size: int, precision: str, device: torch.device) -> Found | None:
    """Return what was found; None when the device's memory does not hold it."""
    job = draw(model, trials=size, epochs=1)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    try:
        rate = (
            _processes(job, precision, device) if mode == "processes" else _rate(job, mode, precision, device)
        )
    except torch.OutOfMemoryError:
        return None
    peak = torch.cuda.max_memory_allocated(device) / 1e6 if device.type == "cuda" else None
    return Found(model=model, mode=mode, precision=precision, size=size, steps_per_s=rate, memory_mb=peak)


def _rate(job: Job, mode: str, precision: str, device: torch.device) -> float:
    """Return the steps of single trials per second."""
    spec, splits = _settings(job)
    trials = [TrialSpec(number=i, hyperparameters=dict(one)) for i, one in enumerate(job.configurations)]
    batches = Batches(splits.train, job.batch_size, device, ordered=splits.ordered)
    batch = next(batches.shuffled(job.seed, 1))
    train = {"serial": _alone, "cohort": _stacked, "compiled": _compiled, "graph": _captured}[mode](
        trials, spec, splits, device
    )

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            train(iter([batch]))
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return len(trials) / _seconds(step)


def _settings(job: Job) -> tuple[SweepSpec, Splits]:
    splits = data.load(job.data, seed=job.seed)
    spec = SweepSpec(model=job.model, epochs=job.epochs, batch_size=job.batch_size)
    return resolve(spec, load_model(job.model), splits.task), splits


def _alone(
    trials: Sequence[TrialSpec], spec: SweepSpec, splits: Splits, device: torch.device
) -> Callable[[Any], Any]:
    model = solo.build_model(trials[0], spec, splits).to(device)
    dropouts = replace_dropout(model, spec.seed, trials[0].number)
    optimizer = solo.make_optimizer(model, trials[0].hyperparameters)
    return lambda batches: solo.train_epoch(model, optimizer, batches, splits, dropouts, 0)


def _stacked(
    trials: Sequence[TrialSpec], spec: SweepSpec, splits: Splits, device: torch.device
) -> Callable[[Any], Any]:
    built = [solo.build_model(trial, spec, splits) for trial in trials]
    stack = Stack(
        trials,
        built,
        device=device,
        seed=spec.seed,
        task=splits.task,
        carry=splits.ordered,
        compile=spec.compile,
    )
    return lambda batches: stack.train_epoch(batches, 0)


def _compiled(
    trials: Sequence[TrialSpec], spec: SweepSpec, splits: Splits, device: torch.device
) -> Callable[[Any], Any]:
    compiled.HOT_S = 0.0  # at the first step, which `_seconds` leaves out
    return _stacked(trials, replace(spec, compile=True), splits, device)


def _captured(
    trials: Sequence[TrialSpec], spec: SweepSpec, splits: Splits, device: torch.device
) -> Callable[[Any], Any]:
    """Capture the step at its first batch. A replay repeats its masks: it shows the speed, no training."""
    built = [solo.build_model(trial, spec, splits) for trial in trials]
    stack = Stack(trials, built, device=device, seed=spec.seed, task=splits.task, carry=splits.ordered)
    graph = torch.cuda.CUDAGraph()
    captured = False

    def step(inputs: torch.Tensor, targets: torch.Tensor) -> None:
        _, gradients, _ = stack.gradients(inputs, targets, (), 0)
        stack.optimizer.step(gradients)

    def replay(batches: Any) -> None:
        nonlocal captured
        if not captured:
            (batch,) = batches
            side = torch.cuda.Stream(device)  # warm up aside, as torch's documentation of graphs asks
            side.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(side):
                for _ in range(3):
                    step(*batch)
            torch.cuda.current_stream(device).wait_stream(side)
            with torch.cuda.graph(graph):
                step(*batch)
            captured = True
        graph.replay()

    return replay


def _seconds(step: Callable[[], None]) -> float:
    """Return the median of a step's time."""
    step()
    taken: list[float] = []
    while sum(taken) < SECONDS or len(taken) < 3:
        start_s = time.perf_counter()
        step()
        taken.append(time.perf_counter() - start_s)
    return sorted(taken)[len(taken) // 2]


def _processes(job: Job, precision: str, device: torch.device) -> float:
    """Return the rate of as many processes as there are configurations, all on one device at once."""
    context = multiprocessing.get_context("spawn")
    count = len(job.configurations)
    barrier = context.Barrier(count)
    with context.Pool(count, _wait_for, (barrier,)) as pool:
        rates = pool.map(partial(_one_of_many, job, precision, str(device)), range(count), chunksize=1)
    return sum(rates)


_barrier: Any = None


def _wait_for(barrier: Any) -> None:
    global _barrier
    _barrier = barrier
    torch.set_num_threads(1)


def _one_of_many(job: Job, precision: str, device: str, index: int) -> float:
    _barrier.wait()
    return _rate(job, "serial", precision, torch.device(device))


def speedups(found: Sequence[Found], precision: str) -> dict[str, dict[int, float]]:
    """Return, by model and cohort size, by how much a cohort is faster than one trial after the other."""
    serial = {
        one.model: one.steps_per_s for one in found if one.mode == "serial" and one.precision == precision
    }
    result: dict[str, dict[int, float]] = {}
    for one in found:
        if one.mode == "cohort" and one.precision == precision and one.model in serial:
            result.setdefault(one.model, {})[one.size] = one.steps_per_s / serial[one.model]
    return result


def markdown(found: Sequence[Found], device: torch.device) -> str:
    modes = list(dict.fromkeys((one.mode, one.precision, one.size) for one in found))
    rates = {(one.model, one.mode, one.precision, one.size): one.steps_per_s for one in found}
    rows = []
    for model in dict.fromkeys(one.model for one in found):
        base = rates.get((model, "serial", found[0].precision, 1))
        cells = []
        for mode in modes:
            rate = rates.get((model, *mode))
            cells.append("" if rate is None else f"{rate:,.0f}" + (f" ({rate / base:.1f})" if base else ""))
        rows.append((model, *cells))
    head = ("steps/s (over serial)", *(f"{mode} {precision} x{size}" for mode, precision, size in modes))
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{torch.get_num_threads()} CPU thread(s)"
    )
    return f"# The engine alone, on {name}\n\n{tables.table(head, rows)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", action="append", choices=tuple(models.CATALOG))
    parser.add_argument("--mode", nargs="+", choices=MODES, default=["serial", "cohort"])
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32"])
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--threads", type=int, default=1, help="threads of torch on a CPU (1)")
    parser.add_argument("--keep", action="store_true", help="write table and figure to benchmarks/results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
