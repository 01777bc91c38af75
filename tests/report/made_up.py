"""Sweeps as their folders might tell of them, made up in memory."""

import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tuning.cost import cost
from tuning.ledger import Sweep
from tuning.paths import SweepPaths
from tuning.records import Fleet, Span, State, TrialRecord, best_epoch, best_trial
from tuning.report.view import View, view
from tuning.sizing import NOT_MEASURED
from tuning.space import Choice, Dimension, Float
from tuning.spec import EarlyStopping, SweepSpec

SEARCH: dict[str, Dimension] = {
    "lr": Float(1e-4, 1.0, log=True),
    "momentum": Float(0.0, 0.99),
    "optimizer": Choice(("sgd", "adam", "adagrad")),
}

NONE = EarlyStopping(kind="none")

START_S = 1_700_000_000.0


def trial(
    number: int, values: Sequence[float] = (), state: State = State.COMPLETED, **more: Any
) -> TrialRecord:
    """Return a trial with these values per epoch, from 1."""
    found = dict(enumerate(values, start=1))
    epoch = best_epoch(found, more.pop("mode", "min"))
    more.setdefault("hyperparameters", {"lr": 0.01, "momentum": 0.9, "optimizer": "sgd"})
    return TrialRecord(
        number=number,
        state=state,
        values=found,
        value=None if epoch is None else found[epoch],
        epoch=epoch,
        **more,
    )


def span(begin: float, end: float, where: str = "host", process: int = 1) -> Span:
    return Span(where, process, START_S + begin, START_S + end)


def sweep(trials: Sequence[TrialRecord], home: Path = Path("/nowhere"), **more: Any) -> Sweep:
    """Return the sweep of these trials; `more` goes to its spec."""
    driver, fleet = more.pop("driver", None), more.pop("fleet", Fleet())
    settings: dict[str, Any] = {
        "model": "net",
        "data": "noisy_square",
        "name": "made-up",
        "trials": max(1, len(trials)),
        "epochs": 9,
        "batch_size": 64,
        "metric": "val_loss",
        "mode": "min",
        "search": SEARCH,
        "id": "7d1f7a7e-0000-4000-8000-000000000000",
    }
    spec = SweepSpec(**{**settings, **more})
    assert spec.mode is not None
    return Sweep(
        spec=spec,
        paths=SweepPaths(home, str(spec.name)),
        trials=list(trials),
        best=best_trial(list(trials), spec.mode),
        test=None,
        wall_s=12.0,
        driver=driver,
        fleet=fleet,
        fingerprint="f1n9e7",
        cost=cost(spec, trials, NOT_MEASURED, (3.6, 0.0)) if any(t.values for t in trials) else None,
    )


def more_hyperparameters(count: int) -> dict[str, Dimension]:
    """Return dimensions with names as long as people give them."""
    return {f"hyperparameter_number_{index:02d}": Float(0.0, 1.0) for index in range(count)}


def search(
    count: int, *, epochs: int = 9, workers: int = 8, seed: int = 0, more: Iterable[str] = (), parts: int = 1
) -> list[TrialRecord]:
    """Return the trials of a search with early stopping, in which only `lr` matters: the nearer to 0.01.

    Args:
        more: further hyperparameters.
        parts: spans of a trial.
    """
    draw = random.Random(seed)
    free_s = [0.0] * workers
    found = []
    for number in range(count):
        lr = 10 ** draw.uniform(-4, 0)
        off = abs(math.log10(lr) + 2)
        optimizer = draw.choice(("sgd", "adam", "adagrad"))
        hyperparameters = {"lr": lr, "optimizer": optimizer}
        if optimizer != "adagrad":
            hyperparameters["momentum"] = draw.uniform(0.0, 0.99)
        hyperparameters |= {key: draw.random() for key in more}
        worker = free_s.index(min(free_s))
        stopped = 1 if off > 0.7 else 3 if off > 0.25 else epochs
        state = State.COMPLETED if stopped == epochs else State.PRUNED
        values = [off + 0.1 * draw.random() + 1 / epoch for epoch in range(1, stopped + 1)]
        if lr > 0.8:
            state, values = State.DIVERGED, []
        begin, free_s[worker] = free_s[worker], free_s[worker] + 0.1 + len(values)
        part_s = (free_s[worker] - 0.1 - begin) / parts
        spans = tuple(
            span(begin + part_s * part, begin + part_s * (part + 0.9), f"host, GPU {worker // 2}", worker)
            for part in range(parts)
        )
        found.append(trial(number, values, state, hyperparameters=hyperparameters, spans=spans))
    return found


FOUR = [
    trial(0, [0.5, 0.4, 0.3, 0.35]),
    trial(1, [0.9], State.PRUNED),
    trial(2, [0.6, 0.2, 0.2, 0.1]),
    trial(3, [], State.DIVERGED),
]


def seen(*trials: TrialRecord, **spec: Any) -> View:
    return view(sweep(trials, **{"epochs": 4, **spec}))


def trace(panel: Any, name: str) -> Any:
    (found,) = [one for one in panel.figure.data if one.name == name]
    return found
