"""K trials of one structure as one program: `torch.func.vmap` over an ordinary module.

Row k of every tensor is trial k. The batch is the same for all.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils._pytree import tree_map

from tuning.engine import compiled, solo, twins
from tuning.engine.batches import Batch
from tuning.engine.layers import MaskSource
from tuning.engine.optimizers import StackedOptimizer
from tuning.engine.precision import autocast
from tuning.engine.program import Program, Statistics
from tuning.engine.rows import CannotStack, Layout
from tuning.engine.twins import RunningStatistics
from tuning.records import TrialSpec
from tuning.spec import Precision

Hidden = Any
"""A hidden state that is handed on, (trials, ...) each; () at the start and where there is none."""


class Stack:
    """Models of one structure (`grouping.by_structure`), their optimizer, and the step of all at once.

    Args:
        models: one per trial, on the CPU; the first one is taken apart and serves as the template.
        seed: the sweep's, for dropout masks.
        carry: whether hidden states go from batch to batch.
        compile: whether steps that are repeated often are compiled.
        precision: of the training.

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
        compile: bool = False,
        precision: Precision = "fp32",
    ) -> None:
        self._task, self._carry, self._precision = task, carry, precision
        self.layout = Layout.of(models[0])
        self.rows = {dtype: rows.to(device) for dtype, rows in self.layout.stack(models).items()}
        self.parameters = self.rows[self.layout.dtype][:, : self.layout.num_trained]
        self.tensors = self.layout.views(self.rows)
        for name in self.layout.trained:  # `data` counts versions apart from the buffers in the same row
            self.tensors[name] = self.tensors[name].data
        hyperparameters = [trial.hyperparameters for trial in trials]
        optimizer = str(hyperparameters[0].get("optimizer", "sgd"))
        self.optimizer = StackedOptimizer(optimizer, self.parameters, hyperparameters)
        self._running = RunningStatistics(models, self.tensors)
        self._sources = _mask_sources(models, trials, seed)
        key = len(models), str(device), task, carry, precision
        graphs = compiled.shared(models[0], key) if compile else None
        self._program = Program(models[0].to(device))
        self._shapes: dict[torch.Size, dict[str, list[torch.Size]]] = {}
        """Shapes of the masks that an input of this shape wants, by layer, one per call."""
        self._train = vmap(self._train_one, in_dims=(0, 0, 0, None, None), randomness="error")
        self._measure = vmap(self._measure_one, in_dims=(0, 0, None, None), randomness="error")
        self._step: compiled.Function = self._step_of_all
        self._evaluation: compiled.Function = self._measure_all
        self._compiled: list[compiled.Compiled] = []
        if graphs is not None:
            program = self._program.template
            self._step = compiled.Compiled(self._step, program, graphs, "step")
            self._evaluation = compiled.Compiled(self._evaluation, program, graphs, "evaluation")
            self._compiled = [self._step, self._evaluation]

    def __len__(self) -> int:
        return len(self.parameters)

    def notes(self) -> list[str]:
        """Return what the user should know of, each once."""
        found = [note for step in self._compiled for note in step.notes]
        for step in self._compiled:
            step.notes.clear()
        return found

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
        self._program.train(True)
        masks = self._draw(inputs, step)
        losses, found, hidden, statistics, changed = self._step(self.tensors, masks, hidden, inputs, targets)
        for layer, of_calls in statistics.items():
            for mean, variance in of_calls:
                self._running.update(layer, mean, variance)
        for name, value in changed.items():
            self.tensors[name].copy_(value)
        for name, gradient in zip(self.layout.trained, found, strict=True):
            if gradient is None:
                raise CannotStack(f"parameter {name} gets no gradient; torch.optim leaves such a one alone")
        return losses, found, hidden

    def _step_of_all(
        self,
        tensors: dict[str, Tensor],
        masks: dict[str, list[Tensor]],
        hidden: Hidden,
        inputs: Tensor,
        targets: Tensor,
    ) -> Any:
        """Compute all that a step needs: losses, gradients, hidden state, statistics, changed buffers."""
        leaves = {name: tensors[name].detach().requires_grad_() for name in self.layout.trained}
        with _no_slow_fallback(), autocast(self._precision, inputs.device):
            losses, hidden, statistics, changed = self._train(
                {**tensors, **leaves}, masks, hidden, inputs, targets
            )
        with _no_slow_fallback():
            found = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True)
        return losses.detach(), found, *tree_map(Tensor.detach, (hidden, statistics, changed))

    def _measure_all(
        self, tensors: dict[str, Tensor], hidden: Hidden, inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor, Hidden]:
        with _no_slow_fallback():
            found: tuple[Tensor, Tensor, Hidden] = self._measure(tensors, hidden, inputs, targets)
            return found

    @torch.no_grad()
    def evaluate(self, batches: Iterator[Batch], prefix: str = "val") -> list[dict[str, float]]:
        """Return each trial's mean loss, and for classification its accuracy, in `eval()` mode."""
        self._program.train(False)
        loss = hits = torch.zeros(len(self), dtype=torch.float64, device=self.parameters.device)
        rows = elements = 0
        hidden: Hidden = ()
        for inputs, targets in batches:
            losses, correct, hidden = self._evaluation(self.tensors, hidden, inputs, targets)
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
    ) -> tuple[Tensor, Hidden, Statistics, dict[str, Tensor]]:
        """Compute one trial's loss, new hidden state, batch statistics and changed buffers."""
        self._program.install(self._program.with_copies(tensors), masks)
        outputs, hidden = self._predict(inputs, hidden)
        loss = solo.LOSSES[self._task](outputs, targets)
        return loss, hidden, self._program.statistics(), self._program.changed(tensors)

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
