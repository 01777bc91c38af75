"""The architectures of reference/pytorch_basic.md: key for key, shape for shape."""

import pytest
import torch
from torch import nn

import models

DOCUMENTED = {
    "net": {
        "hidden.weight": (10, 1),
        "hidden.bias": (10,),
        "predict.weight": (1, 10),
        "predict.bias": (1,),
    },
    "quick_net": {
        "0.weight": (10, 1),
        "0.bias": (10,),
        "2.weight": (1, 10),
        "2.bias": (1,),
    },
    "cnn": {
        "conv1.0.weight": (16, 1, 5, 5),
        "conv1.0.bias": (16,),
        "conv2.0.weight": (32, 16, 5, 5),
        "conv2.0.bias": (32,),
        "out.weight": (10, 1568),
        "out.bias": (10,),
    },
    "lstm": {
        "rnn.weight_ih_l0": (256, 28),
        "rnn.weight_hh_l0": (256, 64),
        "rnn.bias_ih_l0": (256,),
        "rnn.bias_hh_l0": (256,),
        "out.weight": (10, 64),
        "out.bias": (10,),
    },
    "rnn": {
        "rnn.weight_ih_l0": (32, 1),
        "rnn.weight_hh_l0": (32, 32),
        "rnn.bias_ih_l0": (32,),
        "rnn.bias_hh_l0": (32,),
        "out.weight": (1, 32),
        "out.bias": (1,),
    },
    "overfitting_net": {
        "0.weight": (300, 1),
        "0.bias": (300,),
        "2.weight": (300, 300),
        "2.bias": (300,),
        "4.weight": (1, 300),
        "4.bias": (1,),
    },
    "dropout_net": {
        "0.weight": (300, 1),
        "0.bias": (300,),
        "3.weight": (300, 300),
        "3.bias": (300,),
        "6.weight": (1, 300),
        "6.bias": (1,),
    },
    "batchnorm_net": {
        "bn_input.weight": (1,),
        "bn_input.bias": (1,),
        "bn_input.running_mean": (1,),
        "bn_input.running_var": (1,),
        "bn_input.num_batches_tracked": (),
        "fc0.weight": (10, 1),
        "fc0.bias": (10,),
        "bn0.weight": (10,),
        "bn0.bias": (10,),
        "bn0.running_mean": (10,),
        "bn0.running_var": (10,),
        "bn0.num_batches_tracked": (),
        "fc1.weight": (10, 10),
        "fc1.bias": (10,),
        "bn1.weight": (10,),
        "bn1.bias": (10,),
        "bn1.running_mean": (10,),
        "bn1.running_var": (10,),
        "bn1.num_batches_tracked": (),
        "fc2.weight": (10, 10),
        "fc2.bias": (10,),
        "bn2.weight": (10,),
        "bn2.bias": (10,),
        "bn2.running_mean": (10,),
        "bn2.running_var": (10,),
        "bn2.num_batches_tracked": (),
        "fc3.weight": (10, 10),
        "fc3.bias": (10,),
        "bn3.weight": (10,),
        "bn3.bias": (10,),
        "bn3.running_mean": (10,),
        "bn3.running_var": (10,),
        "bn3.num_batches_tracked": (),
        "fc4.weight": (10, 10),
        "fc4.bias": (10,),
        "bn4.weight": (10,),
        "bn4.bias": (10,),
        "bn4.running_mean": (10,),
        "bn4.running_var": (10,),
        "bn4.num_batches_tracked": (),
        "fc5.weight": (10, 10),
        "fc5.bias": (10,),
        "bn5.weight": (10,),
        "bn5.bias": (10,),
        "bn5.running_mean": (10,),
        "bn5.running_var": (10,),
        "bn5.num_batches_tracked": (),
        "fc6.weight": (10, 10),
        "fc6.bias": (10,),
        "bn6.weight": (10,),
        "bn6.bias": (10,),
        "bn6.running_mean": (10,),
        "bn6.running_var": (10,),
        "bn6.num_batches_tracked": (),
        "fc7.weight": (10, 10),
        "fc7.bias": (10,),
        "bn7.weight": (10,),
        "bn7.bias": (10,),
        "bn7.running_mean": (10,),
        "bn7.running_var": (10,),
        "bn7.num_batches_tracked": (),
        "predict.weight": (1, 10),
        "predict.bias": (1,),
    },
}
EVERY_MODEL = pytest.mark.parametrize("name", DOCUMENTED)


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def test_the_catalog_holds_the_documented_models() -> None:
    assert list(models.CATALOG) == list(DOCUMENTED)


