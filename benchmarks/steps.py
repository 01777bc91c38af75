"""`python -m benchmarks.steps`: what each optimisation bought, by taking it back.

Each is measured in fresh processes, with it and without it in turn: an epoch of a stack (training and
validation, on one thread), or the records of a trial. `--keep` writes the table.
"""

import argparse
import contextlib
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import torch

import models
from benchmarks import machine, tables
from benchmarks.__main__ import RESULTS
from benchmarks.job import complete, draw
from tuning.engine import compiled, memory, optimizers, solo, stacked, twins
from tuning.engine.batches import Batches
from tuning.engine.stacked import StackedTraining
from tuning.records import State, TrialSpec
from tuning.spec import SweepSpec

SECONDS = 2.0
"""Of epochs in each measurement, after two that warm up."""

EPOCHS, TRIALS = 60, 128
"""Of the records that are written."""


def main() -> int:
    options = _parser().parse_args()
    circumstances = machine.describe("python -m benchmarks.steps " + " ".join(sys.argv[1:]))
    rows = []
    for name in options.steps:
        measure, where, what = STEPS[name]
        with_it, without = [], []
        for _ in range(options.repeats):
            with_it.append(_in_a_process(measure, name, False))
            without.append(_in_a_process(measure, name, True))
        cells = (tables.spread(without, ".3f"), tables.spread(with_it, ".3f"))
        rows.append((what, where, *cells, f"{median(without) / median(with_it):.2f}"))
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    head = ("", "measured", "ms without", "ms with it", "times as fast")
    text = "\n\n".join([TITLE, tables.table(head, rows), tables.circumstances_markdown(circumstances)]) + "\n"
    print(text)
    if options.keep:
        (RESULTS / "steps.md").write_text(text, encoding="utf-8")
    return 0


TITLE = (
    "# What each optimisation bought\n\n"
    "Milliseconds per trial and epoch of a stack, or per trial for records; median (least - most)."
)


def _in_a_process(measure: Callable[[str, bool], float], name: str, is_undone: bool) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (name, is_undone))


def _epoch_ms(name: str, is_undone: bool) -> float:
    """Return milliseconds per trial and epoch of a stack, with or without a step."""
    model, size = STACKS[name]
    torch.set_num_threads(1)
    if not (name == "memory" and is_undone):
        memory.keep_freed()
    with UNDONE[name]() if is_undone and name in UNDONE else contextlib.nullcontext():
        spec = SweepSpec(
            model=model,
            epochs=10**6,
            batch_size=models.CATALOG[model].batch_size,
            compile=name.startswith("compile") and not is_undone,
        )
        spec, splits = complete(spec)
        found = draw(model, trials=size, epochs=1).configurations
        trials = [TrialSpec(number=n, hyperparameters=dict(one)) for n, one in enumerate(found)]
        built = [solo.build_model(trial, spec, splits) for trial in trials]
        stack = StackedTraining(trials, built, spec, splits, device=torch.device("cpu"), resume={})
        with mock.patch.object(compiled, "HOT_S", 0.0):
            stack.advance(2)
        times: list[float] = []
        while sum(times) < SECONDS:
            start_s = time.perf_counter()
            stack.advance(stack.epoch + 1)
            times.append(time.perf_counter() - start_s)
    return median(times) / size * 1000


@contextlib.contextmanager
def _without_linear_twins() -> Iterator[None]:
    with mock.patch.object(twins, "TWINNED", tuple(t for t in twins.TWINNED if t is not torch.nn.Linear)):
        yield


@contextlib.contextmanager
def _updates_by_parameter() -> Iterator[None]:
    def step(self: Any, gradients: Any) -> None:
        self.steps += 1
        start = 0
        for gradient in gradients:
            along = gradient.flatten(1) if gradient.dim() > 1 else gradient[:, None]
            part = slice(start, start + along.shape[1])
            for block in self._blocks:
                own = {key: value[:, part] for key, value in block.state.items()}
                self._rule(block.parameters[:, part], along[block.rows], own, block.numbers, self.steps)
            start = part.stop

    with mock.patch.object(optimizers.StackedOptimizer, "step", step):
        yield


@contextlib.contextmanager
def _all_rows_at_once() -> Iterator[None]:
    with mock.patch.object(optimizers, "BLOCK", 2**40), mock.patch.object(stacked, "LARGE", 2**40):
        yield


