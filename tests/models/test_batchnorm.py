"""The deep net of the batch norm chapter: its poor start, and its inside for the figures."""

import pytest
import torch
from torch import nn

from models.batchnorm import BatchNormNet

WITH_AND_WITHOUT = pytest.mark.parametrize("bn_momentum", [0.5, None], ids=["bn", "no-bn"])


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear)]


@WITH_AND_WITHOUT
def test_weights_start_near_zero_with_deviation_a_tenth(bn_momentum: float | None) -> None:
    # 70,200 numbers: their deviation strays from the true one by less than 1 %.
    layers = linear_layers(BatchNormNet(n_hidden=100, bn_momentum=bn_momentum))
    weights = torch.cat([layer.weight.detach().flatten() for layer in layers])
    assert weights.mean().item() == pytest.approx(0.0, abs=0.002)
    assert weights.std().item() == pytest.approx(0.1, rel=0.01)


@WITH_AND_WITHOUT
def test_every_bias_starts_at_minus_a_fifth(bn_momentum: float | None) -> None:
    layers = linear_layers(BatchNormNet(bn_momentum=bn_momentum))
    assert len(layers) == 9
    biases = torch.cat([layer.bias.detach() for layer in layers])
    assert torch.equal(biases, torch.full_like(biases, -0.2))


@WITH_AND_WITHOUT
def test_forward_gives_the_prediction_alone(bn_momentum: float | None) -> None:
    model, x = BatchNormNet(bn_momentum=bn_momentum), torch.randn(16, 1)
    assert torch.equal(model(x), model.forward_with_layers(x)[0])


@pytest.mark.parametrize("n_layers", [1, 3, 8])
def test_layers_are_reported_with_the_input_first(n_layers: int) -> None:
    x = torch.randn(16, 1)
    model = BatchNormNet(n_layers=n_layers)
    _, layer_inputs, pre_activations = model.forward_with_layers(x)
    hidden = [(16, 10)] * n_layers
    assert [tuple(t.shape) for t in layer_inputs] == [(16, 1), *hidden]
    assert [tuple(t.shape) for t in pre_activations] == [(16, 1), *hidden]


def test_input_is_reported_raw_and_normalised() -> None:
    x = 5 + 3 * torch.randn(64, 1)
    _, layer_inputs, pre_activations = BatchNormNet().forward_with_layers(x)
    assert torch.equal(pre_activations[0], x)
    assert layer_inputs[0].mean().item() == pytest.approx(0.0, abs=1e-5)
    assert layer_inputs[0].std(correction=0).item() == pytest.approx(1.0, abs=1e-3)


def test_without_batch_norm_a_layer_input_is_the_activated_pre_activation() -> None:
    model = BatchNormNet(bn_momentum=None)
    _, layer_inputs, pre_activations = model.forward_with_layers(torch.randn(16, 1))
    torch.testing.assert_close(layer_inputs[1:], [t.tanh() for t in pre_activations[1:]])


def test_batch_norm_keeps_the_signal_alive_through_eight_layers() -> None:
    x = torch.linspace(-7, 10, 256).unsqueeze(1)
    with_bn = BatchNormNet().forward_with_layers(x)[1][-1].std(dim=0)
    without = BatchNormNet(bn_momentum=None).forward_with_layers(x)[1][-1].std(dim=0)
    assert with_bn.min() > 0.3
    assert without.max() < 1e-3


def test_each_layer_draws_its_own_dropout() -> None:
    model = BatchNormNet(dropout=0.2)
    dropouts = [name for name, m in model.named_modules() if isinstance(m, nn.Dropout)]
    assert dropouts == [f"dropout{i}" for i in range(8)]


def test_a_layer_replaced_from_outside_is_used() -> None:
    model = BatchNormNet(bn_momentum=None)
    model.fc7 = nn.Linear(10, 10)
    _, layer_inputs, pre_activations = model.forward_with_layers(torch.randn(4, 1))
    assert torch.equal(pre_activations[8], model.fc7(layer_inputs[7]))
