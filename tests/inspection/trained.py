"""Sweeps of one trial that was trained by hand for an epoch, as `tuning inspect` finds them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch.utils.data import TensorDataset

import models
from tests.engine import trials
from tuning import ledger, notation, storage
from tuning.data import Splits
from tuning.engine import checkpoint, solo
from tuning.records import State, TrialSpec
from tuning.references import load_data, load_model
from tuning.resolve import resolve
from tuning.spec import SweepSpec
from tuning.study import Study

ID = "0b2f6f0e-0000-4000-8000-000000000002"
ROWS = 320
"""Of the training split, on which a trial is trained; its twin sees all."""


@dataclass(frozen=True)
class Trained:
    spec: SweepSpec
    splits: Splits
    trial: TrialSpec
    home: Path

    @property
    def sweep(self) -> ledger.Sweep:
        return ledger.open_sweep(str(self.spec.name), str(self.home))


def sweep(home: Path, model: str, *, state: State = State.COMPLETED, **settings: Any) -> Trained:
    """Train the only trial of a sweep for an epoch; one that failed gets no checkpoint."""
    fixed = {"lr": 0.01, "momentum": 0.5, **settings.pop("fixed", {})}
    name = settings.pop("name", "demo")
    data = settings.pop("data", None) or models.CATALOG[model].data
    splits = load_data(data, seed=0)
    asked = SweepSpec(
        model=model, data=data, name=name, trials=1, epochs=1, fixed=fixed, search={}, **settings
    )
    spec = replace(resolve(asked, load_model(model), splits.task), id=ID)
    storage.write(str(home / name / "spec.yaml"), notation.dump(spec).encode())
    study = Study(spec, home / name / "study.journal", write=True)
    (trial,) = study.ask_many(1)
    if state is State.COMPLETED:
        few = splits.train if splits.ordered else TensorDataset(*(t[:ROWS] for t in splits.train.tensors))
        (found,) = solo.train(trial, spec, replace(splits, train=few), until=1, device=trials.CPU)
        _, training = found
        study.report(0, 1, training.history[0][str(spec.metric)])
        checkpoint.save_best(str(home / name), training, trial, spec, splits)
    if state.has_ended:
        study.tell(0, state)
    return Trained(spec, splits, trial, home)
