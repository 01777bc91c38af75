"""The parts of the soak in which something does not work: the tracking server, or the model."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks import servers, tables
from benchmarks.children import Site, Started
from benchmarks.endurance import Sizes
from benchmarks.findings import Check, Findings
from benchmarks.samples import Journal
from benchmarks.servers import Proxy
from benchmarks.trace import BenchmarkError
from tuning import ledger
from tuning.paths import SweepPaths

ROUNDS = 3
DELAY_S = 0.5
FOR_EVER_S = 1e6
MOST_SLOWER = 1.1
EPOCHS = 200
INTERVAL_S = 0.05

USUAL = "MLflow in the home, no server"
MISFORTUNES: Mapping[str, Callable[[Proxy], None] | None] = {
    USUAL: None,
    "a server that answers": lambda proxy: None,
    f"one that answers {DELAY_S:g} s late": lambda proxy: proxy.be_late(DELAY_S),
    "one that never answers": lambda proxy: proxy.be_late(FOR_EVER_S),
    "one that is gone": lambda proxy: proxy.leave(),
}
ENDS_WITH = {"one that never answers": 1, "one that is gone": 1}
"""Exit codes, where they are not 0."""

MINUTE_S = 60.0
MODEL = """
import os, signal
import torch

class Broken(torch.nn.Linear):
    def __init__(self):
        super().__init__(1, 1)

    def forward(self, x):
        if self.training and torch.is_grad_enabled() and len(x) > 4:  # not while the request is checked
            {what}
        return super().forward(x)
"""
BROKEN = {
    "raises an error": "raise KeyError('nowhere')",
    "asks for more memory than there is": "torch.empty(2**47, dtype=torch.uint8)",
    "kills its process": "os.kill(os.getpid(), signal.SIGKILL)",
}


@dataclass(frozen=True, slots=True)
class Run:
    trials_s: float
    """From the end of the first trial to the end of the last one."""
    command_s: float
    exit_code: int
    waiting: int
    """Files of records that wait for the server."""


def outage(sizes: Sizes, site: Site) -> Findings:
    total, uri = sizes.outage, servers.serve(site)
    runs: dict[str, list[Run]] = {case: [] for case in MISFORTUNES}
    for number in range(ROUNDS):  # by turns, so that what else the machine does falls on all
        for place, case in enumerate(MISFORTUNES):
            runs[case].append(_swept(site, f"s{place}-{number}", Proxy(uri), case, total))
    usual_s = median(run.trials_s for run in runs[USUAL])
    slower = {case: median(run.trials_s for run in found) / usual_s for case, found in runs.items()}
    return Findings(
        title="A tracking server that is slow, or dead, once a sweep has begun",
        text=f"Sweeps of {total} trials of the regression net, {EPOCHS} epochs each, one by one in one "
        f"worker, {ROUNDS} of each kind by turns; a server is well until the first trial has ended. At its "
        "end a sweep waits for one as long as that takes records, for a dead one for a minute. Then the "
        "server is well again, `tuning doctor NAME --fix` writes what waits, and finds nothing amiss: else "
        "there is no result.",
        head=(
            "MLflow",
            "first ended trial to the last, s",
            "the command, s",
            "exit code",
            "records that wait",
        ),
        rows=[_row(case, found) for case, found in runs.items()],
        checks=[
            Check(f"time of the trials, {case} / {USUAL}", ratio, MOST_SLOWER)
            for case, ratio in slower.items()
            if case != USUAL
        ],
        raw={"runs": {case: [asdict(run) for run in found] for case, found in runs.items()}},
    )


def _swept(site: Site, name: str, proxy: Proxy, case: str, total: int) -> Run:
    """Sweep, let what shall befall the server befall it when the first trial has ended, and mend it."""
    where, befall = SweepPaths(site.home, name), MISFORTUNES[case]
    options = ["--epochs", str(EPOCHS), "--cohort", "1", "--early-stopping", "none", "--gpus-per-trial", "0"]
    options += ["--max-concurrent", "1", *(("--tracking-uri", proxy.uri) if befall else ())]
    sweep = site.start("sweep", "net", "--name", name, "--trials", str(total), *options, "--json")
    first_s = _when(1, sweep, where.journal)
    if befall is not None:
        befall(proxy)
    trials_s = _when(total, sweep, where.journal) - first_s
    ended = sweep.end(ENDS_WITH.get(case, 0))
    waiting = len(list(where.spool.iterdir())) if where.spool.exists() else 0
    proxy.recover()
    site.start("doctor", name, "--fix", "--json").end()
    if ledger.open_sweep(name, str(site.home)).states != {"completed": total}:
        raise BenchmarkError(f"All trials of {name} must have completed.")
    return Run(trials_s, ended.seconds, sweep.process.returncode, waiting)


def _when(count: int, sweep: Started, journal: Path) -> float:
    """Wait until so many trials have ended; return the monotonic clock's time."""
    study = Journal(journal)
    while study.ended() < count:
        if sweep.process.poll() is not None:
            raise BenchmarkError(f"A sweep ended before its trials:\n{sweep.log.read_text()[-3000:]}")
        time.sleep(INTERVAL_S)
    return time.monotonic()


def _row(case: str, runs: Sequence[Run]) -> tuple[str, ...]:
    return (
        case,
        tables.spread(run.trials_s for run in runs),
        tables.spread(run.command_s for run in runs),
        ", ".join(sorted({str(run.exit_code) for run in runs})),
        tables.spread((run.waiting for run in runs), ".0f"),
    )


def broken(sizes: Sizes, site: Site) -> Findings:
    seconds: dict[str, list[float]] = {case: [] for case in BROKEN}
    failed: dict[str, list[int]] = {case: [] for case in BROKEN}
    for number in range(ROUNDS):
        for place, (case, what) in enumerate(BROKEN.items()):
            file = site.folder / f"broken{place}.py"
            file.write_text(MODEL.replace("{what}", what))
            options = [
                "--data",
                "noisy_square",
                "--trials",
                str(sizes.broken),
                "--name",
                f"b{place}-{number}",
            ]
            found = site.start("sweep", f"{file}:Broken", *options, "--json").end(1)
            seconds[case].append(found.seconds)
            failed[case].append(found.facts["states"].get("failed", 0))
    return Findings(
        title=f"A model that always fails, asked for {sizes.broken:,} trials",
        text=f"From the start of the command to its end, {ROUNDS} times by turns, all options at their "
        "defaults: 5 failed trials in a row end a sweep. It ends with exit code 1, else there is no result.",
        head=("the model", "the command, s", "trials that failed"),
        rows=[
            (case, tables.spread(found), tables.spread(failed[case], ".0f"))
            for case, found in seconds.items()
        ],
        checks=[Check(f"a model that {case}, s", median(found), MINUTE_S) for case, found in seconds.items()],
        raw={"seconds": seconds},
    )
