"""The engine that trains one trial: the oracle of all others."""

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import models
from tests.engine.trials import CPU, run, settings
from tuning import data
from tuning.engine import solo
from tuning.engine.batches import Batches
from tuning.records import State, TrialSpec


def flat(state: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.double().flatten() for tensor in state.values()])


@pytest.mark.parametrize(
    "hyperparameters",
    [
        {"optimizer": "sgd", "lr": 0.001},
        {"optimizer": "sgd", "lr": 0.001, "momentum": 0.9, "weight_decay": 1e-3},
        {"optimizer": "rmsprop", "lr": 0.001, "momentum": 0.5, "alpha": 0.9},
        {"optimizer": "adagrad", "lr": 0.01},
        {"optimizer": "adam", "lr": 0.01, "momentum": 0.8, "beta2": 0.99},
    ],
    ids=lambda found: found["optimizer"],
)
def test_a_resumed_trial_continues_bit_for_bit(hyperparameters: dict[str, Any]) -> None:
    spec, splits = settings("batchnorm_net", epochs=4)
    hyperparameters |= {"dropout": 0.2, "bn_momentum": 0.3}
    reports, whole = run(spec, splits, 4, **hyperparameters)
    _, half = run(spec, splits, 2, **hyperparameters)
    later, resumed = run(spec, splits, 4, resume=half.to_plain(), **hyperparameters)
    assert [report.metrics for report in later] == [report.metrics for report in reports[2:]]
    assert torch.equal(flat(whole.model), flat(resumed.model))
    assert resumed.history == whole.history


def test_a_model_that_draws_random_numbers_itself_resumes_bit_for_bit(tmp_path: Any) -> None:
    file = tmp_path / "noisy.py"
    file.write_text(
        "import torch\n"
        "class Noisy(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.out = torch.nn.Linear(1, 1)\n"
        "    def forward(self, x):\n"
        "        noise = torch.randn_like(x) if self.training else 0\n"
        "        return torch.nn.functional.dropout(self.out(x + noise), 0.2, self.training)\n"
    )
    spec, splits = settings("net", epochs=3)
    spec = replace(spec, model=f"{file}:Noisy", search={})
    _, whole = run(spec, splits, 3, lr=0.01)
    _, first = run(spec, splits, 1, lr=0.01)
    torch.manual_seed(12345)  # whatever the process did in between
    _, resumed = run(spec, splits, 3, resume=first.to_plain(), lr=0.01)
    assert torch.equal(flat(whole.model), flat(resumed.model))


def test_the_optimizers_are_those_of_torch() -> None:
    spec, splits = settings("net", epochs=1, batch_size=80)
    trial = TrialSpec(
        number=0, hyperparameters={"optimizer": "adam", "lr": 0.1, "momentum": 0.7, "beta2": 0.8}
    )
    model = solo.build_model(trial, spec, splits)
    expected = copy.deepcopy(model)
    optimizer = torch.optim.Adam(expected.parameters(), lr=0.1, betas=(0.7, 0.8))
    assert isinstance(splits.train, TensorDataset)
    inputs, targets = next(Batches(splits.train, 80, CPU, ordered=False).shuffled(spec.seed, 1))
    nn.functional.mse_loss(expected(inputs), targets).backward()
    optimizer.step()
    (_, state) = next(solo.train(trial, spec, splits, until=1, device=CPU))
    assert torch.equal(flat(state.model), flat(expected.state_dict()))


@pytest.mark.parametrize(
    ("hyperparameters", "kind", "defaults"),
    [
        ({"optimizer": "sgd"}, torch.optim.SGD, {"momentum": 0.0, "lr": 0.01}),
        ({"optimizer": "sgd", "momentum": 0.8}, torch.optim.SGD, {"momentum": 0.8}),
        ({"optimizer": "rmsprop", "alpha": 0.9}, torch.optim.RMSprop, {"alpha": 0.9, "momentum": 0.0}),
        ({"optimizer": "adagrad"}, torch.optim.Adagrad, {"lr": 0.01}),
        ({"optimizer": "adam"}, torch.optim.Adam, {"betas": (0.9, 0.999), "lr": 0.001}),
    ],
)
def test_hyperparameters_reach_the_optimizer(
    hyperparameters: dict[str, Any], kind: type, defaults: dict[str, Any]
) -> None:
    optimizer = solo.make_optimizer(nn.Linear(1, 1), hyperparameters)
    assert type(optimizer) is kind
    assert {key: optimizer.defaults[key] for key in defaults} == defaults


def test_the_best_state_is_the_one_whose_own_metric_is_best() -> None:
    spec, splits = settings("net", epochs=12)
    reports, state = run(spec, splits, 12, lr=0.3, momentum=0.99, dropout=0.3)
    values = {report.epoch: report.metrics["val_loss"] for report in reports}
    assert state.best is not None
    assert state.best["epoch"] == min(values, key=lambda epoch: (values[epoch], epoch))
    assert state.best["epoch"] < 12, "the case must have a best epoch that is not the last"
    model = models.build("net", dropout=0.3)
    model.load_state_dict(state.best["state_dict"])
    measured = solo.evaluate(model, Batches(splits.validation, 64, CPU, ordered=False).in_order(), splits)
    assert measured["val_loss"] == values[state.best["epoch"]]


