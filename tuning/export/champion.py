"""A loaded model as MLflow's registry takes it."""

import json

import torch
from torch.utils import _pytree as pytree

from tuning.confirmed import Confirmation
from tuning.data.preprocess import in_words
from tuning.export.files import CARD, notes, program_of
from tuning.export.program import Slot
from tuning.reuse import LoadedModel
from tuning.tracking.champion import Champion, TensorSlot

ROWS = 2
"""Of the input example."""


def champion_of(
    loaded: LoadedModel, metrics: dict[str, float], confirmation: Confirmation | None = None
) -> Champion:
    """Return what `tracking.registry.register` takes.

    Args:
        metrics: of the model on the test split.
        confirmation: what fresh seeds made of the sweep's trials, if that was measured.

    Raises:
        SweepError: when the model is no program of `torch.export`.
    """
    program = program_of(loaded)
    trial = loaded.trial
    assert trial.value is not None and trial.epoch is not None
    confirmed = confirmation.of(trial.number) if confirmation is not None else None
    return Champion(
        trial=trial.number,
        value=trial.value,
        epoch=trial.epoch,
        program=program.encoded({CARD: json.dumps(notes(loaded))}),
        torch_version=str(torch.__version__),
        inputs=[_slot(slot) for slot in program.inputs],
        outputs=[_slot(slot) for slot in program.outputs],
        example=[tensor.numpy() for tensor in pytree.tree_leaves(program.arguments(ROWS))],
        scaling=in_words(loaded.card["preprocess"]),
        hyperparameters=trial.hyperparameters,
        metrics=metrics,
        confirmed=confirmed.mean if confirmed is not None else None,
        over=confirmation.over(trial.number) if confirmation is not None else frozenset(),
    )


def _slot(slot: Slot) -> TensorSlot:
    shape = tuple(-1 if isinstance(axis, str) else axis for axis in slot.axes)
    return TensorSlot(slot.name, str(slot.dtype).removeprefix("torch."), shape)
