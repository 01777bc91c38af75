"""One trial's forward pass, into which `vmap` puts the tensors of each."""

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from tuning.engine import twins
from tuning.engine.twins import StackedDropout

Statistics = dict[str, list[tuple[Tensor, Tensor]]]
"""Mean and unbiased variance of a batch, one pair per call of a batch norm layer, by its name."""


class Program:
    """The template model, its twins in place, into which a trial's tensors are put before it runs."""

    def __init__(self, model: nn.Module) -> None:
        names = {id(found): name for name, found in (*model.named_parameters(), *model.named_buffers())}
        self.template = nn.Module()  # around the model, which may itself need a twin
        self.template.model = model
        self._statistics: list[tuple[str, Tensor, Tensor]] = []
        placed = twins.replace(self.template, self._statistics)
        self._dropouts = {
            layer: module for layer, module in placed.items() if isinstance(module, StackedDropout)
        }
        self._places = [
            (cast(dict[str, Any], kept), key, names[id(found)])
            for module in self.template.modules()
            for kept in (module._parameters, module._buffers)
            for key, found in kept.items()
            if found is not None
        ]
        self._own_buffers = {
            names[id(found)]
            for module in self.template.modules()
            if module not in placed.values()
            for found in module._buffers.values()
            if found is not None
        }
        self._pristine = copy.deepcopy(self.template) if self._dropouts else None

    @property
    def model(self) -> nn.Module:
        found = self.template.model
        assert isinstance(found, nn.Module)
        return found

    def train(self, mode: bool) -> None:
        if self.template.training != mode:  # to look costs less than to set every module of a large model
            self.template.train(mode)

    def install(self, tensors: dict[str, Tensor], masks: dict[str, list[Tensor]]) -> None:
        for kept, key, name in self._places:
            kept[key] = tensors[name]
        for layer, found in masks.items():
            self._dropouts[layer].masks, self._dropouts[layer].calls = found, 0
        self._statistics.clear()

    def statistics(self) -> Statistics:
        found: Statistics = {}
        for layer, mean, variance in self._statistics:
            found.setdefault(layer, []).append((mean, variance))
        return found

    def changed(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what the model has set anew, or may have changed in place in the copies it was given."""
        return {name: kept[key] for kept, key, name in self._places if kept[key] is not tensors[name]}

    def with_copies(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return a trial's tensors with copies of those that only the model itself may change."""
        return tensors | {name: tensors[name].clone() for name in self._own_buffers}

    @torch.no_grad()
    def mask_shapes(self, inputs: Tensor) -> dict[str, list[torch.Size]]:
        """Run a copy of the model alone, on inputs, and return the shapes of the masks it wants."""
        recorder = copy.deepcopy(self._pristine)
        assert recorder is not None and isinstance(recorder.model, nn.Module)
        recorder.train()
        shapes: dict[str, list[torch.Size]] = {layer: [] for layer in self._dropouts}
        for module in recorder.modules():
            if isinstance(module, StackedDropout):
                module.shapes = shapes[module.layer]
        recorder.model(inputs)
        return shapes
