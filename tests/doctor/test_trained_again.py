"""An epoch that a death had trained again has other values in its checkpoint than in the study: no damage."""

import json
from typing import Any

import pytest
import torch

from tests.doctor.ward import Patient
from tuning.doctor.agreement import disagreement
from tuning.engine import checkpoint
from tuning.ledger import Sweep
from tuning.paths import SweepPaths
from tuning.records import Mode, State, TrialRecord, best_epoch
from tuning.spec import SweepSpec

ACCURACY = [0.81, 0.902, 0.9]
LOSS = [0.75, 0.5, 0.625]


def told(values: list[float], metric: str, mode: Mode, tmp_path: Any) -> tuple[Sweep, TrialRecord]:
    """Return a sweep, and a trial of it of which the study has these values."""
    spec = SweepSpec(model="net", name="demo", id="0" * 32, metric=metric, mode=mode)
    by_epoch = dict(enumerate(values, start=1))
    best = best_epoch(by_epoch, mode)
    assert best is not None
    trial = TrialRecord(
        number=3, state=State.COMPLETED, hyperparameters={"lr": 0.1}, values=by_epoch,
        value=by_epoch[best], epoch=best,
    )  # fmt: skip
    sweep = Sweep(
        spec=spec, paths=SweepPaths(tmp_path, "demo"), trials=[trial], best=trial, test=None,
        wall_s=1.0, driver=None,
    )  # fmt: skip
    return sweep, trial


def written(values: list[float], metric: str, epoch: int, **changes: Any) -> dict[str, Any]:
    """Return what a checkpoint says whose training had these values."""
    history = [{metric: value} for value in values]
    own = {"sweep": "demo", "sweep_id": "0" * 32, "trial": 3, "hyperparameters": {"lr": 0.1}}
    return {**own, "epoch": epoch, "value": values[epoch - 1], "history": history, **changes}


@pytest.mark.parametrize(
    ("values", "epoch"),
    [
        (ACCURACY, 2),
        ([0.81, 0.904, 0.9], 2),  # of 500 examples one has flipped
        ([0.81, 0.898, 0.902], 3),  # of near ties another one is the best now
    ],
)
def test_examples_that_flipped_are_no_damage(values: list[float], epoch: int, tmp_path: Any) -> None:
    found = written(values, "val_accuracy", epoch)
    assert disagreement(found, *told(ACCURACY, "val_accuracy", "max", tmp_path)) is None


@pytest.mark.parametrize("value", [0.5, 0.503, 0.49])
def test_a_loss_that_rounding_has_moved_is_no_damage(value: float, tmp_path: Any) -> None:
    found = written([0.75, value, 0.625], "val_loss", 2)
    assert disagreement(found, *told(LOSS, "val_loss", "min", tmp_path)) is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (written([0.81, 0.7, 0.69], "val_accuracy", 1), "is of epoch 1, but its best one is 2"),
        (written([0.81, 0.99, 0.9], "val_accuracy", 2), "val_accuracy=0.99 at epoch 2, the study 0.902"),
        (written(ACCURACY, "val_accuracy", 2, value=0.904), "0.904 at epoch 2, but its history has 0.902"),
        (written(ACCURACY, "val_accuracy", 3), "is of epoch 3, but its best one is 2"),
        (written(ACCURACY[:2], "val_accuracy", 2), "after epoch 2, but it was trained up to epoch 3"),
        (written(ACCURACY, "val_accuracy", 2, history=[None, 1]), "a history that is no list of metrics"),
        (written(ACCURACY, "val_accuracy", 2, history=[{}, {}, {}]), "but its history has None"),
    ],
)
def test_a_value_that_no_second_training_explains_is_found(
    found: dict[str, Any], words: str, tmp_path: Any
) -> None:
    why = disagreement(found, *told(ACCURACY, "val_accuracy", "max", tmp_path))
    assert why is not None and words in why


def test_a_trial_whose_best_epoch_was_trained_again_is_healthy(patient: Patient) -> None:
    content = torch.load(patient.file(0), weights_only=True)
    rows = [{key: value * 1.004 for key, value in row.items()} for row in content["history"]]
    changed = {**content, "history": rows, "value": content["value"] * 1.004}
    encoded = checkpoint.encode(changed)
    for file, card in (
        (patient.file(0), patient.file(0, "json")),
        (patient.copy(0), patient.copy(0, "json")),
    ):
        file.write_bytes(encoded)
        card.write_bytes(checkpoint.card(changed, encoded))
    assert patient.visit().differences == []
    card = json.loads(patient.file(0, "json").read_text())
    patient.file(0, "json").write_text(json.dumps({**card, "value": content["value"] * 2}))
    assert "trial 0: its checkpoint has val_loss" in str(patient.visit().differences[0])
