"""One trial trained by hand, as the tests of the engine need it."""

import copy
from typing import Any

import torch

import models
from tuning import data
from tuning.data import Splits
from tuning.engine import solo
from tuning.records import EpochReport, TrialSpec
from tuning.references import load_model
from tuning.resolve import resolve
from tuning.spec import SweepSpec

CPU = torch.device("cpu")


def settings(model: str, **changes: Any) -> tuple[SweepSpec, Splits]:
    splits = data.load(changes.pop("data", models.CATALOG[model].data), seed=0)
    return resolve(SweepSpec(model=model, **changes), load_model(model), splits.task), splits


def run(
    spec: SweepSpec, splits: Splits, until: int, resume: dict[str, Any] | None = None, **hyperparameters: Any
) -> tuple[list[EpochReport], solo.Training]:
    trial = TrialSpec(number=3, hyperparameters=hyperparameters)
    reports, training = [], None
    for report, state in solo.train(trial, spec, splits, until=until, device=CPU, resume=resume):
        reports.append(report)
        training = copy.deepcopy(state)
    assert training is not None
    return reports, training
