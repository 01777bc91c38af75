"""Training as a textbook writes it: the one loop of all peers.

Initial weights and the order of the rows come from the seeds that this project uses, so that only
the dropout masks differ and results can be compared trial by trial. Rows are taken from tensors in
memory, as this project does, not through a DataLoader, which would be slower.
"""

import os
import time
from collections.abc import Callable, Iterator
from functools import lru_cache

import torch
from torch import Tensor, nn

import models
from benchmarks import trace
from benchmarks.job import Configuration, Job
from models.rnn import RNN
from tuning.data import Splits, load
from tuning.seeds import derive

Loss = Callable[[Tensor, Tensor], Tensor]

LOSSES: dict[str, Loss] = {
    "classification": nn.functional.cross_entropy,
    "regression": nn.functional.mse_loss,
}


def train(job: Job, configuration: Configuration, trace_path: str) -> Iterator[dict[str, float]]:
    """Train one configuration and yield its metrics after each epoch, which is also traced."""
    index = job.index(configuration)
    splits = data(job.data, job.seed)
    torch.manual_seed(derive(job.seed, "weights", index))
    model = models.build(job.model, **model_arguments(job, configuration, splits))
    optimizer = torch.optim.SGD(
        model.parameters(), lr=configuration["lr"], momentum=configuration["momentum"]
    )
    loss_function = LOSSES[splits.task]
    inputs, targets = tensors(splits.train)
    for epoch in range(1, job.epochs + 1):
        start_s = time.monotonic()
        model.train()
        total = 0.0
        hidden = None
        for rows in order(splits, job, epoch):
            optimizer.zero_grad()
            prediction, hidden = predict(model, inputs[rows], hidden)
            loss = loss_function(prediction, targets[rows])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        metrics = {"train_loss": total / len(inputs), **validate(model, splits, job.batch_size)}
        trace.append(
            trace_path,
            trace.Epoch(
                trial=index,
                worker=os.getpid(),
                epoch=epoch,
                start_s=start_s,
                end_s=time.monotonic(),
                metrics=metrics,
            ),
        )
        yield metrics


def order(splits: Splits, job: Job, epoch: int) -> tuple[Tensor, ...]:
    """Return the rows of each batch: shuffled, but for windows of a series, taken one after the other."""
    rows = len(tensors(splits.train)[0])
    generator = torch.Generator().manual_seed(derive(job.seed, "order", epoch))
    chosen = torch.arange(rows) if splits.ordered else torch.randperm(rows, generator=generator)
    batches: tuple[Tensor, ...] = chosen.split(1 if splits.ordered else job.batch_size)
    return batches


def predict(model: nn.Module, inputs: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Return the prediction, and the hidden state of a model that hands it on."""
    if not isinstance(model, RNN):
        prediction: Tensor = model(inputs)
        return prediction, None
    prediction, hidden = model(inputs, hidden)
    assert hidden is not None
    return prediction, hidden.detach()


@torch.no_grad()
def validate(model: nn.Module, splits: Splits, batch_size: int) -> dict[str, float]:
    model.eval()
    inputs, targets = tensors(splits.validation)
    loss, correct = 0.0, 0
    hidden = None
    for x, y in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
        outputs, hidden = predict(model, x, hidden)
        loss += LOSSES[splits.task](outputs, y).item() * len(y)
        if splits.task == "classification":
            correct += int((outputs.argmax(dim=1) == y).sum())
    metrics = {"val_loss": loss / len(inputs)}
    if splits.task == "classification":
        metrics["val_accuracy"] = correct / len(inputs)
    return metrics


def model_arguments(job: Job, configuration: Configuration, splits: Splits) -> dict[str, object]:
    from_data = models.CATALOG[job.model].from_data(splits.input_shape, splits.num_outputs)
    return {
        **from_data,
        "dropout": configuration["dropout"],
        "bn_momentum": configuration["bn_momentum"],
    }


@lru_cache(maxsize=1)
def data(name: str, seed: int) -> Splits:
    """Load the data once per process."""
    return load(name, seed=seed)


def tensors(dataset: object) -> tuple[Tensor, Tensor]:
    assert isinstance(dataset, torch.utils.data.TensorDataset)
    inputs, targets = dataset.tensors
    return inputs, targets
