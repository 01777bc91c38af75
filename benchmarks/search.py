"""`python -m benchmarks.search`: does a search in cohorts find models as good as one by one?

One core, no Ray, no MLflow: only who suggests and how many at a time differ. One by one: Optuna's own
`TPESampler`, which sees every result before the next suggestion, and the solo engine. In cohorts: as a
sweep of two workers does it, the study's suggestions for a whole cohort while another one trains.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any, cast
from unittest import mock

import torch

from benchmarks import machine, tables
from benchmarks.__main__ import RESULTS

MODELS = {"net": (384, 30), "batchnorm_net": (192, 3)}
"""Trials and epochs by model."""

SEEDS = 10
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Way:
    """How a search asks."""

    size: int
    """Trials of a cohort; 1: single trials, suggested by Optuna's `TPESampler()` itself."""
    in_flight: int = WORKERS
    """Cohorts that are suggested and not yet ended, that which trains among them."""
    options: dict[str, bool] = field(default_factory=dict)
    """Of Optuna's `TPESampler`; its defaults are a constant liar and one density over all parameters."""


VARIANTS = {
    "without a constant liar": {"constant_liar": False},
    "each parameter by itself": {"multivariate": False},
    "in groups": {"multivariate": True, "group": True},
}
"""What else Optuna offers, tried with cohorts of the first size."""

Found = list[tuple[float, float]]
"""Seconds since the start and value of each trial, in the order in which they ended."""


def main() -> int:
    options = _parser().parse_args()
    circumstances = machine.describe("python -m benchmarks.search " + " ".join(sys.argv[1:]))
    ways = _ways(options.sizes)
    jobs = [(model, way, seed) for model in options.models for seed in range(options.seeds) for way in ways]
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        done = pool.starmap(_search, [(model, ways[way], seed) for model, way, seed in jobs], chunksize=1)
    found: dict[str, dict[str, list[Found]]] = {}
    for (model, way, _), one in zip(jobs, done, strict=True):
        found.setdefault(model, {}).setdefault(way, []).append(one)
    text = "\n\n".join([_markdown(found), tables.circumstances_markdown(circumstances)]) + "\n"
    print(text)
    if options.keep:
        (RESULTS / "search.md").write_text(text, encoding="utf-8")
        plain = {**circumstances, "values": _values(found)}
        (RESULTS / "search.json").write_text(json.dumps(plain) + "\n", encoding="utf-8")
    return 0


def _ways(sizes: list[int]) -> dict[str, Way]:
    together = {f"cohorts of {size}": Way(size) for size in sizes}
    variants = {f"{sizes[0]}, {name}": Way(sizes[0], options=options) for name, options in VARIANTS.items()}
    return {"one by one": Way(1, 1), "two at a time": Way(1), **together, **variants}


def _search(model: str, way: Way, seed: int) -> Found:
    import optuna

    torch.set_num_threads(1)
    spec, splits = _settings(model, seed)
    _warm_up(spec, splits)
    start_s = time.perf_counter()
    sampler: Any = partial(optuna.samplers.TPESampler, **cast("dict[str, Any]", way.options))
    with mock.patch("tuning.study.suggest.TPESampler", sampler):
        ended = _singly(spec, splits, way) if way.size == 1 else _in_cohorts(spec, splits, way)
        return [(time.perf_counter() - start_s, value) for value in ended]


def _settings(model: str, seed: int) -> tuple[Any, Any]:
    """Return the sweep's complete spec and its data."""
    from benchmarks.job import complete
    from tuning.spec import SweepSpec

    trials, epochs = MODELS[model]
    return complete(
        SweepSpec(model=model, trials=trials, epochs=epochs, name="search", seed=seed, id=f"{seed:032}")
    )


def _warm_up(spec: Any, splits: Any) -> None:
    """Train once: what a process does at its first step is no part of a search."""
    from tuning.records import TrialSpec

    _train_alone(TrialSpec(number=0, hyperparameters={}), replace(spec, epochs=1), splits)


