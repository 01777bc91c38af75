"""A study of this room's tests, and how they open it."""

import math
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.storages.journal import JournalFileBackend

from tuning.records import State, TrialSpec
from tuning.space import Float
from tuning.spec import SweepSpec
from tuning.study import Study

SEARCH = {"lr": Float(1e-4, 1.0, log=True), "momentum": Float(0.0, 0.9)}


SPEC = SweepSpec(
    model="net",
    data="noisy_square",
    name="demo",
    epochs=9,
    batch_size=64,
    metric="val_loss",
    mode="min",
    search=SEARCH,
    fixed={"optimizer": "sgd"},
)


Opener = Callable[..., Study]


def plain(journal: Path) -> optuna.Study:
    """Open it as any user of Optuna would."""
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    return optuna.load_study(study_name="demo", storage=storage)


def train(study: Study, number: int, values: list[float], first: int = 1) -> None:
    for epoch, value in enumerate(values, start=first):
        study.report(number, epoch, value)


def run(study: Study, count: int) -> list[TrialSpec]:
    """Run trials to their end whose value follows from their hyperparameters."""
    asked = []
    for _ in range(count):
        trial = study.ask()
        study.report(trial.number, 1, abs(math.log10(trial.hyperparameters["lr"]) + 2))
        study.tell(trial.number, State.COMPLETED)
        asked.append(trial)
    return asked
