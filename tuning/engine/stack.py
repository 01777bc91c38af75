"""K trials of one structure as one program: `torch.func.vmap` over an ordinary module.

Row k of every tensor is trial k. The batch is the same for all.
"""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import vmap

from tuning.engine import solo, twins
from tuning.engine.batches import Batch
from tuning.engine.layers import MaskSource
from tuning.engine.optimizers import StackedOptimizer
from tuning.engine.rows import CannotStack, Layout
from tuning.engine.twins import RunningStatistics, StackedDropout
from tuning.records import TrialSpec

Hidden = Any
"""A hidden state that is handed on, (trials, ...) each; () at the start and where there is none."""


class Stack:
    """Models of one structure (`grouping.by_structure`), their optimizer, and the step of all at once.

    Args:
        models: one per trial, on the CPU; the first one is taken apart and serves as the template.
        seed: the sweep's, for dropout masks.
        carry: whether hidden states go from batch to batch.

    Raises:
        CannotStack: when these models cannot be stacked.
    """

    def __init__(
        self,
        trials: Sequence[TrialSpec],
        models: Sequence[nn.Module],
        *,
        device: torch.device,
        seed: int,
        task: str,
        carry: bool,
    ) -> None:
        self._task, self._carry = task, carry
        self.layout = Layout.of(models[0])
        self.rows = {dtype: rows.to(device) for dtype, rows in self.layout.stack(models).items()}
        self.parameters = self.rows[self.layout.dtype][:, : self.layout.num_trained]
        self.tensors = self.layout.views(self.rows)
        for name in self.layout.trained:  # `data` counts versions apart from the buffers in the same row
            self.tensors[name] = self.tensors[name].data.requires_grad_()
        self._trained = [self.tensors[name] for name in self.layout.trained]
        hyperparameters = [trial.hyperparameters for trial in trials]
        optimizer = str(hyperparameters[0].get("optimizer", "sgd"))
        self.optimizer = StackedOptimizer(optimizer, self.parameters, hyperparameters)
        self._running = RunningStatistics(models, self.tensors)
        self._sources = _mask_sources(models, trials, seed)
        self._program = _Program(models[0].to(device))
        self._shapes: dict[torch.Size, dict[str, list[torch.Size]]] = {}
        """Shapes of the masks that an input of this shape wants, by layer, one per call."""
        self._train = vmap(self._train_one, in_dims=(0, 0, 0, None, None), randomness="error")
        self._measure = vmap(self._measure_one, in_dims=(0, 0, None, None), randomness="error")

    def __len__(self) -> int:
        return len(self.parameters)

    def load_optimizer(self, states: Sequence[dict[int, dict[str, Any]]]) -> None:
        """Take over optimizer states as torch.optim keeps them, one per trial."""
        for row, found in enumerate(states):
            self.layout.write_optimizer_state(self.optimizer.state, row, found)

    def train_epoch(self, batches: Iterator[Batch], first_step: int) -> list[float]:
        """Take one step per batch, numbered from `first_step`; return the mean training losses."""
        total = torch.zeros(len(self), dtype=torch.float64, device=self.parameters.device)
        rows = 0
        hidden: Hidden = ()
        for number, (inputs, targets) in enumerate(batches, start=first_step):
            losses, gradients, hidden = self.gradients(inputs, targets, hidden, number)
            self.optimizer.step(gradients)
            total += losses.double() * len(targets)
            rows += len(targets)
        means: list[float] = (total / rows).tolist()
        return means

    def gradients(
        self, inputs: Tensor, targets: Tensor, hidden: Hidden, step: int
    ) -> tuple[Tensor, Sequence[Tensor], Hidden]:
        """Return losses (trials,), gradients (trials, ...) of each parameter and the new hidden state.

        Buffers are updated.

        Args:
            inputs, targets: one batch.
            step: its number, counted from the start of the training.
        """
        self._program.template.train()
        masks = self._draw(inputs, step)
        with _no_slow_fallback():
            losses, hidden, statistics, replaced = self._train(self.tensors, masks, hidden, inputs, targets)
            found = torch.autograd.grad(losses.sum(), self._trained, allow_unused=True)
        with torch.no_grad():
            for layer, (mean, variance) in zip(self._program.normed, statistics, strict=True):
                self._running.update(layer, mean, variance)
            for name, value in replaced.items():
                self.tensors[name].copy_(value)
        for name, gradient in zip(self.layout.trained, found, strict=True):
            if gradient is None:
                raise CannotStack(f"parameter {name} gets no gradient; torch.optim leaves such a one alone")
        return losses.detach(), found, _detached(hidden)

    @torch.no_grad()
    def evaluate(self, batches: Iterator[Batch], prefix: str = "val") -> list[dict[str, float]]:
        """Return each trial's mean loss, and for classification its accuracy, in `eval()` mode."""
        self._program.template.eval()
        loss = hits = torch.zeros(len(self), dtype=torch.float64, device=self.parameters.device)
        rows = elements = 0
        hidden: Hidden = ()
        for inputs, targets in batches:
            with _no_slow_fallback():
                losses, correct, hidden = self._measure(self.tensors, hidden, inputs, targets)
            loss = loss + losses.double() * len(targets)
            hits = hits + correct
            rows += len(targets)
            elements += targets.numel()
        metrics = [{f"{prefix}_loss": value} for value in (loss / rows).tolist()]
        if self._task == "classification":
            for found, value in zip(metrics, (hits / elements).tolist(), strict=True):
                found[f"{prefix}_accuracy"] = value
        return metrics

    def _train_one(
        self,
        tensors: dict[str, Tensor],
        masks: dict[str, list[Tensor]],
        hidden: Hidden,
        inputs: Tensor,
        targets: Tensor,
    ) -> tuple[Tensor, Hidden, list[tuple[Tensor, Tensor]], dict[str, Tensor]]:
        """Compute one trial's loss, new hidden state, batch statistics and replaced buffers."""
        self._program.install(tensors, masks)
        outputs, hidden = self._predict(inputs, hidden)
        loss = solo.LOSSES[self._task](outputs, targets)
        return loss, hidden, self._program.statistics(), self._program.replaced(tensors)

    def _measure_one(
        self, tensors: dict[str, Tensor], hidden: Hidden, inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor, Hidden]:
        """Compute one trial's loss, number of hits and new hidden state."""
        self._program.install(tensors, {})
        outputs, hidden = self._predict(inputs, hidden)
        loss = solo.LOSSES[self._task](outputs, targets)
        hits = (outputs.argmax(dim=1) == targets).sum() if self._task == "classification" else loss
        return loss, hits, hidden

    def _predict(self, inputs: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        given = None if isinstance(hidden, tuple) and not hidden else hidden
        outputs, hidden = solo.predict(self._program.model, inputs, given, carry=self._carry)
        return outputs, () if hidden is None else hidden

    def _draw(self, inputs: Tensor, step: int) -> dict[str, list[Tensor]]:
        """Return the masks of this step by layer, one per call, (trials, ...) each."""
        if not self._sources:
            return {}
        if inputs.shape not in self._shapes:
            self._shapes[inputs.shape] = self._program.mask_shapes(inputs)
        return {
            layer: [
                self._sources[layer].mask(step, call, shape, self.parameters)
                for call, shape in enumerate(shapes)
            ]
            for layer, shapes in self._shapes[inputs.shape].items()
        }


class _Program:
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
        self._pristine = copy.deepcopy(self.template) if self._dropouts else None

    @property
    def model(self) -> nn.Module:
        found = self.template.model
        assert isinstance(found, nn.Module)
        return found

    def install(self, tensors: dict[str, Tensor], masks: dict[str, list[Tensor]]) -> None:
        for kept, key, name in self._places:
            kept[key] = tensors[name]
        for layer, found in masks.items():
            self._dropouts[layer].masks, self._dropouts[layer].calls = found, 0
        self._statistics.clear()

    @property
    def normed(self) -> list[str]:
        """Batch norm layers in the order in which the last step called them."""
        return [layer for layer, _, _ in self._statistics]

    def statistics(self) -> list[tuple[Tensor, Tensor]]:
        return [(mean, variance) for _, mean, variance in self._statistics]

    def replaced(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the buffers that the model has set anew instead of changing them in place."""
        return {name: kept[key] for kept, key, name in self._places if kept[key] is not tensors[name]}

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


def _mask_sources(
    models: Sequence[nn.Module], trials: Sequence[TrialSpec], seed: int
) -> dict[str, MaskSource]:
    """Return what draws the masks, by layer."""
    numbers = [trial.number for trial in trials]
    sources = {}
    for layer, module in models[0].named_modules(remove_duplicate=False):
        if twins.has_twin(module) and isinstance(module, twins.DROPOUTS):
            rates = [float(cast(nn.Dropout, model.get_submodule(layer)).p) for model in models]
            sources[layer] = MaskSource(seed, numbers, layer, rates)
    return sources


def _detached(hidden: Hidden) -> Hidden:
    return tuple(map(_detached, hidden)) if isinstance(hidden, tuple) else hidden.detach()


@contextlib.contextmanager
def _no_slow_fallback() -> Iterator[None]:
    """Let an operation without a batching rule raise, where `vmap` would run it trial by trial."""
    functorch: Any = torch._C._functorch
    before = functorch._is_vmap_fallback_enabled()
    functorch._set_vmap_fallback_enabled(False)
    try:
        yield
    finally:
        functorch._set_vmap_fallback_enabled(before)
