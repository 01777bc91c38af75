"""`python -m benchmarks.packing`: survivors of a rung packed into full cohorts, or stacks that shrink.

One core, no Ray: the same configurations under the same early stopping. Packed: as a sweep does it, with
resume files written and read and models built anew for every cohort. Shrinking: a stack goes on with its
own survivors until its last epoch; nothing is written, and the time in which this benchmark stacks them
anew at a rung, where a stack that shrinks would keep their rows, is not counted.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import machine, tables
from benchmarks.__main__ import RESULTS
from benchmarks.job import complete, draw
from tuning import halving, paths
from tuning.data import Splits
from tuning.dispatch import Dispatcher
from tuning.engine import cohort, memory, resume_state, solo
from tuning.engine.stacked import StackedTraining, members
from tuning.records import State, TrialSpec
from tuning.spec import EarlyStopping, SweepSpec
from tuning.study import Study

MODELS = {"net": (512, 54), "batchnorm_net": (256, 18), "rnn": (256, 18)}
"""Trials and epochs by model."""

STOPPING = EarlyStopping(grace_epochs=2, reduction=3)
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Taken:
    seconds: float
    epochs: int
    """Of single trials."""


def main() -> int:
    options = _parser().parse_args()
    circumstances = machine.describe("python -m benchmarks.packing " + " ".join(sys.argv[1:]))
    torch.set_num_threads(1)
    memory.keep_freed()
    found: dict[str, dict[str, list[Taken]]] = {}
    for model in options.models:
        for number in range(options.repeats + 1):
            for way in (packed, shrinking):
                taken = way(*_given(model), options.size)
                print(f"{model} {way.__name__}: {taken}", file=sys.stderr)
                if number:  # the first round loads libraries
                    found.setdefault(model, {}).setdefault(way.__name__, []).append(taken)
    text = f"{_markdown(found, options.size)}\n\n{tables.circumstances_markdown(circumstances)}\n"
    print(text)
    if options.keep:
        plain = {
            model: {way: [[one.seconds, one.epochs] for one in runs] for way, runs in by_way.items()}
            for model, by_way in found.items()
        }
        (RESULTS / "packing.md").write_text(text, encoding="utf-8")
        (RESULTS / "packing.json").write_text(json.dumps({**circumstances, "taken": plain}, indent=1) + "\n")
    return 0


def _given(model: str) -> tuple[SweepSpec, Splits]:
    trials, epochs = MODELS[model]
    job = draw(model, trials=trials, epochs=epochs)
    spec = SweepSpec(
        model=model, name="packing", epochs=epochs, batch_size=job.batch_size, trials=trials,
        try_=job.configurations, early_stopping=STOPPING,
    )  # fmt: skip
    return complete(replace(spec, id="0" * 32))


def packed(spec: SweepSpec, splits: Splits, size: int) -> Taken:
    """Run cohorts as the driver hands them out, one after the other."""
    epochs = 0
    start_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        study = Study(spec, Path(folder) / "study.log", write=True)
        study.enqueue(tuple(spec.try_))
        dispatcher = Dispatcher(spec, study, folder, [], size=size)
        while (task := dispatcher.next_cohort()) is not None:
            states: dict[int, dict[str, Any]] = {}
            for name in {member.resume for member in task.members if member.resume}:
                states |= resume_state.load(paths.resume_file(folder, name), task.numbers)
            ended: set[int] = set()
            for last in cohort.train(task, spec, splits, device=CPU, resume=states):
                dispatcher.report(last.reports)
                epochs += len(last.reports)
                ended |= {report.trial for report in last.reports if report.state is not State.RUNNING}
            left = [number for number in task.numbers if number not in ended]
            if left and task.until < dispatcher.epochs:
                file = paths.resume_file(folder, paths.resume_name(task.id))
                resume_state.save(file, last.to_plain(left))
            dispatcher.end(task.id)
    return Taken(time.perf_counter() - start_s, epochs)


def shrinking(spec: SweepSpec, splits: Splits, size: int) -> Taken:
    """Run one stack after the other, each from its first epoch to its last."""
    assert spec.epochs is not None and spec.metric is not None and spec.mode is not None
    stopper = halving.Stopper(spec.early_stopping, spec.epochs, spec.mode, {})
    trials = [TrialSpec(number=n, hyperparameters=dict(found)) for n, found in enumerate(spec.try_)]
    epochs = 0
    start_s = time.perf_counter()
    for first in range(0, len(trials), size):
        left = {trial.number: trial for trial in trials[first : first + size]}
        models = {number: solo.build_model(trial, spec, splits) for number, trial in left.items()}
        states: dict[int, dict[str, Any]] = {}
        for until in (*stopper.rungs, spec.epochs):
            pause_s = time.perf_counter()
            stack = StackedTraining(
                list(left.values()), [models[n] for n in left], spec, splits, device=CPU, resume=states
            )
            if states:
                start_s += time.perf_counter() - pause_s
            for report in stack.advance(until):
                epochs += 1
                if report.state is State.RUNNING:
                    stopper.told(report.trial, report.epoch, report.metrics[spec.metric])
            going_on = stopper.going_on(set(stack.going_on), until) if until < spec.epochs else set()
            left = {number: trial for number, trial in left.items() if number in going_on}
            if not left:
                break
            pause_s = time.perf_counter()
            shrunk = members(stack.to_plain(sorted(going_on))["stack"], None)
            states = {state["trial"]: state for state in shrunk}
            for number, state in states.items():
                models[number] = solo.build_model(left[number], spec, splits)
                models[number].load_state_dict(state["model"])
            start_s += time.perf_counter() - pause_s
    return Taken(time.perf_counter() - start_s, epochs)


def _markdown(found: dict[str, dict[str, list[Taken]]], size: int) -> str:
    rows = []
    for model, by_way in found.items():
        for way, runs in by_way.items():
            rate = tables.spread((one.epochs / one.seconds for one in runs), ".0f")
            seconds = tables.spread((one.seconds for one in runs), ".2f")
            rows.append((model, way, str(MODELS[model][0]), str(runs[0].epochs), seconds, rate))
    middles = {
        model: {way: median(one.seconds for one in runs) for way, runs in by_way.items()}
        for model, by_way in found.items()
    }
    gains = [f"{model}: {one['shrinking'] / one['packed']:.2f}" for model, one in middles.items()]
    head = ("", "", "trials", "trial-epochs", "seconds", "trial-epochs/s")
    return "\n\n".join(
        (
            "# Survivors packed into full cohorts, against stacks that shrink",
            f"Cohorts of {size}; {STOPPING}. Time of shrinking over time of packed: {', '.join(gains)}.",
            tables.table(head, rows),
        )
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.packing", description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--size", type=int, default=64, help="trials of a cohort")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="write the results to benchmarks/results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
