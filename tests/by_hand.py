"""A sweep of one completed trial, made in a moment: its model has seen one batch and not learnt from it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tests.engine import trials
from tuning import notation, paths, storage
from tuning.data import Splits
from tuning.engine import checkpoint, solo
from tuning.records import State, TrialSpec
from tuning.references import load_data, load_model
from tuning.resolve import resolve
from tuning.spec import SweepSpec
from tuning.study import Study

ID = "5a1f6f0e-0000-4000-8000-000000000002"
VALUE = 0.5


def sweep(home: Path, model: str, **changes: Any) -> tuple[SweepSpec, Splits]:
    """Write the sweep's folder; return what it was and its data."""
    changes = {"epochs": 1, "trials": 1, "metric": "val_loss", "mode": "min", **changes}
    spec, splits = _settings(model, **changes)
    spec = replace(spec, id=changes.get("id", ID))
    folder = paths.SweepPaths(home, str(spec.name)).folder
    storage.write(str(folder / "spec.yaml"), notation.dump(spec).encode())
    study = Study(spec, folder / "study.journal", write=True)
    (trial,) = study.ask_many(1)
    study.report(trial.number, 1, VALUE)
    checkpoint.save_best(str(folder), outcome(trial, spec, splits), trial, spec, splits)
    study.tell(trial.number, State.COMPLETED)
    return spec, splits


def outcome(trial: TrialSpec, spec: SweepSpec, splits: Splits) -> solo.Outcome:
    """Return what a trial has come to whose batch norm, if any, has seen some rows."""
    model = solo.build_model(trial, spec, splits).train()
    rows: Any = splits.train
    model(torch.stack([rows[i][0] for i in range(8)]))
    best = {"epoch": 1, "state_dict": model.eval().state_dict()}
    return solo.Outcome(epoch=1, history=[{"train_loss": VALUE, "val_loss": VALUE}], best=best)


def _settings(model: str, **changes: Any) -> tuple[SweepSpec, Splits]:
    if ":" not in model:
        return trials.settings(model, **changes)
    splits = load_data(changes["data"], seed=0)
    return resolve(SweepSpec(model=model, **changes), load_model(model), splits.task), splits