def _singly(spec: Any, splits: Any, way: Way) -> Iterator[float]:
    import optuna

    from tuning.records import TrialSpec
    from tuning.study.suggest import suggest

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize" if spec.mode == "max" else "minimize",
        sampler=optuna.samplers.TPESampler(seed=spec.seed),
    )
    waiting: deque[TrialSpec] = deque()
    for left in range(spec.trials, 0, -1):
        while len(waiting) < min(way.in_flight, left):
            trial = study.ask()
            chosen = {key: suggest(trial, key, dimension) for key, dimension in spec.search.items()}
            waiting.append(TrialSpec(number=trial.number, hyperparameters=chosen))
        oldest = waiting.popleft()
        value = _train_alone(oldest, spec, splits)
        if value is None:
            study.tell(oldest.number, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(oldest.number, value)
        yield _WORST[spec.mode] if value is None else value


_WORST = {"min": float("inf"), "max": float("-inf")}


def _train_alone(trial: Any, spec: Any, splits: Any) -> float | None:
    """Return a trial's best value; None if it diverges."""
    from tuning.engine import solo
    from tuning.records import State

    device = torch.device("cpu")
    reports = [report for report, _ in solo.train(trial, spec, splits, until=spec.epochs, device=device)]
    if reports[-1].state is State.DIVERGED:
        return None
    return float(_BEST[spec.mode](report.metrics[spec.metric] for report in reports))


_BEST: dict[str, Any] = {"min": min, "max": max}


def _in_cohorts(spec: Any, splits: Any, way: Way) -> Iterator[float]:
    from tuning.records import State
    from tuning.study import Study

    with tempfile.TemporaryDirectory() as folder:
        study = Study(spec, Path(folder) / "study.log", write=True)
        waiting: deque[list[Any]] = deque()
        left = spec.trials
        while left or waiting:
            while left and len(waiting) < way.in_flight:
                waiting.append(study.ask_many(min(way.size, left)))
                left -= len(waiting[-1])
            together = waiting.popleft()
            values = train_together(together, spec, splits)
            with study.batch():
                for trial in together:
                    state = State.COMPLETED if trial.number in values else State.DIVERGED
                    if state is State.COMPLETED:
                        study.report(trial.number, spec.epochs, values[trial.number])
                    study.tell(trial.number, state)
            yield from (values.get(trial.number, _WORST[spec.mode]) for trial in together)


def train_together(trials: list[Any], spec: Any, splits: Any) -> dict[int, float]:
    """Return the best value of each trial that does not diverge."""
    from tuning.engine import cohort
    from tuning.records import Cohort, Member, State

    task = Cohort(id="a", members=tuple(Member(trial=trial) for trial in trials), until=spec.epochs)
    best: dict[int, float] = {}
    diverged = set()
    for epoch in cohort.train(task, spec, splits, device=torch.device("cpu"), resume={}):
        for report in epoch.reports:
            if report.state is State.DIVERGED:
                diverged.add(report.trial)
            else:
                value = report.metrics[spec.metric]
                best[report.trial] = _BEST[spec.mode](value, best.get(report.trial, value))
    return {number: value for number, value in best.items() if number not in diverged}


def _markdown(found: dict[str, dict[str, list[Found]]]) -> str:
    parts = ["# Best value against number of trials and against time", NOTES]
    for model, by_way in found.items():
        trials, epochs = MODELS[model]
        parts.append(f"## {model}, {trials} trials of {epochs} epochs, {SEEDS} seeds")
        counts = [count for count in (24, 48, 96, 192, 384) if count <= trials]
        rows = [
            (way, *(_spread([_best_of(run, count) for run in runs]) for count in counts), *_time(runs))
            for way, runs in by_way.items()
        ]
        head = ("after", *(f"{count} trials" for count in counts), "seconds for all")
        parts.append(tables.table(head, rows))
        alone = by_way["one by one"]
        whole_s = median(run[-1][0] for run in alone)
        times = [whole_s * share for share in (0.05, 0.1, 0.25, 0.5, 1.0)]
        rows = [
            (way, *(_spread([_best_until(run, time_s) for run in runs]) for time_s in times))
            for way, runs in by_way.items()
        ]
        parts.append(tables.table(("after", *(f"{time_s:.1f} s" for time_s in times)), rows))
        parts.append("\n".join(_duel(by_way, way, trials) for way in by_way if by_way[way] is not alone))
    return "\n\n".join(parts)


def _duel(by_way: dict[str, list[Found]], way: str, trials: int) -> str:
    """Say how often a way was as good as one by one at its end, and as good after the same time."""
    pairs = list(zip(by_way[way], by_way["one by one"], strict=True))
    same_trials = sum(_best_of(run, trials) <= _best_of(alone, trials) for run, alone in pairs)
    same_time = sum(_best_of(run, trials) <= _best_until(alone, run[-1][0]) for run, alone in pairs)
    return (
        f"- {way}: at least as good as one by one after as many trials in {same_trials} of {len(pairs)}, "
        f"after as much time as it took in {same_time} of {len(pairs)}."
    )


NOTES = (
    "Median over the seeds (first - third quartile) of the best validation loss so far, the lower the "
    "better. Two searches run at a time, each on one core. One by one: `TPESampler()` of Optuna, which sees "
    "each result before its next suggestion; two at a time: it lacks one result, as with two workers. "
    "Cohorts: suggested together while another one trains; variants: other options of `TPESampler`, whose "
    "defaults are a constant liar and one density over all parameters."
)


def _time(runs: list[Found]) -> tuple[str]:
    return (f"{median(run[-1][0] for run in runs):.1f}",)


def _best_of(run: Found, count: int) -> float:
    return min(value for _, value in run[:count])


def _best_until(run: Found, time_s: float) -> float:
    return min((value for at_s, value in run if at_s <= time_s), default=float("inf"))


def _spread(values: list[float]) -> str:
    if max(values) == float("inf"):
        return "-"
    low, _, high = quantiles(values, n=4) if len(values) > 1 else (values * 3)
    return f"{median(values):.4g} ({low:.4g} - {high:.4g})"


def _values(found: dict[str, dict[str, list[Found]]]) -> dict[str, Any]:
    return {
        model: {way: [[round(value, 8) for _, value in run] for run in runs] for way, runs in by_way.items()}
        for model, by_way in found.items()
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[16, 48], help="trials of a cohort")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--processes", type=int, default=2, help="searches at a time")
    parser.add_argument("--keep", action="store_true", help="write the results to benchmarks/results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
