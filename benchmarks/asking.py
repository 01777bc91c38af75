"""`python -m benchmarks.asking`: milliseconds per suggestion, by the number of trials in the study.

One core, no training: a study of so many trials is asked for a few more. Beside it Optuna's own
`TPESampler` in a study of its own in memory, which has no file to write.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import optuna

from benchmarks import machine, tables
from benchmarks.__main__ import RESULTS
from tuning.data import load
from tuning.records import State
from tuning.references import load_model
from tuning.resolve import resolve
from tuning.spec import SweepSpec
from tuning.study import Study
from tuning.study.suggest import suggest

MODEL = "net"
TRIALS = (100, 1000, 10_000)
COHORTS = (1, 64, 256)
MOST_MS = 15.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.asking", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="write the results to benchmarks/results")
    options = parser.parse_args()
    circumstances = machine.describe("python -m benchmarks.asking " + " ".join(sys.argv[1:]))
    task = load("parabola", seed=0).task
    spec = resolve(SweepSpec(model=MODEL, name="asking"), load_model(MODEL), task)
    found: dict[str, dict[int, float]] = {"Optuna's TPESampler": {n: _plain(spec, n) for n in TRIALS}}
    for size in COHORTS:
        found[f"cohorts of {size}"] = {}
    for trials in TRIALS:
        for size, taken_ms in _ours(spec, trials).items():
            found[f"cohorts of {size}"][trials] = taken_ms
    rows = [(name, *(f"{by_count[n]:.1f}" for n in TRIALS)) for name, by_count in found.items()]
    worst = max(by_count[TRIALS[-1]] for name, by_count in found.items() if name.startswith("cohorts"))
    text = "\n\n".join(
        (
            "# Milliseconds per suggestion",
            f"Four dimensions; ours written to its file. At {TRIALS[-1]:,} trials at most {worst:.1f} ms; "
            f"target: at most {MOST_MS:g}.",
            tables.table(("trials in the study", *(f"{n:,}" for n in TRIALS)), rows),
            tables.circumstances_markdown(circumstances),
        )
    )
    print(text)
    if options.keep:
        (RESULTS / "asking.md").write_text(text + "\n", encoding="utf-8")
        (RESULTS / "asking.json").write_text(json.dumps({**circumstances, "ms": found}, indent=1) + "\n")
    return 0


def _value(hyperparameters: dict[str, Any], noise: random.Random) -> float:
    lr, momentum = float(hyperparameters["lr"]), float(hyperparameters["momentum"])
    return (lr - 0.05) ** 2 + 0.1 * momentum + 0.01 * noise.random()


def _ours(spec: SweepSpec, trials: int) -> dict[int, float]:
    """Return milliseconds per suggestion by size of the cohort, in a study of so many ended trials."""
    noise = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        study = Study(spec, Path(folder) / "study.journal", write=True)

        def end(count: int) -> float:
            start_s = time.perf_counter()
            asked = study.ask_many(count)
            taken_ms = (time.perf_counter() - start_s) / count * 1e3
            with study.batch():
                for trial in asked:
                    study.report(trial.number, 1, _value(trial.hyperparameters, noise))
                    study.tell(trial.number, State.COMPLETED)
            return taken_ms

        for _ in range(0, trials, 50):
            end(50)
        return {size: median(end(size) for _ in range(20 if size == 1 else 5)) for size in COHORTS}


def _plain(spec: SweepSpec, trials: int) -> float:
    assert spec.search is not None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    noise = random.Random(0)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    taken_ms = []
    for number in range(trials + 20):
        if number == trials:
            study.sampler = optuna.samplers.TPESampler(seed=0)
        start_s = time.perf_counter()
        trial = study.ask()
        chosen = {key: suggest(trial, key, dimension) for key, dimension in spec.search.items()}
        taken_ms.append((time.perf_counter() - start_s) * 1e3)
        study.tell(trial, _value(chosen, noise))
    return median(taken_ms[trials:])


if __name__ == "__main__":
    sys.exit(main())