@EVERY_MODEL
def test_state_dict_has_the_documented_keys_and_shapes(name: str) -> None:
    assert shapes(models.build(name)) == DOCUMENTED[name]


@EVERY_MODEL
def test_dropout_adds_no_key(name: str) -> None:
    assert shapes(models.build(name, dropout=0.3)) == DOCUMENTED[name]


def test_batchnorm_net_without_batch_norm_has_no_unused_layer() -> None:
    linear = {key: s for key, s in DOCUMENTED["batchnorm_net"].items() if key[0] in "fp"}
    assert len(linear) == 18
    assert shapes(models.build("batchnorm_net", bn_momentum=None)) == linear


@EVERY_MODEL
def test_linear_layers_keep_their_keys_whatever_is_switched_on(name: str) -> None:
    keys = shapes(models.build(name, bn_momentum=0.1, dropout=0.2))
    assert DOCUMENTED[name].items() <= keys.items()


@EVERY_MODEL
def test_batch_norm_keys_do_not_depend_on_dropout(name: str) -> None:
    with_dropout = models.build(name, bn_momentum=0.1, dropout=0.2)
    assert shapes(with_dropout) == shapes(models.build(name, bn_momentum=0.1, dropout=0.0))


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("quick_net", [nn.Linear, nn.ReLU, nn.Linear]),
        ("overfitting_net", [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]),
        (
            "dropout_net",
            [nn.Linear, nn.Dropout, nn.ReLU, nn.Linear, nn.Dropout, nn.ReLU, nn.Linear],
        ),
    ],
)
def test_sequential_models_are_the_documented_layers(name: str, layers: list[type]) -> None:
    model = models.build(name)
    assert isinstance(model, nn.Sequential)
    assert [type(layer) for layer in model] == layers


@pytest.mark.parametrize(
    ("name", "slot", "layers"),
    [
        ("quick_net", "1", [nn.BatchNorm1d, nn.Dropout, nn.ReLU]),
        ("overfitting_net", "3", [nn.BatchNorm1d, nn.Dropout, nn.ReLU]),
        ("dropout_net", "1", [nn.BatchNorm1d, nn.Dropout]),
        ("net", "between", [nn.BatchNorm1d, nn.Dropout, nn.ReLU]),
        ("cnn", "conv1.1", [nn.BatchNorm2d, nn.ReLU]),
        ("lstm", "between", [nn.BatchNorm1d, nn.Dropout]),
        ("rnn", "between", [nn.BatchNorm1d, nn.Dropout]),
    ],
)
def test_batch_norm_comes_before_dropout_before_activation(name: str, slot: str, layers: list[type]) -> None:
    model = models.build(name, bn_momentum=0.1, dropout=0.2)
    assert [type(layer) for layer in model.get_submodule(slot).children()] == layers


def test_documented_dropout_rate_is_a_half() -> None:
    rates = [m.p for m in models.build("dropout_net").modules() if isinstance(m, nn.Dropout)]
    assert rates == [0.5, 0.5]


def test_documented_batch_norm_momentum_is_a_half() -> None:
    norms = [m for m in models.build("batchnorm_net").modules() if isinstance(m, nn.BatchNorm1d)]
    assert [norm.momentum for norm in norms] == [0.5] * 9


def test_net_and_its_quick_twin_compute_the_same() -> None:
    net, twin = models.build("net"), models.build("quick_net")
    values = net.state_dict().values()
    twin.load_state_dict(dict(zip(twin.state_dict(), values, strict=True)))
    x = torch.linspace(-1, 1, 5).unsqueeze(1)
    assert torch.equal(net(x), twin(x))