@contextlib.contextmanager
def _rows_from_a_loader() -> Iterator[None]:
    class Loaded(Batches):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.tensors = None

    with mock.patch.object(stacked, "Batches", Loaded), mock.patch("tuning.engine.batches.LOADER_WORKERS", 0):
        yield


UNDONE: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    "linear": _without_linear_twins,
    "row": _updates_by_parameter,
    "blocks": _all_rows_at_once,
    "loader": _rows_from_a_loader,
}

STACKS = {
    "linear": ("net", 256),
    "row": ("batchnorm_net", 64),
    "blocks": ("dropout_net", 64),
    "loader": ("net", 16),
    "memory": ("dropout_net", 128),
    "compile-net": ("net", 256),
    "compile-rnn": ("rnn", 64),
    "compile-batchnorm": ("batchnorm_net", 64),
    "compile-dropout": ("dropout_net", 64),
    "compile-cnn": ("cnn", 4),
}


def _mlflow_ms(name: str, is_undone: bool) -> float:
    """Return milliseconds per trial of writing its run, checkpoint left out."""
    from tuning import paths
    from tuning.tracking import known
    from tuning.tracking.client import connect
    from tuning.tracking.pending import Run
    from tuning.tracking.stores import ClientStore, store_of

    points = {("val_loss", epoch): (0.5, 1000 * epoch) for epoch in range(1, EPOCHS + 1)}
    numbers = {"lr": 0.01, "momentum": 0.9, "dropout": 0.1, "bn_momentum": 0.1}
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        written = paths.SweepPaths(Path(folder), "steps").spec
        written.parent.mkdir()
        written.write_text("model: net\n", encoding="utf-8")
        spec = SweepSpec(model="net", name="steps", id="0" * 32, metric="val_loss", mode="min")
        client = connect(uri)
        runs = known.read(client, spec, "net", uri, Path(folder))
        store = ClientStore(client, spec, folder) if is_undone else store_of(client, spec, folder)
        pending = {
            number: Run(TrialSpec(number=number, hyperparameters=dict(numbers)), {}, points, State.COMPLETED)
            for number in range(TRIALS)
        }
        start_s = time.perf_counter()
        store.write(runs, pending, set())
        return (time.perf_counter() - start_s) / TRIALS * 1000


def _study_ms(name: str, is_undone: bool) -> float:
    """Return milliseconds per trial of storing its epochs and its end."""
    from tuning.study import Study

    spec, _ = complete(SweepSpec(model="net", name="steps", id="0" * 32))
    with tempfile.TemporaryDirectory() as folder:
        study = Study(spec, Path(folder) / "study.journal", write=True)
        trials = study.ask_many(TRIALS)
        start_s = time.perf_counter()
        with contextlib.nullcontext() if is_undone else study.batch():
            for trial in trials:
                for epoch in range(1, EPOCHS + 1):
                    study.report(trial.number, epoch, 0.5)
                study.tell(trial.number, State.COMPLETED)
        return (time.perf_counter() - start_s) / TRIALS * 1000


STEPS: dict[str, tuple[Callable[[str, bool], float], str, str]] = {
    "linear": (_epoch_ms, "net, K = 256", "linear layers along the features"),
    "row": (_epoch_ms, "batchnorm_net, K = 64", "one update for all parameters of a trial"),
    "blocks": (_epoch_ms, "dropout_net, K = 64", "large rows updated and copied as a cache holds them"),
    "loader": (_epoch_ms, "net, K = 16", "rows taken by index, not through a DataLoader"),
    "memory": (_epoch_ms, "dropout_net, K = 128", "memory that is freed is kept"),
    "compile-net": (_epoch_ms, "net, K = 256", "`--compile`"),
    "compile-rnn": (_epoch_ms, "rnn, K = 64", "`--compile`"),
    "compile-batchnorm": (_epoch_ms, "batchnorm_net, K = 64", "`--compile`"),
    "compile-dropout": (_epoch_ms, "dropout_net, K = 64", "`--compile`"),
    "compile-cnn": (_epoch_ms, "cnn, K = 4, against K = 4", "`--compile`"),
    "mlflow": (_mlflow_ms, f"{EPOCHS} epochs", "MLflow's tables in one transaction, not its client"),
    "study": (_study_ms, f"{EPOCHS} epochs", "records of the study written together"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description=__doc__)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help="write the results to benchmarks/results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
