"""`python -m benchmarks.scaling`: how well 1, 2, 4 and 8 simulated nodes of 8 workers each are kept busy.

Ray, Tune, the searcher, the dispatcher and the study are real; only what a worker does is a stand-in.
"""

import argparse
import itertools
import json
import logging
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, quantiles
from types import SimpleNamespace
from typing import Any

from benchmarks import machine, process, stand_in, tables
from benchmarks.__main__ import RESULTS

NODES = (1, 2, 4, 8)
PER_NODE = 8
ROUNDS = 5
"""Trials that each worker has."""

LEAST_EFFICIENCY, MOST_GAP_S = 0.9, 0.3

Times = Mapping[str, Sequence[tuple[float, float]]]
"""When each worker's trials started and ended, by the wall clock, in order."""


def main() -> int:
    if len(sys.argv) == 4 and sys.argv[1] == "--one":
        return _one(int(sys.argv[2]), Path(sys.argv[3]))
    options = _parser().parse_args()
    circumstances = machine.describe("python -m benchmarks.scaling " + " ".join(sys.argv[1:]))
    found = {}
    for nodes in NODES:
        with tempfile.TemporaryDirectory(prefix="bench-scaling-") as folder:
            file = Path(folder) / "times.json"
            process.run("benchmarks.scaling", ["--one", str(nodes), str(file)], Path(folder) / "errors.log")
            told = json.loads(file.read_text())
            trials = sum(map(len, told["times"].values()))
            found[nodes] = {**summary(told["times"]), "driver_ms": told["driver_s"] / trials * 1e3}
        print(f"{nodes} nodes: {found[nodes]}", file=sys.stderr, flush=True)
    text = _markdown(found, circumstances)
    print(text)
    if options.keep:
        (RESULTS / "scaling.md").write_text(text + "\n", encoding="utf-8")
        plain = {**circumstances, "nodes": {str(nodes): one for nodes, one in found.items()}}
        (RESULTS / "scaling.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    return 0


def summary(times: Times) -> dict[str, float]:
    """Return what part of the time workers were busy, from their first trial to their last, and the gaps."""
    shares, gaps = [], []
    for spans in times.values():
        first_s, last_s = spans[0][0], spans[-1][1]
        shares.append(sum(end_s - start_s for start_s, end_s in spans) / (last_s - first_s))
        gaps += [start_s - end_s for (_, end_s), (start_s, _) in itertools.pairwise(spans)]
    return {
        "workers": len(times),
        "trials": sum(map(len, times.values())),
        "efficiency": sum(shares) / len(shares),
        "gap_s": median(gaps),
        "gap_mean_s": fmean(gaps),
        "gap_p90_s": quantiles(gaps, n=10)[-1],
    }


def _markdown(found: Mapping[int, Mapping[str, float]], circumstances: dict[str, Any]) -> str:
    rows = [
        (
            str(nodes),
            f"{one['workers']:.0f}",
            f"{one['trials']:.0f}",
            f"{one['efficiency']:.3f}",
            f"{one['gap_s'] * 1e3:.0f}",
            f"{one['gap_mean_s'] * 1e3:.0f}",
            f"{one['gap_p90_s'] * 1e3:.0f}",
            f"{one['driver_ms']:.0f}",
        )
        for nodes, one in found.items()
    ]
    most = found[max(found)]
    verdicts = [
        f"efficiency at {most['workers']:.0f} concurrent trials: {most['efficiency']:.3f} (asked for: at "
        f"least {LEAST_EFFICIENCY})",
        f"from the end of a trial to the start of the next one: {most['gap_s']:.3f} s, the median (asked "
        f"for: less than {MOST_GAP_S}), {most['gap_mean_s']:.3f} s in the mean: trials of one length end "
        "together, and the driver serves one after the other",
    ]
    return "\n\n".join(
        (
            "# How well nodes are kept busy",
            f"Simulated nodes of {PER_NODE} workers on one machine. A trial sleeps {stand_in.LENGTH_S:g} s "
            f"in {stand_in.EPOCHS} epochs, each reported; everything else is real: Ray, Tune, the study, the "
            "suggestions. Efficiency is the part of the time that a worker spends in trials, from the start "
            "of its first to the end of its last one: start-up is left out.",
            tables.table(
                (
                    "nodes",
                    "workers",
                    "trials",
                    "efficiency",
                    "gap, ms",
                    "mean, ms",
                    "90th percentile, ms",
                    "driver's CPU per trial, ms",
                ),
                rows,
            ),
            "\n".join(f"- {verdict}" for verdict in verdicts),
            tables.circumstances_markdown(circumstances),
        )
    )


def _one(nodes: int, file: Path) -> int:
    """Run a sweep on so many simulated nodes; leave the times of its trials in a file."""
    from tuning.schedule import connection  # sets what Ray reads when it is imported

    assert connection.nodes is not None
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(nodes):
        cluster.add_node(num_cpus=PER_NODE, object_store_memory=80_000_000)
    ray.init(address=cluster.address, logging_level=logging.ERROR, log_to_driver=False)
    try:
        file.write_text(json.dumps(_run(nodes * PER_NODE, file.parent)))
    finally:
        ray.shutdown()
        cluster.shutdown()
    return 0


def _run(workers: int, folder: Path) -> dict[str, Any]:
    """Return when each worker's trials started and ended, and the CPU time of the driver's process."""
    import tuning
    from tuning import plan
    from tuning.dispatch import Dispatcher
    from tuning.schedule import searcher
    from tuning.study import Study

    asked = tuning.SweepSpec(
        model="net",
        trials=workers * ROUNDS,
        epochs=stand_in.EPOCHS,
        cohort=1,
        early_stopping=tuning.EarlyStopping(kind="none"),
        resources=tuning.Resources(cpus=1, gpus=0),
        home=str(folder / "home"),
    )
    planned = plan.prepare(asked)
    study = Study(planned.spec, folder / "study.journal", write=True)
    dispatcher = Dispatcher(planned.spec, study, str(folder / "storage"), [], workers=workers)
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)

    heard: set[int] = set()

    def listen(message: Any) -> None:
        for report in message.reports:
            if report.epoch == stand_in.EPOCHS and report.trial not in heard:  # Tune tells the last twice
                heard.add(report.trial)
                worker = f"{message.worker['host']}/{message.worker['pid']}"
                times[worker].append((report.metrics["start_s"], report.metrics["end_s"]))

    vars(searcher).update(run_cohort=stand_in.run_cohort, Work=SimpleNamespace)  # those import torch
    before_s = time.process_time()
    searcher.run(
        planned.spec,
        dispatcher,
        attempt="benchmark",
        splits=planned.splits,
        scratch=folder / "scratch",
        workers=workers,
        room=lambda: workers,
        listener=listen,
        phase=lambda text: None,
        say=lambda text: None,
    )
    assert study.num_ended() == workers * ROUNDS, dispatcher.halted
    return {"times": times, "driver_s": time.process_time() - before_s}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="write the results to benchmarks/results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
