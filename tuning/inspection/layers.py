"""The sections of the layers: what goes into them and comes out, at the start and at the best epoch."""

from torch import nn

from tuning.engine.batches import Batch
from tuning.inspection import activations, histograms
from tuning.inspection.histograms import Column
from tuning.inspection.page import Section
from tuning.inspection.subject import Say, Subject, described, sample, twin

MAX_ROWS = 256

NORM_MOMENTUM = 0.1
"""Of the batch norm that the twin of a trial without one has: torch's default."""


def sections(found: Subject, say: Say) -> list[Section]:
    """Return the distributions of the layers' inputs and pre-activations."""
    batches = sample(found.splits, "validation", MAX_ROWS, MAX_ROWS)
    columns, compared = _columns(found, batches, say)
    if not any(column.layers for column in columns):
        text = "The network calls no linear, convolutional, recurrent or batch-norm layer to look into."
        return [Section("Layers", text)]
    drawn, count = histograms.drawn_layers(columns)
    few = f" {len(drawn)} of {count} layers are drawn." if len(drawn) < count else ""
    rows = f"{sum(len(x) for x, _ in batches)} {'windows' if found.splits.ordered else 'examples'}"
    inputs = (
        f"What goes into each layer, from {rows} of the validation split, dropout off. A row has one range; "
        "what lies beyond counts into its outermost bars. Where many values are exactly 0, as after a ReLU, "
        "they are left out and their share is said. "
        f"Start: the trial's initial weights. Epoch {found.epoch}: its best, the checkpoint.{compared}{few}"
    )
    outputs = (
        "What comes out of each layer, before its activation, in the same networks (of a recurrent layer its "
        "output: what is before its own activations cannot be seen from outside). Where a batch norm takes "
        f"that in, grey is before it and blue after it.{few}"
    )
    return [
        Section("Inputs of the layers", inputs, histograms.inputs_figure(columns)),
        Section("Pre-activations", outputs, histograms.pre_activations_figure(columns)),
    ]


def _columns(found: Subject, batches: list[Batch], say: Say) -> tuple[list[Column], str]:
    """Return the networks that are compared, and what is to be said of them.

    Of a documented model it is known how to have it with and without batch norm; a trial of it that had none
    is compared with its twin that has.
    """
    has_norm, start, best = activations.has_batch_norm(found.best), "start", f"epoch {found.epoch}"
    if not (has_norm or found.is_documented):
        return [
            _column(start, found, found.initial, batches),
            _column(best, found, found.best, batches),
        ], ""
    text = (
        " At the start batch norm takes its statistics from these examples, as training does; at "
        f"epoch {found.epoch} they are its running ones, as for use."
    )
    own, others = ("with batch norm", "without") if has_norm else ("without batch norm", "with it")
    columns = [
        _column(f"{start}, {own}", found, found.initial, batches, as_in_training=has_norm),
        _column(f"{best}, {own}", found, found.best, batches),
    ]
    if not found.is_documented:
        return columns, text
    what = "without batch norm" if has_norm else f"with batch norm of momentum {NORM_MOMENTUM}"
    say(f"training trial {found.trial.number} {what} for {found.epoch} epochs ...")
    other = twin(found, bn_momentum=None if has_norm else NORM_MOMENTUM)
    first = _column(f"{start}, {others}", found, other.initial, batches, as_in_training=not has_norm)
    columns.insert(1, first)
    if other.trained is not None:
        columns.append(_column(f"{best}, {others}", found, other.trained, batches))
    return columns, f"{text} {described(other, what, found.epoch)}"


def _column(
    title: str, found: Subject, model: nn.Module, batches: list[Batch], *, as_in_training: bool = False
) -> Column:
    can_normalize = found.splits.ordered or all(len(x) > 1 for x, _ in batches)  # batch norm refuses one row
    seen = activations.record(
        model, batches, carry=found.splits.ordered, batch_statistics=as_in_training and can_normalize
    )
    return Column(title, seen)
