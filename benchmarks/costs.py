"""`python -m benchmarks.costs`: what a trial costs the study and MLflow when there are 100,000 of them.

No training, no Ray: what `docs/scale.md` wants to know.
"""

import argparse
import json
import os
import queue
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import machine, process, tables
from benchmarks.__main__ import RESULTS
from tuning import ui
from tuning.data import load
from tuning.records import State, TrialSpec
from tuning.references import load_model
from tuning.resolve import resolve
from tuning.spec import SweepSpec
from tuning.study import Study
from tuning.tracking.messages import SPOOLED, Close, Job, News
from tuning.tracking.pending import Run
from tuning.tracking.spool import Spool
from tuning.tracking.writer import Writer

TRIALS = 100_000
BLOCK = 10_000
COHORT = 64
EPOCHS = 5
WRITTEN = 1_000
"""Trials that MLflow is given, `BATCH` at a time as a busy sweep does."""

BATCH = 100


def main() -> int:
    if len(sys.argv) == 3 and sys.argv[1] == "--loaded":
        return _loaded(Path(sys.argv[2]))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="write the results to benchmarks/results")
    parser.add_argument("--trials", type=int, default=TRIALS, help="of the study")
    options = parser.parse_args()
    circumstances = machine.describe("python -m benchmarks.costs " + " ".join(sys.argv[1:]))
    with tempfile.TemporaryDirectory(prefix="bench-costs-") as folder:
        study = _study(Path(folder), options.trials)
        written = {
            "a database in the home": _written(Path(folder), f"sqlite:///{folder}/mlflow.db", "database"),
            "a server on the same machine": _through_server(Path(folder)),
        }
    text = _markdown(study, written, circumstances)
    print(text)
    if options.keep:
        (RESULTS / "costs.md").write_text(text + "\n", encoding="utf-8")
        found = {**circumstances, "study": study, "mlflow_ms_per_trial": written}
        (RESULTS / "costs.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def _spec() -> SweepSpec:
    spec = SweepSpec(model="net", name="costs", id="0" * 32, epochs=EPOCHS)
    return resolve(spec, load_model("net"), load("parabola", seed=0).task)


def _study(folder: Path, trials: int) -> dict[str, Any]:
    """Fill a study; return milliseconds per trial of each block, and what it takes to read it again."""
    journal, noise = folder / "study.journal", random.Random(0)
    study = Study(_spec(), journal, write=True)
    asking: list[float] = []
    telling: list[float] = []
    for _ in range(0, trials, BLOCK):
        ask_s = tell_s = 0.0
        done = 0
        while done < min(BLOCK, trials):
            start_s = time.process_time()
            asked = study.ask_many(COHORT)
            ask_s, start_s = ask_s + time.process_time() - start_s, time.process_time()
            for epoch in range(1, EPOCHS + 1):
                with study.batch():
                    for trial in asked:
                        study.report(trial.number, epoch, _value(trial.hyperparameters, noise))
                        if epoch == EPOCHS:
                            study.tell(trial.number, State.COMPLETED)
            tell_s += time.process_time() - start_s
            done += COHORT
        asking.append(ask_s / done * 1e3)
        telling.append(tell_s / done * 1e3)
        print(f"{asking[-1]:.2f} {telling[-1]:.2f}", file=sys.stderr, flush=True)
    file = folder / "loaded.json"
    process.run("benchmarks.costs", ["--loaded", str(file)], folder / "errors.log")
    return {
        "trials": trials,
        "asking_ms": asking,
        "telling_ms": telling,
        "journal_mb": journal.stat().st_size / 1e6,
        **json.loads(file.read_text()),
    }


def _loaded(file: Path) -> int:
    """Read the study as a resumed driver does; leave the seconds and the megabytes."""
    spec, before_kb = _spec(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start_s = time.process_time()
    study = Study(spec, file.parent / "study.journal", write=True)
    study.trials()
    load_s = time.process_time() - start_s
    memory_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1e3
    file.write_text(json.dumps({"load_s": load_s, "memory_mb": memory_mb}))
    return 0


def _value(hyperparameters: Mapping[str, Any], noise: random.Random) -> float:
    return (float(hyperparameters["lr"]) - 0.05) ** 2 + 0.01 * noise.random()


def _written(home: Path, uri: str, name: str) -> float:
    """Return the milliseconds per trial that it takes to write MLflow."""
    folder = home / name
    folder.mkdir()
    (folder / "spec.yaml").write_text("model: net\n", encoding="utf-8")
    spec = SweepSpec(model="net", name=name, id=f"{name:0<32}"[:32], metric="val_loss", mode="min")
    job = Job(spec, "net", uri, home, str(folder))
    spool = Spool(job.paths.spool)
    news: queue.SimpleQueue[News] = queue.SimpleQueue()
    writer = Writer(job)
    for first in range(-BATCH, WRITTEN, BATCH):  # the first batch makes MLflow's tables
        spool.put({number: _run(number) for number in range(first + BATCH, first + 2 * BATCH)})
        news.put(SPOOLED)
        if first < 0:
            start_s = _after_first(writer, news)
    news.put(Close("FINISHED", None, None))
    writer.run(news)
    return (time.perf_counter() - start_s) / WRITTEN * 1e3


def _after_first(writer: Writer, news: "queue.SimpleQueue[News]") -> float:
    """Write the first batch: what is made once is not counted."""
    news.get()
    writer._take()
    writer._write()
    return time.perf_counter()


def _run(number: int) -> Run:
    points: dict[tuple[str, int], tuple[float, int]] = {
        (key, epoch): (0.5 / epoch, 1000 * epoch)
        for key in ("train_loss", "val_loss")
        for epoch in range(1, EPOCHS + 1)
    }
    settings = {"lr": 0.1 / (number + 1), "momentum": 0.5, "dropout": 0.1, "bn_momentum": 0.1}
    trial = TrialSpec(number=number, hyperparameters=settings)
    return Run(trial, {"tuning.cohort": "c"}, points, State.COMPLETED)


def _through_server(home: Path) -> float:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{home}/server.db"]
    command += ["--artifacts-destination", str(home / "artifacts")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    with open(home / "server.log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        while server.poll() is None and not ui.answers(port):
            time.sleep(0.1)
        return _written(home, f"http://127.0.0.1:{port}", "server")
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _markdown(study: Mapping[str, Any], written: Mapping[str, float], circumstances: dict[str, Any]) -> str:
    ends = range(BLOCK, BLOCK * len(study["asking_ms"]) + 1, BLOCK)
    rows = [
        (f"{end:,}", f"{ask:.2f}", f"{tell:.2f}")
        for end, ask, tell in zip(ends, study["asking_ms"], study["telling_ms"], strict=True)
    ]
    return "\n\n".join(
        (
            "# What a trial costs study and MLflow",
            f"One process, no training. The study is asked for {COHORT} trials at a time, and told of "
            f"{EPOCHS} epochs and the end of each; CPU time per trial of each {BLOCK:,}.",
            tables.table(("trials", "asking, ms", f"{EPOCHS} reports and the end, ms"), rows),
            f"The study of {study['trials']:,} trials has {study['journal_mb']:.0f} MB; a driver that "
            f"resumes reads it in {study['load_s']:.1f} s of CPU time, and holds it in "
            f"{study['memory_mb']:.0f} MB.",
            f"A trial's run (4 params, {2 * EPOCHS} metrics, its status) written to MLflow, {BATCH} at a "
            f"time, by the wall clock, of {WRITTEN:,}:",
            tables.table(
                ("through", "ms per trial"),
                [(name, f"{taken_ms:.1f}") for name, taken_ms in written.items()],
            ),
            tables.circumstances_markdown(circumstances),
        )
    )


if __name__ == "__main__":
    sys.exit(main())
