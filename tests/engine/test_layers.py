"""Dropout masks: a hash of (sweep seed, trial, step, layer, position)."""

import pytest
import torch
from torch import nn

from tuning.engine.layers import HashDropout, hashed, replace_dropout
from tuning.seeds import derive


@pytest.mark.parametrize("related", [True, False], ids=["neighbouring keys", "derived keys"])
def test_bits_are_uniform_over_positions_and_over_keys(related: bool) -> None:
    keys = torch.tensor([key * 2**20 if related else derive("layer", key) for key in range(200)])
    bits = hashed(keys[:, None] + torch.arange(1000)).double() / 2.0**64 + 0.5
    assert bits.mean().item() == pytest.approx(0.5, abs=0.005)
    assert bits.var().item() == pytest.approx(1 / 12, abs=0.002)
    counts = torch.histc(bits, bins=64, min=0, max=1)
    expected = bits.numel() / 64
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert chi_square < 110  # 63 degrees of freedom: beyond the 99.98th percentile
    along_positions = torch.corrcoef(torch.stack([bits[:, :-1].flatten(), bits[:, 1:].flatten()]))[0, 1]
    along_keys = torch.corrcoef(torch.stack([bits[:-1].flatten(), bits[1:].flatten()]))[0, 1]
    assert abs(along_positions.item()) < 0.01 and abs(along_keys.item()) < 0.01


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_units_are_dropped_at_the_rate_and_the_rest_scaled_up(rate: float) -> None:
    dropout = HashDropout(rate, key=7)
    dropout.begin(1, 3)
    dropped = dropout(torch.ones(200, 500))
    assert (dropped == 0).double().mean().item() == pytest.approx(rate, abs=0.01)
    assert dropped[dropped != 0].unique().tolist() == pytest.approx([1 / (1 - rate)])


def test_masks_repeat_for_the_same_step_and_differ_between_steps_layers_trials_and_calls() -> None:
    def masks(seed: int, trial: int, step: int) -> list[torch.Tensor]:
        model = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))
        placed = replace_dropout(model, seed, trial)
        for dropout in placed:
            dropout.begin(1, step)
        return [dropout(torch.ones(1000)) for dropout in (*placed, placed[0])]

    first = masks(0, 1, 2)
    assert all(map(torch.equal, first, masks(0, 1, 2)))
    distinct = [*first, masks(0, 1, 3)[0], masks(0, 2, 2)[0], masks(1, 1, 2)[0]]
    assert len({tuple(mask.tolist()) for mask in distinct}) == len(distinct)


def test_masks_drawn_ahead_are_those_of_their_step_and_a_short_batch_takes_the_first_rows() -> None:
    ahead, alone = HashDropout(0.5, key=7), []
    for step in range(9):
        ahead.begin(1, step)
        rows = 4 if step % 3 == 2 else 16
        fresh = HashDropout(0.5, key=7)
        fresh.begin(1, step)
        alone.append(fresh(torch.ones(16, 50)))
        assert torch.equal(ahead(torch.ones(rows, 50)), alone[-1][:rows])
    assert len({tuple(mask.flatten().tolist()) for mask in alone}) == 9


def test_nothing_is_dropped_in_eval_mode_and_parameters_keep_their_names() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.9), nn.Linear(2, 2))
    before = list(model.state_dict())
    (dropout,) = replace_dropout(model, 0, 0)
    assert list(model.state_dict()) == before
    x = torch.ones(4, 2)
    assert torch.equal(dropout.eval()(x), x)
