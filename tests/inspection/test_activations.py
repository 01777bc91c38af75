"""What is seen of the layers is what the layers see."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import models
from tuning.inspection import histograms
from tuning.inspection.activations import MAX_CALLS, MAX_VALUES, record
from tuning.inspection.histograms import NUM_BINS, Column

X = torch.randn(64, 1, generator=torch.Generator().manual_seed(0))


def seen(model: nn.Module, *inputs: Tensor, **options: Any) -> Any:
    return record(model, [(x, x) for x in inputs], carry=False, **options)


def same(found: list[Tensor], wanted: Tensor) -> bool:
    return torch.equal(torch.cat(found), wanted.flatten())


@pytest.mark.parametrize("bn_momentum", [None, 0.5])
def test_the_deep_net_is_seen_as_the_source_collects_it(bn_momentum: float | None) -> None:
    """Its own `layer_input` and `pre_activation`, tensor by tensor."""
    model = models.build("batchnorm_net", bn_momentum=bn_momentum).eval()
    with torch.no_grad():
        prediction, layer_inputs, pre_activations = model.forward_with_layers(X)
    found = seen(model, X)
    names = [*(f"fc{i}" for i in range(8)), "predict"]
    assert list(found) == (["bn_input", *names] if bn_momentum else names)
    for name, layer_input, output in zip(
        names, layer_inputs, [*pre_activations[1:], prediction], strict=True
    ):
        assert same(found[name].inputs, layer_input)
        assert same(found[name].outputs, output)


@pytest.mark.parametrize(
    ("model", "layer", "norm"),
    [("net", "hidden", "between.0"), ("cnn", "conv1.0", "conv1.1.0"), ("lstm", "rnn", "between.0")],
)
def test_a_batch_norm_is_seen_at_the_layer_that_it_follows(model: str, layer: str, norm: str) -> None:
    """Also where it takes in a view of that layer's output, as the last step of an LSTM."""
    net = models.build(model, bn_momentum=0.1, dropout=0.2).eval()
    x = X if model == "net" else torch.randn(3, 1, 28, 28)
    outputs: list[Tensor] = []
    net.get_submodule(norm).register_forward_hook(lambda module, args, output: outputs.append(output))
    found = seen(net, x)
    assert norm not in found
    assert same(found[layer].normalized, outputs[0].detach())


def test_at_the_start_batch_norm_takes_its_statistics_from_the_examples_and_keeps_its_own() -> None:
    model = models.build("net", bn_momentum=0.1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    layer = seen(model, X, batch_statistics=True)["hidden"]
    with torch.no_grad():
        wanted = nn.functional.batch_norm(model.hidden(X), None, None, training=True)
    assert same(layer.normalized, wanted)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


class Twice(nn.Module):
    """Calls one layer twice, by keyword, overwrites what it returns, and reads words."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 3)
        self.layer = nn.Linear(3, 3)
        self.unused = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        once = self.layer(self.words(x)).relu_()
        return self.layer(input=once)


def test_a_layer_that_is_called_twice_is_counted_together_and_one_that_is_not_called_left_out() -> None:
    model, x = Twice(), torch.arange(7)
    found = seen(model, x)
    assert list(found) == ["layer"]
    with torch.no_grad():
        first = model.layer(model.words(x))
        both = torch.cat([first.flatten(), model.layer(first.relu()).flatten()])
    assert same(found["layer"].outputs, both)


def test_a_network_without_known_layers_shows_none() -> None:
    assert seen(nn.Sequential(nn.Flatten(), nn.ReLU()), X) == {}


def test_of_a_huge_tensor_the_same_values_are_kept_each_time() -> None:
    model, x = nn.Linear(1, 1), torch.randn(MAX_VALUES + 1, 1)
    first, second = seen(model, x)[""], seen(model, x)[""]
    assert len(torch.cat(first.outputs)) == MAX_VALUES
    assert torch.equal(torch.cat(first.inputs), torch.cat(second.inputs))


# ---- histograms --------------------------------------------------------------------------------


def test_the_bars_count_the_values_of_a_layer() -> None:
    model = models.build("net").eval()
    figure = histograms.pre_activations_figure([Column("start", seen(model, X))])
    bars = figure.data[0]
    with torch.no_grad():
        values = model.hidden(X).double().flatten().numpy()
    low, high = figure.layout.xaxis.range
    wanted, edges = np.histogram(values.clip(low, high), bins=NUM_BINS, range=(low, high))
    assert list(bars.y) == wanted.tolist()
    assert sum(bars.y) == len(values) == 640
    assert np.allclose(bars.x, (edges[1:] + edges[:-1]) / 2)


def test_a_row_has_one_range_and_a_layer_that_one_network_lacks_says_so() -> None:
    with_, without = (models.build("batchnorm_net", bn_momentum=m) for m in (0.5, None))
    columns = [Column("with", seen(with_, X, batch_statistics=True)), Column("without", seen(without, X))]
    figure = histograms.inputs_figure(columns)
    ranges = [figure.get_subplot(row, column).xaxis.range for row in range(2, 11) for column in (1, 2)]
    assert ranges[::2] == ranges[1::2]
    assert [note.text for note in figure.layout.annotations].count("no such layer") == 1


def test_what_is_no_number_and_zeros_that_hide_the_rest_are_said_not_drawn() -> None:
    values = torch.tensor([float("nan"), float("inf"), *[0.0] * 6, 1.0, 2.0], dtype=torch.float64)
    kept, notes = histograms.noted(values)
    assert kept.tolist() == [1.0, 2.0]
    assert notes == ["20% NaN or infinite", "60% are 0"]
    assert histograms.limits([values[:2]]) == (0.0, 1.0)
    assert histograms.noted(torch.zeros(5))[0].tolist() == [0.0] * 5, (
        "all are drawn where there is nothing else"
    )


def test_of_a_network_of_many_layers_some_are_drawn_from_the_first_to_the_last() -> None:
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(100)))
    names, count = histograms.drawn_layers([Column("start", seen(model, X))])
    assert (names[0], names[-1], len(names), count) == ("0", "99", histograms.MAX_LAYERS, 100)


def test_a_layers_name_is_shown_as_text() -> None:
    model = nn.Sequential()
    model.add_module("<a href='x'>", nn.Linear(1, 1))
    figure = histograms.inputs_figure([Column("start", seen(model, X))])
    assert "&lt;a href=&#x27;x&#x27;&gt;<br><i>Linear</i>" in [a.text for a in figure.layout.annotations]


class Packed(nn.Module):
    """Gives a recurrent layer what is no plain tensor, and steps through time with a cell."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.LSTM(1, 2, batch_first=True)
        self.step = nn.RNNCell(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x.unsqueeze(2), [1] * len(x), batch_first=True)
        _, (h, _) = self.read(packed)
        for _ in range(MAX_CALLS + 1):
            h = self.step(x, h[-1])[None]
        return h[-1]


def test_of_a_loop_through_time_the_first_calls_are_drawn_and_of_what_is_no_tensor_nothing() -> None:
    found = seen(Packed(), X)
    assert len(found["step"].outputs) == MAX_CALLS
    figure = histograms.inputs_figure([Column("start", found)])
    assert [sum(bars.y) for bars in figure.data] == [0, 64 * MAX_CALLS]
