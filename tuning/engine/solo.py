"""One trial on stock `torch.optim`: short, obvious, the oracle of the fast engine.

`train` is a generator: whoever consumes it saves, reports, or stops. There are no callbacks.
"""

import copy
import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tuning.data import Splits
from tuning.engine.batches import Batch, Batches, augmented
from tuning.engine.layers import HashDropout, replace_dropout
from tuning.engine.precision import autocast
from tuning.records import EpochReport, State, TrialSpec, improves
from tuning.references import load_model
from tuning.resolve import optimizer_defaults
from tuning.seeds import derive
from tuning.spec import TRAINING_HYPERPARAMETERS, Precision, SweepSpec

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "classification": nn.functional.cross_entropy,
    "regression": nn.functional.mse_loss,
}


class Together(Protocol):
    """What is otherwise where several ranks train a trial (`ranks`)."""

    def train_epoch(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        batches: Iterator[Batch],
        splits: Splits,
        dropouts: list[HashDropout],
        first_step: int,
        precision: Precision,
    ) -> float: ...

    def agreed(self, metrics: dict[str, float]) -> dict[str, float]: ...


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How far a trial has come: all that a checkpoint needs."""

    epoch: int
    history: list[dict[str, float]]
    """Metrics per epoch, from epoch 1."""
    best: dict[str, Any] | None
    """`epoch` and `state_dict` of the best epoch so far; None before the first finite metric."""


@dataclass(slots=True, kw_only=True)
class Training(Outcome):
    """A trial's whole state between two epochs: all that a resumed trial needs."""

    trial: int
    model: dict[str, Tensor]
    optimizer: dict[int, dict[str, Any]]
    """Its `state`, by index of the parameter; hyperparameters are the trial's."""

    def to_plain(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def train(
    trial: TrialSpec,
    spec: SweepSpec,
    splits: Splits,
    *,
    until: int,
    device: torch.device,
    resume: dict[str, Any] | None = None,
    together: Together | None = None,
) -> Generator[tuple[EpochReport, Training], None, None]:
    """Train one trial up to and including epoch `until`, yielding after each epoch.

    Args:
        together: takes part in the training of several ranks; None: there is only this one.

    The yielded state refers to live tensors: save it before asking for the next epoch. A loss
    that is no finite number ends the trial as `diverged`.
    """
    assert spec.metric is not None and spec.mode is not None
    model = build_model(trial, spec, splits).to(device)
    dropouts = replace_dropout(model, spec.seed, trial.number)
    optimizer = make_optimizer(model, trial.hyperparameters)
    state = Training(trial=trial.number, epoch=0, model={}, optimizer={}, history=[], best=None)
    if resume is not None:
        state = Training(**resume)
        model.load_state_dict(state.model)
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state.optimizer, "param_groups": groups})
    rows = Batches(splits.train, batch_size(trial, spec), device, ordered=splits.ordered)
    held_out = Batches(splits.validation, batch_size(trial, spec), device, ordered=splits.ordered)
    for epoch in range(state.epoch + 1, until + 1):
        start_s = time.perf_counter()
        _seed_modules(spec.seed, trial.number, epoch)
        batches = rows.shuffled(spec.seed, epoch)
        if trial.hyperparameters.get("augment") and splits.augment is not None:
            batches = augmented(batches, splits, spec.seed, epoch)
        first_step = (epoch - 1) * rows.steps
        take_steps = train_epoch if together is None else together.train_epoch
        train_loss = take_steps(model, optimizer, batches, splits, dropouts, first_step, spec.precision)
        metrics = {"train_loss": train_loss, **evaluate(model, held_out.in_order(), splits)}
        metrics = metrics if together is None else together.agreed(metrics)
        diverged = not all(math.isfinite(value) for value in metrics.values())
        state.epoch, state.model = epoch, model.state_dict()
        state.optimizer = optimizer.state_dict()["state"]
        state.history.append(metrics)
        before = state.history[state.best["epoch"] - 1][spec.metric] if state.best else None
        if not diverged and improves(metrics[spec.metric], before, spec.mode):
            state.best = {"epoch": epoch, "state_dict": copy.deepcopy(model.state_dict())}
        report = EpochReport(
            trial=trial.number,
            epoch=epoch,
            metrics=metrics,
            state=State.DIVERGED if diverged else State.RUNNING,
            seconds=time.perf_counter() - start_s,
        )
        yield report, state
        if diverged:
            return


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Batch],
    splits: Splits,
    dropouts: list[HashDropout],
    first_step: int,
    precision: Precision = "fp32",
) -> float:
    """Take one step per batch; return the mean training loss."""
    model.train()
    total: Tensor | float = 0.0  # stays on the device: reading it would wait for every step
    rows = 0
    hidden: Any = None
    for step, (inputs, targets) in enumerate(batches, start=first_step):
        for dropout in dropouts:
            dropout.begin(step)
        with autocast(precision, inputs.device):
            outputs, hidden = predict(model, inputs, hidden, carry=splits.ordered)
            loss = LOSSES[splits.task](outputs, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total = total + loss.detach().double() * len(targets)
        rows += len(targets)
    return float(total) / rows


def batch_size(trial: TrialSpec, spec: SweepSpec) -> int:
    return int(trial.hyperparameters.get("batch_size") or spec.batch_size or 1)


def model_arguments(trial: TrialSpec, spec: SweepSpec, splits: Splits) -> dict[str, Any]:
    """Return the constructor arguments: what the data decides, then the trial's hyperparameters."""
    import models

    card = models.CATALOG.get(spec.model)
    from_data = card.from_data(splits.input_shape, splits.num_outputs) if card else {}
    takes = load_model(spec.model).arguments
    own = {k: v for k, v in trial.hyperparameters.items() if k not in TRAINING_HYPERPARAMETERS and k in takes}
    return {**from_data, **own}


def build_model(trial: TrialSpec, spec: SweepSpec, splits: Splits) -> nn.Module:
    """Return the trial's model with the initial weights of (sweep seed, trial number)."""
    arguments = model_arguments(trial, spec, splits)
    with torch.random.fork_rng(devices=[]):
        _seed(derive(spec.seed, "weights", trial.number))
        model = load_model(spec.model).build(**arguments)
    assert isinstance(model, nn.Module)
    return model


def make_optimizer(model: nn.Module, hyperparameters: dict[str, Any]) -> torch.optim.Optimizer:
    name = str(hyperparameters.get("optimizer", "sgd"))
    given = {**optimizer_defaults(name), **hyperparameters}
    common = {"lr": given["lr"], "weight_decay": given["weight_decay"]}
    parameters = model.parameters()
    if name == "adagrad":
        return torch.optim.Adagrad(parameters, **common)
    if name == "adam":
        return torch.optim.Adam(parameters, betas=(given["momentum"], given["beta2"]), **common)
    if name == "rmsprop":
        return torch.optim.RMSprop(parameters, alpha=given["alpha"], momentum=given["momentum"], **common)
    return torch.optim.SGD(parameters, momentum=given["momentum"], **common)


def predict(model: nn.Module, inputs: Tensor, hidden: Any, *, carry: bool) -> tuple[Tensor, Any]:
    """Return the outputs and, for a model that hands its hidden state on, that state, detached.

    Such a model returns `(outputs, hidden)`; its attribute `carry_hidden = False` resets the state
    at every window.
    """
    outputs = model(inputs) if hidden is None else model(inputs, hidden)
    if not isinstance(outputs, tuple):
        return outputs, None
    outputs, hidden = outputs
    if not (carry and getattr(model, "carry_hidden", True)):
        return outputs, None
    return outputs, tuple(h.detach() for h in hidden) if isinstance(hidden, tuple) else hidden.detach()


@torch.no_grad()
def evaluate(
    model: nn.Module, batches: Iterator[Batch], splits: Splits, prefix: str = "val"
) -> dict[str, float]:
    """Return the mean loss, and for classification the accuracy, in `eval()` mode."""
    model.eval()
    loss_sum: Tensor | float = 0.0
    correct: Tensor | float = 0.0
    rows = elements = 0
    hidden: Any = None
    for inputs, targets in batches:
        outputs, hidden = predict(model, inputs, hidden, carry=splits.ordered)
        loss_sum = loss_sum + LOSSES[splits.task](outputs, targets).double() * len(targets)
        rows += len(targets)
        if splits.task == "classification":
            correct = correct + (outputs.argmax(dim=1) == targets).sum()
            elements += targets.numel()
    metrics = {f"{prefix}_loss": float(loss_sum) / rows}
    if splits.task == "classification":
        metrics[f"{prefix}_accuracy"] = float(correct) / elements
    return metrics


def _seed_modules(seed: int, trial: int, epoch: int) -> None:
    """Seed what a model draws by itself (functional dropout, noise), so that a resume repeats it."""
    _seed(derive(seed, "modules", trial, epoch))


def _seed(value: int) -> None:
    """Seed as `torch.manual_seed` does, which formats the whole stack for a CUDA that is not in use."""
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(value)