def test_a_loss_that_is_no_number_ends_the_trial_as_diverged() -> None:
    spec, splits = settings("overfitting_net", epochs=100)
    reports, state = run(spec, splits, 100, lr=50.0, momentum=0.9)
    assert [report.state for report in reports[:-1]] == [State.RUNNING] * (len(reports) - 1)
    assert reports[-1].state is State.DIVERGED
    assert len(reports) < 100
    assert not all(map(math.isfinite, reports[-1].metrics.values()))
    assert state.best is None or torch.isfinite(flat(state.best["state_dict"])).all()


def test_initial_weights_are_a_function_of_seed_and_trial_number() -> None:
    spec, splits = settings("net")
    weights = {
        (seed, number): flat(
            solo.build_model(
                TrialSpec(number=number, hyperparameters={}), replace(spec, seed=seed), splits
            ).state_dict()
        )
        for seed in (0, 1)
        for number in (0, 1)
    }
    again = solo.build_model(TrialSpec(number=1, hyperparameters={}), spec, splits).state_dict()
    assert torch.equal(weights[0, 1], flat(again))
    assert len({tuple(found.tolist()) for found in weights.values()}) == 4


def test_measurements_are_made_in_eval_mode() -> None:
    spec, splits = settings("dropout_net", epochs=1)
    reports, state = run(spec, splits, 1, lr=0.01, dropout=0.5, bn_momentum=0.5)
    model = models.build("dropout_net", dropout=0.5, bn_momentum=0.5)
    model.load_state_dict(state.model)
    assert isinstance(splits.validation, TensorDataset)
    inputs, targets = splits.validation.tensors
    expected = nn.functional.mse_loss(model.eval()(inputs), targets).item()
    assert reports[0].metrics["val_loss"] == pytest.approx(expected, rel=1e-6)


def test_the_hidden_state_is_carried_from_window_to_window_and_starts_anew_each_epoch() -> None:
    class Recorder(nn.Module):
        carry_hidden = True

        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(1, 1)
            self.seen: list[Any] = []

        def forward(self, x: torch.Tensor, hidden: torch.Tensor | None = None) -> Any:
            self.seen.append(None if hidden is None else hidden.item())
            count = torch.zeros(1) if hidden is None else hidden
            return self.out(x), (count + 1).requires_grad_()

    model = Recorder()
    splits = data.load("sine", seed=0)
    solo.evaluate(model, Batches(splits.validation, 1, CPU, ordered=True).in_order(), splits)
    assert model.seen == [None, *range(1, 20)]
    model.seen, model.carry_hidden = [], False
    solo.evaluate(model, Batches(splits.validation, 1, CPU, ordered=True).in_order(), splits)
    assert model.seen == [None] * 20


def test_training_an_rnn_differs_by_whether_it_carries_its_hidden_state() -> None:
    spec, splits = settings("rnn", epochs=1)
    carried, _ = run(spec, splits, 1, lr=0.02)
    reset, _ = run(spec, splits, 1, lr=0.02, carry_hidden=False)
    assert carried[0].metrics != reset[0].metrics


class Squares(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """A data set that is not in memory."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.tensor([row / self.rows])
        return x, x**2


def test_a_data_set_that_is_not_in_memory_trains_as_its_tensors_would() -> None:
    spec, _ = settings("net", epochs=2, batch_size=16)
    lazy = data.from_callable(lambda: (Squares(64), Squares(16), Squares(16)), name="squares", seed=0)
    parts = [
        TensorDataset(*map(torch.stack, zip(*found, strict=True)))
        for found in map(
            list,
            (
                (Squares(64)[i] for i in range(64)),
                (Squares(16)[i] for i in range(16)),
                (Squares(16)[i] for i in range(16)),
            ),
        )
    ]
    eager = data.from_callable(lambda: tuple(parts), name="squares", seed=0)
    assert not isinstance(lazy.train, TensorDataset) and isinstance(eager.train, TensorDataset)
    assert run(spec, lazy, 2, lr=0.1)[0][-1].metrics == run(spec, eager, 2, lr=0.1)[0][-1].metrics


def test_augmentation_changes_training_only_and_is_repeatable() -> None:
    spec, splits = settings("cnn", epochs=1)
    assert isinstance(splits.train, TensorDataset)
    small = replace(splits, train=TensorDataset(*(tensor[:256] for tensor in splits.train.tensors)))
    plain, _ = run(spec, small, 1, lr=0.01)
    augmented, _ = run(spec, small, 1, lr=0.01, augment=True)
    again, _ = run(spec, small, 1, lr=0.01, augment=True)
    assert augmented[0].metrics == again[0].metrics
    assert augmented[0].metrics["train_loss"] != plain[0].metrics["train_loss"]
