"""`python -m benchmarks.report`: seconds and megabytes of a report, by trials and hyperparameters.

`tuning report` as a process of its own, over studies that were made up: half of the trials were stopped at
the first rung, each trained on one of 16 workers in a cohort per rung. Reading the study counts, as does the
import of what draws; MLflow, which has no run of such a sweep, is asked for it.
"""

import argparse
import json
import random
import resource
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from benchmarks import findings, machine, process
from benchmarks.__main__ import RESULTS
from benchmarks.findings import Check, Findings
from tuning import notation, storage
from tuning.paths import SweepPaths
from tuning.records import Span
from tuning.space import Float
from tuning.spec import SweepSpec
from tuning.study import Study

TRIALS = (5, 1000, 10_000)
KEYS = (5, 16)
"""Hyperparameters that are searched."""

MOST_S, MOST_MB = 20.0, 10.0
STARTS = (0, 1, 3)
"""Epochs after which a cohort begins: the start, and the rungs."""
EPOCHS, WORKERS = 9, 16
BEGIN_S = 1_700_000_000.0


@dataclass(frozen=True, slots=True)
class Taken:
    trials: int
    keys: int
    wall_s: float
    cpu_s: float
    """Of all cores."""
    megabytes: float


def main() -> int:
    options = _parser().parse_args()
    circumstances = machine.describe("python -m benchmarks.report " + " ".join(sys.argv[1:]))
    taken = [_taken(trials, keys) for trials in options.trials for keys in KEYS]
    part = {**circumstances, **findings.plain(judged(taken))}
    text = findings.document("The report", [part])
    print(text)
    if options.keep:
        (RESULTS / "report.md").write_text(text, encoding="utf-8")
        (RESULTS / "report.json").write_text(json.dumps(part, indent=1) + "\n", encoding="utf-8")
    return 0


def judged(taken: list[Taken]) -> Findings:
    """Return the measurements as a table, the worst of them beside what is asked."""
    names = ("trials", "hyperparameters", "s", "CPU s", "MB")
    return Findings(
        title="Seconds and megabytes",
        text="`tuning report NAME --to FILE`, from its start to its end, over made-up studies.",
        head=names,
        rows=[
            (f"{one.trials:,}", str(one.keys), *(f"{found:.1f}" for found in astuple(one)[2:]))
            for one in taken
        ],
        checks=[
            Check("seconds", max(one.wall_s for one in taken), MOST_S),
            Check("megabytes", max(one.megabytes for one in taken), MOST_MB),
        ],
        raw={"taken": [dict(zip(names, astuple(one), strict=True)) for one in taken]},
    )


def _taken(trials: int, keys: int) -> Taken:
    print(f"{trials} trials, {keys} hyperparameters", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="bench-report-") as folder:
        home, page = Path(folder) / "home", Path(folder) / "report.html"
        _make_up(SweepPaths(home, "made-up"), trials, keys)
        before_s = _children_s()
        command = ["report", "made-up", "--home", str(home), "--to", str(page)]
        timed = process.run("tuning", command, Path(folder) / "errors.log")
        return Taken(
            trials=trials,
            keys=keys,
            wall_s=timed.exited_s - timed.launched_s,
            cpu_s=_children_s() - before_s,
            megabytes=page.stat().st_size / 1e6,
        )


def _children_s() -> float:
    """Return the CPU seconds of all processes that this one has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _make_up(where: SweepPaths, trials: int, keys: int) -> None:
    """Write the folder of a sweep that has ended."""
    search = {f"hyperparameter_{index:02d}": Float(0.0, 1.0) for index in range(keys)}
    spec = SweepSpec(
        model="net",
        data="noisy_square",
        name=where.name,
        trials=trials,
        epochs=EPOCHS,
        batch_size=64,
        metric="val_loss",
        mode="min",
        search=search,
        id="7d1f7a7e-0000-4000-8000-000000000000",
    )
    storage.write(str(where.spec), notation.dump(spec).encode())
    Study(spec, where.journal, write=True)  # makes it; what follows are trials as it keeps them
    backend = optuna.storages.journal.JournalFileBackend(str(where.journal))
    study = optuna.load_study(study_name=spec.name, storage=optuna.storages.JournalStorage(backend))
    study.add_trials(_trials(trials, list(search)))


def _trials(count: int, keys: list[str]) -> Iterator[FrozenTrial]:
    draw = random.Random(0)
    free_s = [BEGIN_S] * WORKERS
    for number in range(count):
        params = {key: draw.random() for key in keys}
        off = sum((value - 0.5) ** 2 for value in params.values())
        epochs = draw.choice((1, 1, 3, EPOCHS))
        values = {epoch: off + 1 / epoch + 0.1 * draw.random() for epoch in range(1, epochs + 1)}
        worker = free_s.index(min(free_s))
        spans = []
        for start in (start for start in STARTS if start < epochs):
            until_s = free_s[worker] + draw.uniform(0.5, 1.5) * (start + 1)
            spans.append(Span(f"host, GPU {worker // 4}", worker, free_s[worker], until_s))
            free_s[worker] = until_s + 0.1 * draw.random()
        attributes: dict[str, Any] = {"spans": [list(astuple(span)) for span in spans]}
        attributes |= {"where": spans[-1].where, "cohort": f"{number:012x}", "stacks": [[1, 0, 1]]}
        is_whole = epochs == EPOCHS
        yield create_trial(
            state=TrialState.COMPLETE if is_whole else TrialState.PRUNED,
            value=min(values.values()),
            params=params,
            distributions={key: FloatDistribution(0.0, 1.0) for key in keys},
            intermediate_values=values,
            user_attrs=attributes,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--trials", nargs="+", type=int, default=list(TRIALS))
    parser.add_argument("--keep", action="store_true", help="write the results to benchmarks/results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
