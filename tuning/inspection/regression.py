"""The sections of a regression: what it predicts, beside what is true."""

import torch

from tuning.engine.batches import Batch
from tuning.inspection import fits
from tuning.inspection.page import Section
from tuning.inspection.subject import Say, Subject, described, sample, twin

MAX_WINDOWS = 1_000
MAX_POINTS = 2_000
CURVE_POINTS = 400
BATCH_SIZE = 256


def sections(found: Subject, say: Say) -> list[Section]:
    """Return the curve of a net of one input, the series of one that follows one, else a scatter plot."""
    if fits.is_curve(found.splits):
        return [_curve(found, say)]
    is_series = found.splits.ordered
    batches = sample(found.splits, "validation", MAX_WINDOWS if is_series else MAX_POINTS, BATCH_SIZE)
    targets, outputs = fits.predict_all(found.best, batches, carry=is_series)
    if targets.shape != outputs.shape:
        shapes = f"Targets of shape {tuple(targets.shape)} are predicted as {tuple(outputs.shape)}"
        return [Section("Prediction against truth", f"{shapes}: they cannot be drawn against each other.")]
    return [_series(found, targets, outputs) if is_series else _scatter(found, targets, outputs)]


def _series(found: Subject, targets: torch.Tensor, outputs: torch.Tensor) -> Section:
    text = (
        f"{len(targets)} windows of the validation split, joined together, and what the network predicts at "
        "each time step; its hidden state starts at zero and is handed from window to window."
    )
    return Section("True and predicted series", text, fits.series_figure(found.splits, targets, outputs))


def _scatter(found: Subject, targets: torch.Tensor, outputs: torch.Tensor) -> Section:
    text = f"{len(targets)} validation examples. On the dotted line, the prediction is what is true."
    return Section("Prediction against truth", text, fits.scatter_figure(found.splits, targets, outputs))


def _curve(found: Subject, say: Say) -> Section:
    samples = (sample(found.splits, part, CURVE_POINTS, BATCH_SIZE) for part in ("train", "test"))
    train, test = map(_joined, samples)
    x = fits.grid([train[0], test[0]])
    text = (
        f"What the network predicts, dropout off as in use, and {len(train[0])} training and "
        f"{len(test[0])} test points."
    )
    if not fits.has_dropout(found.best):
        curves = [fits.predicted_curve("prediction", found.best, x)]
        return Section("Prediction against data", text, fits.curve_figure(found.splits, curves, train, test))
    curves = [
        fits.predicted_curve("dropout off", found.best, x),
        fits.dropout_curve("dropout on", found.best, x),
    ]
    text += (
        f" Dropout on: mean and standard deviation of {fits.NUM_PASSES} predictions of the same weights, "
        "units dropped as in training (batch norm as in use)."
    )
    if found.is_documented:
        say(f"training trial {found.trial.number} without dropout for {found.epoch} epochs ...")
        other = twin(found, dropout=0.0)
        if other.trained is not None:
            curves.append(fits.predicted_curve("trained without dropout", other.trained, x))
        text += f" {described(other, 'without dropout', found.epoch)}"
    return Section("Prediction against data", text, fits.curve_figure(found.splits, curves, train, test))


def _joined(batches: list[Batch]) -> Batch:
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
