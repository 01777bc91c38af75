"""The two recurrent models: reading images row by row, and following a curve window by window."""

from typing import Any

import pytest
import torch

from models.lstm import LSTM
from models.rnn import RNN

BATCH_AND_TIME = pytest.mark.parametrize(
    ("batch_size", "time"), [(1, 10), (1, 2), (2, 1), (3, 7), (5, 32), (32, 5)]
)
OPTIONS = pytest.mark.parametrize(
    "options",
    [{}, {"activation": "tanh"}, {"bn_momentum": 0.3}, {"bn_momentum": 0.3, "dropout": 0.4}],
    ids=["plain", "activation", "bn", "bn+dropout"],
)


@BATCH_AND_TIME
@OPTIONS
@pytest.mark.parametrize("is_carried", [False, True], ids=["from-zero", "carried"])
def test_loop_form_and_simplified_form_agree_in_training(
    batch_size: int, time: int, options: dict[str, Any], is_carried: bool
) -> None:
    simplified, loop = RNN(**options), RNN(**options)
    loop.load_state_dict(simplified.state_dict())
    x = torch.randn(batch_size, time, 1)
    h_state = torch.randn(1, batch_size, 32) if is_carried else None
    torch.manual_seed(1)  # the same dropout mask for both
    out, h_out = simplified(x, h_state)
    torch.manual_seed(1)
    out_loop, h_loop = loop.forward_loop(x, h_state)
    assert out.shape == (batch_size, time, 1)
    assert h_out.shape == (1, batch_size, 32)
    torch.testing.assert_close(out_loop, out)
    torch.testing.assert_close(h_loop, h_out)
    torch.testing.assert_close(loop.state_dict(), simplified.state_dict())


def test_handing_the_hidden_state_on_continues_the_sequence() -> None:
    model, x = RNN(), torch.randn(2, 20, 1)
    whole, _ = model(x)
    first, h_state = model(x[:, :10])
    second, _ = model(x[:, 10:], h_state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)


def test_detached_hidden_state_keeps_the_gradient_within_a_window() -> None:
    model, x = RNN(), torch.randn(1, 10, 1, requires_grad=True)
    _, h_state = model(x)
    out, _ = model(torch.randn(1, 10, 1), h_state.detach())
    out.sum().backward()
    assert x.grad is None


@pytest.mark.parametrize("carry_hidden", [True, False])
def test_carry_hidden_is_what_the_training_loop_reads(carry_hidden: bool) -> None:
    assert RNN(carry_hidden=carry_hidden).carry_hidden is carry_hidden


def test_hidden_state_is_carried_by_default() -> None:
    assert RNN().carry_hidden


def test_batch_norm_takes_each_time_step_of_one_window_as_a_sample() -> None:
    model = RNN(bn_momentum=1.0)
    x = torch.randn(1, 10, 1)
    r_out, _ = model.rnn(x)
    model(x)
    norm = model.get_submodule("between.0")
    torch.testing.assert_close(norm.running_mean, r_out.mean(dim=(0, 1)))


def test_lstm_reads_an_image_of_one_channel_as_rows() -> None:
    model, rows = LSTM(), torch.randn(4, 28, 28)
    assert torch.equal(model(rows.unsqueeze(1)), model(rows))


def test_lstm_decides_by_the_last_hidden_state() -> None:
    model, x = LSTM(), torch.randn(4, 28, 28)
    _, (h_n, _) = model.rnn(x)
    torch.testing.assert_close(model(x), model.out(h_n[0]))


@pytest.mark.parametrize("time", [1, 14, 28])
def test_lstm_takes_any_number_of_time_steps(time: int) -> None:
    assert LSTM()(torch.randn(2, time, 28)).shape == (2, 10)
