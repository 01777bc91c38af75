"""An earlier sweep made up, and one that begins from it."""

from dataclasses import replace
from typing import Any

from tests.study.studies import SPEC
from tuning.confirmed import Confirmation, Confirmed
from tuning.records import State, TrialRecord
from tuning.space import Float

OLD = replace(
    SPEC,
    name="old",
    epochs=3,
    search={"lr": Float(1e-3, 0.3, log=True), "momentum": Float(0.0, 0.9)},
    fixed={"optimizer": "sgd", "dropout": 0.1},
    id="11111111",
)
NEW = replace(OLD, name="new", id="22222222", from_="old")


def record(number: int, value: float = 0.5, state: State = State.COMPLETED, **changes: Any) -> TrialRecord:
    hyperparameters = {"optimizer": "sgd", "dropout": 0.1, "lr": 0.01, "momentum": 0.5, **changes}
    return TrialRecord(
        number=number,
        state=state,
        hyperparameters={key: one for key, one in hyperparameters.items() if one is not None},
        values={1: value + 0.1, 2: value},
        value=value,
        epoch=2,
    )


def confirmation(**means: float) -> Confirmation:
    found = tuple(
        Confirmed(trial=int(trial), searched=0.1, values=(mean,), test=({},), mean=mean, low=mean, high=mean)
        for trial, mean in means.items()
    )
    return Confirmation(
        metric="val_loss",
        mode="min",
        seeds=1,
        trials=found,
        hopeless=(),
        winner=found[0].trial,
        holds=False,
        verdict="",
    )
