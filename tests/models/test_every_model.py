"""What holds for every model of the catalog. A new model gets these tests by its `EXAMPLES` row."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

import models

# name -> (one example's shape, outputs, shape of the output for a batch of 6)
EXAMPLES: dict[str, tuple[tuple[int, ...], int, tuple[int, ...]]] = {
    "net": ((1,), 1, (6, 1)),
    "quick_net": ((1,), 1, (6, 1)),
    "cnn": ((1, 28, 28), 10, (6, 10)),
    "lstm": ((1, 28, 28), 10, (6, 10)),
    "rnn": ((10, 1), 1, (6, 10, 1)),
    "overfitting_net": ((1,), 1, (6, 1)),
    "dropout_net": ((1,), 1, (6, 1)),
    "batchnorm_net": ((1,), 1, (6, 1)),
}
EVERY_MODEL = pytest.mark.parametrize("name", EXAMPLES)
# torch 2.15 has no batching rule for recurrent layers: the engine brings stacked twins of them.
EVERY_VMAPPABLE_MODEL = pytest.mark.parametrize(
    "name", [name for name in EXAMPLES if name not in ("lstm", "rnn")]
)
EVERY_OPTION = pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.0, "bn_momentum": None},
        {"dropout": 0.2, "bn_momentum": None},
        {"dropout": 0.0, "bn_momentum": 0.1},
        {"dropout": 0.2, "bn_momentum": 0.1},
    ],
    ids=["plain", "dropout", "bn", "dropout+bn"],
)


def batch(name: str) -> Tensor:
    return torch.randn(6, *EXAMPLES[name][0])


def prediction(output: Any) -> Tensor:
    """Drop the hidden state, which only the regressing RNN returns."""
    result = output[0] if isinstance(output, tuple) else output
    assert isinstance(result, Tensor)
    return result


def layers_of(model: nn.Module, kind: type | tuple[type, ...]) -> list[Any]:
    return [layer for layer in model.modules() if isinstance(layer, kind)]


def test_every_model_of_the_catalog_is_tested() -> None:
    assert list(EXAMPLES) == list(models.CATALOG)


@EVERY_MODEL
@EVERY_OPTION
def test_output_has_one_row_per_example(name: str, options: dict[str, Any]) -> None:
    assert prediction(models.build(name, **options)(batch(name))).shape == EXAMPLES[name][2]


@EVERY_MODEL
@EVERY_OPTION
def test_gradient_reaches_every_parameter(name: str, options: dict[str, Any]) -> None:
    model = models.build(name, **options)
    # Random weights on the outputs: batch norm makes their plain sum constant.
    output = prediction(model(batch(name)))
    torch.autograd.backward(output, torch.randn_like(output))
    without = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@EVERY_MODEL
@EVERY_OPTION
def test_input_is_left_as_it_was(name: str, options: dict[str, Any]) -> None:
    x = batch(name)
    before = x.clone()
    models.build(name, **options)(x)
    assert torch.equal(x, before)


@EVERY_MODEL
def test_same_seed_builds_equal_models(name: str) -> None:
    torch.manual_seed(3)
    first = models.build(name).state_dict()
    torch.manual_seed(3)
    torch.testing.assert_close(models.build(name).state_dict(), first, rtol=0, atol=0)


@EVERY_MODEL
@pytest.mark.parametrize(
    ("activation", "layer"),
    [("relu", nn.ReLU), ("sigmoid", nn.Sigmoid), ("tanh", nn.Tanh), ("softplus", nn.Softplus)],
)
def test_activation_is_the_only_one_in_the_model(name: str, activation: str, layer: type) -> None:
    model = models.build(name, activation=activation)
    found = layers_of(model, (nn.ReLU, nn.Sigmoid, nn.Tanh, nn.Softplus))
    assert {type(activation_layer) for activation_layer in found} == {layer}


@EVERY_MODEL
def test_activation_changes_the_prediction(name: str) -> None:
    x, weights = batch(name), models.build(name).state_dict()
    outputs = []
    for activation in ("tanh", "softplus"):
        model = models.build(name, activation=activation).eval()
        model.load_state_dict(weights)
        outputs.append(prediction(model(x)))
    assert not torch.allclose(outputs[0], outputs[1])


@EVERY_MODEL
def test_dropout_is_random_in_training_and_off_in_prediction(name: str) -> None:
    model, x = models.build(name, dropout=0.5), batch(name)
    assert not torch.equal(prediction(model(x)), prediction(model(x)))
    model.eval()
    assert torch.equal(prediction(model(x)), prediction(model(x)))


@EVERY_MODEL
def test_dropout_zero_leaves_no_dropout_layer(name: str) -> None:
    assert layers_of(models.build(name, dropout=0.0), nn.Dropout) == []


@EVERY_MODEL
def test_dropout_rate_is_the_one_asked_for(name: str) -> None:
    dropouts = layers_of(models.build(name, dropout=0.3), nn.Dropout)
    assert {layer.p for layer in dropouts} == {0.3}


@EVERY_MODEL
def test_bn_momentum_weighs_the_newest_batch(name: str) -> None:
    model = models.build(name, bn_momentum=0.25)
    model(batch(name))
    for norm in layers_of(model, (nn.BatchNorm1d, nn.BatchNorm2d)):
        assert norm.momentum == 0.25
        assert norm.num_batches_tracked == 1
        assert not torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean))


@EVERY_MODEL
def test_bn_momentum_none_means_no_batch_norm(name: str) -> None:
    model = models.build(name, bn_momentum=None)
    assert layers_of(model, (nn.BatchNorm1d, nn.BatchNorm2d)) == []


@EVERY_MODEL
@EVERY_OPTION
def test_model_is_a_pure_function_of_its_state(name: str, options: dict[str, Any]) -> None:
    model, donor = (models.build(name, **options).eval() for _ in range(2))
    x = batch(name)
    expected = prediction(donor(x))
    assert not torch.allclose(prediction(model(x)), expected)
    torch.testing.assert_close(prediction(functional_call(model, donor.state_dict(), x)), expected)


@EVERY_VMAPPABLE_MODEL
def test_stacked_models_train_as_they_do_alone(name: str) -> None:
    trio = [models.build(name, dropout=0.0, bn_momentum=0.1).double() for _ in range(3)]
    x = batch(name).double()
    stacked = [
        {key: value.detach().clone() for key, value in state.items()} for state in stack_module_state(trio)
    ]
    template = models.build(name, dropout=0.0, bn_momentum=0.1).double()
    together = torch.vmap(lambda p, b: functional_call(template, (p, b), x))(*stacked)
    alone = torch.stack([model(x) for model in trio])
    torch.testing.assert_close(together, alone)
    after = stack_module_state(trio)[1]
    torch.testing.assert_close(stacked[1], after)


@EVERY_MODEL
@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_dropout_outside_its_range_is_refused(name: str, dropout: float) -> None:
    with pytest.raises(ValueError, match=r"`dropout` must lie in \[0, 1\), but got"):
        models.build(name, dropout=dropout)


@EVERY_MODEL
@pytest.mark.parametrize("bn_momentum", [-0.1, 0.0, 1.1, float("nan")])
def test_bn_momentum_outside_its_range_is_refused(name: str, bn_momentum: float) -> None:
    with pytest.raises(ValueError, match=r"`bn_momentum` must lie in \(0, 1\], but got"):
        models.build(name, bn_momentum=bn_momentum)


@EVERY_MODEL
def test_unknown_activation_is_refused_naming_the_nearest(name: str) -> None:
    with pytest.raises(ValueError, match=r"'rleu'; did you mean 'relu'.*sigmoid, tanh, softplus"):
        models.build(name, activation="rleu")


@EVERY_MODEL
def test_size_below_one_is_refused(name: str) -> None:
    size = next(key for key in models.hyperparameters(name) if key.endswith(("output", "classes")))
    with pytest.raises(ValueError, match=f"`{size}` must be at least 1, but got 0"):
        models.build(name, **{size: 0})
