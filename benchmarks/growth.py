"""`python -m benchmarks.growth`: what a sweep costs per trial beside its training, as it grows.

Whole sweeps of the regression net with one short epoch, early stopping off, all with the same cohort
size. Overhead is wall time from the first report to the end of the call, less what the workers trained,
per trial; memory is the driver's, from a fifth of its trials to all of them.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import machine, process, tables
from benchmarks.__main__ import RESULTS

TRIALS = (100, 1000, 10_000)
COHORT = 16
MOST_GROWTH, MOST_KB = 1.5, 30.0


def main() -> int:
    if len(sys.argv) == 4 and sys.argv[1] == "--one":
        return _one(int(sys.argv[2]), Path(sys.argv[3]))
    options = _parser().parse_args()
    circumstances = machine.describe("python -m benchmarks.growth " + " ".join(sys.argv[1:]))
    found: dict[int, list[dict[str, float]]] = {}
    for _ in range(options.repeats):
        for trials in options.trials:
            found.setdefault(trials, []).append(_apart(trials))
            print(f"{trials}: {found[trials][-1]}", file=sys.stderr)
    text = f"{_markdown(found)}\n\n{tables.circumstances_markdown(circumstances)}\n"
    print(text)
    if options.keep:
        (RESULTS / "growth.md").write_text(text, encoding="utf-8")
        plain = {**circumstances, "cohort": COHORT, "found": found}
        (RESULTS / "growth.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    return 0


def _apart(trials: int) -> dict[str, float]:
    """Run one sweep in a process of its own, in a fresh home."""
    with tempfile.TemporaryDirectory(prefix="bench-growth-") as folder:
        answer = Path(folder) / "answer.json"
        process.run("benchmarks.growth", ["--one", str(trials), str(answer)], Path(folder) / "errors.log")
        found: dict[str, float] = json.loads(answer.read_text(encoding="utf-8"))
        return found


def _one(trials: int, answer: Path) -> int:
    """Run one sweep, and leave what it took in a file."""
    import tuning
    from benchmarks.ours import Witness

    witness = Witness()
    witness.install()
    memory = _Memory(witness)
    start_s = time.monotonic()
    result = tuning.sweep(
        tuning.SweepSpec(
            model="net",
            epochs=1,
            trials=trials,
            cohort=COHORT,
            early_stopping=tuning.EarlyStopping(kind="none"),
            resources=tuning.Resources(gpus=0),
            home=str(answer.parent / "home"),
        )
    )
    wall_s = time.monotonic() - start_s - result.startup_s["first report"]
    workers = len({epoch.worker for epoch in witness.epochs.values()})
    trained_s = sum(epoch.end_s - epoch.start_s for epoch in witness.epochs.values()) / workers
    plain = {
        "wall_s": wall_s,
        "overhead_ms": (wall_s - trained_s) / trials * 1e3,
        "late_over_early": _late_over_early(sorted(epoch.end_s for epoch in witness.epochs.values())),
        "kb_per_trial": memory.growth_kb(trials),
        "peak_mb": max(kb for _, kb in memory.seen) / 1e3,
    }
    answer.write_text(json.dumps(plain), encoding="utf-8")
    return 0


class _Memory:
    """Looks at this process's resident memory five times a second."""

    def __init__(self, witness: Any) -> None:
        self.seen: list[tuple[int, float]] = []
        """Trials that have reported, and kB."""
        self._witness = witness
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.seen.append((len(self._witness.epochs), pages * os.sysconf("SC_PAGE_SIZE") / 1e3))
            time.sleep(0.2)

    def growth_kb(self, trials: int) -> float:
        """Return the growth per trial since a fifth of them had reported."""
        warm, warm_kb = next(found for found in self.seen if found[0] >= trials / 5)
        last, last_kb = self.seen[-1]
        return (last_kb - warm_kb) / max(1, last - warm)


def _markdown(found: dict[int, list[dict[str, float]]]) -> str:
    overhead = {trials: median(run["overhead_ms"] for run in runs) for trials, runs in found.items()}
    names = {"wall_s": "s", "overhead_ms": "overhead, ms per trial", "kb_per_trial": "kB per trial"}
    rows = [
        (f"{trials:,}", *(tables.spread([run[name] for run in runs], ".1f") for name in (*names, "peak_mb")))
        for trials, runs in found.items()
    ]
    last = max(found)
    memory = median(run["kb_per_trial"] for run in found[last])
    judged = tables.table(
        ("", "found", "target"),
        [
            *(
                (
                    f"overhead per trial at {last:,} over {few:,}",
                    f"{overhead[last] / overhead[few]:.2f}",
                    f"at most {MOST_GROWTH:g}",
                )
                for few in sorted(found)[:-1]
            ),
            (
                f"last tenth over second tenth of {last:,} trials, time",
                f"{median(run['late_over_early'] for run in found[last]):.2f}",
                f"at most {MOST_GROWTH:g}",
            ),
            (f"driver memory per trial at {last:,}, kB", f"{memory:.1f}", f"at most {MOST_KB:g}"),
        ],
    )
    head = ("trials", *names.values(), "driver's peak, MB")
    return "\n\n".join(
        (
            "# Overhead as a sweep grows",
            f"One epoch each, cohorts of {COHORT}. Everything from the first report to the end of the call "
            "counts: suggestions, Ray, records in MLflow, checkpoints, shutdown.",
            tables.table(head, rows),
            judged,
        )
    )


def _late_over_early(ends_s: list[float]) -> float:
    """Return the time that the last tenth of the trials took over that of the second tenth."""
    tenth = len(ends_s) // 10
    return (ends_s[-1] - ends_s[-1 - tenth]) / (ends_s[2 * tenth] - ends_s[tenth])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--trials", nargs="+", type=int, default=list(TRIALS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="write the results to benchmarks/results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
