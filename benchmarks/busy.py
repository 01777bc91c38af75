"""`python -m benchmarks.busy`: what each worker does while a sweep with early stopping runs, as a chart."""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks import figure, machine, process, tables, trace
from benchmarks.__main__ import RESULTS

MODEL, TRIALS = "batchnorm_net", 512


def main() -> int:
    if len(sys.argv) == 3 and sys.argv[1] == "--one":
        return _one(Path(sys.argv[2]))
    options = _parser().parse_args()
    circumstances = machine.describe("python -m benchmarks.busy " + " ".join(sys.argv[1:]))
    with tempfile.TemporaryDirectory(prefix="bench-busy-") as folder:
        path = Path(folder) / "trace.jsonl"
        process.run("benchmarks.busy", ["--one", str(path)], Path(folder) / "errors.log")
        epochs = trace.read(path)
    start_s, end_s = min(e.start_s for e in epochs), max(e.end_s for e in epochs)
    spans = spans_of(epochs)
    busy = {worker: sum(e.end_s - e.start_s for e in epochs if e.worker == worker) for worker in spans}
    shares = {worker: seconds / (end_s - start_s) for worker, seconds in busy.items()}
    text = "\n\n".join(
        (
            f"# What each worker does: {TRIALS} trials of the {MODEL}, with early stopping",
            "Seconds within epochs over the time from the first epoch to the last; the rest is building and "
            "saving models, and waiting for suggestions.",
            tables.table(("worker", "busy"), [(str(i), f"{s:.0%}") for i, s in enumerate(shares.values())]),
            tables.circumstances_markdown(circumstances),
        )
    )
    print(text)
    if options.keep:
        (RESULTS / "busy.md").write_text(text + "\n", encoding="utf-8")
        plain = {**circumstances, "busy": list(shares.values())}
        (RESULTS / "busy.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
        figure.busy({i: found for i, found in enumerate(spans.values())}, RESULTS / "busy.svg")
    return 0


Span = tuple[float, float, int]
"""Seconds since the first epoch at which it starts and ends, and the epoch that was trained."""


def spans_of(epochs: Iterable[trace.Epoch]) -> dict[int, list[Span]]:
    """Return what each worker trained, epochs of the same number that follow each other as one."""
    found: dict[int, list[Span]] = {}
    ordered = sorted(epochs, key=lambda epoch: epoch.start_s)
    start_s = ordered[0].start_s
    for epoch in ordered:
        spans = found.setdefault(epoch.worker, [])
        begin_s, end_s = epoch.start_s - start_s, epoch.end_s - start_s
        if spans and spans[-1][2] == epoch.epoch and begin_s - spans[-1][1] < 0.01:
            spans[-1] = (spans[-1][0], end_s, epoch.epoch)
        else:
            spans.append((begin_s, end_s, epoch.epoch))
    return found


def _one(path: Path) -> int:
    """Run the sweep, and leave its trace in a file."""
    import tuning
    from benchmarks.ours import Witness

    witness = Witness()
    witness.install()
    tuning.sweep(
        tuning.SweepSpec(
            model=MODEL, trials=TRIALS, resources=tuning.Resources(gpus=0), home=str(path.parent / "home")
        )
    )
    trace.append(path, *witness.epochs.values())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.busy", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="write the results to benchmarks/results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
