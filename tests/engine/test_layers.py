"""Dropout masks: a hash of (sweep seed, trial, step, layer, position)."""

import itertools

import pytest
import torch
from torch import nn

from tuning.engine.layers import LANES, HashDropout, hashed, masks, replace_dropout
from tuning.seeds import derive


def numbers(related: bool) -> torch.Tensor:
    """Sixteen-bit parts of hashes as numbers in [0, 1), (keys, positions, lanes)."""
    keys = torch.tensor([key * 2**20 if related else derive("layer", key) for key in range(200)])
    bits = hashed(keys[:, None] + torch.arange(1000)).view(torch.int16).view(200, 1000, LANES)
    return (bits.double() + 2**15) / 2**16


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item())


@pytest.mark.parametrize("related", [True, False], ids=["neighbouring keys", "derived keys"])
@pytest.mark.parametrize("lane", range(LANES))
def test_every_lane_of_a_hash_is_uniform_over_positions_and_keys(related: bool, lane: int) -> None:
    found = numbers(related)[:, :, lane]
    assert found.mean().item() == pytest.approx(0.5, abs=0.005)
    assert found.var().item() == pytest.approx(1 / 12, abs=0.002)
    counts = torch.histc(found, bins=64, min=0, max=1)
    expected = found.numel() / 64
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert chi_square < 110  # 63 degrees of freedom: beyond the 99.98th percentile
    assert correlation(found[:, :-1], found[:, 1:]) < 0.01
    assert correlation(found[:-1], found[1:]) < 0.01


@pytest.mark.parametrize("related", [True, False], ids=["neighbouring keys", "derived keys"])
@pytest.mark.parametrize("pair", list(itertools.combinations(range(LANES), 2)))
def test_the_lanes_of_a_hash_are_not_correlated(related: bool, pair: tuple[int, int]) -> None:
    found = numbers(related)
    assert correlation(found[:, :, pair[0]], found[:, :, pair[1]]) < 0.01


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_units_are_dropped_at_the_rate_and_the_rest_scaled_up(rate: float) -> None:
    dropout = HashDropout(rate, 0, 7, "layer")
    dropout.begin(3)
    dropped = dropout(torch.ones(400, 500))
    assert (dropped == 0).double().mean().item() == pytest.approx(rate, abs=0.005)
    assert dropped[dropped != 0].unique().tolist() == pytest.approx([1 / (1 - rate)])


def test_each_trial_of_several_has_the_mask_it_has_alone_at_its_own_rate() -> None:
    keys, rates = torch.tensor([5, 6, 7]), torch.tensor([0.1, 0.5, 0.8], dtype=torch.float64)
    like, shape = torch.ones(()), torch.Size((33, 7, 2))
    together = masks(keys, range(4, 6), shape, rates, like)
    assert together.shape == (2, 3, 33, 7, 2)
    for k in range(3):
        alone = masks(keys[k : k + 1], range(5, 6), shape, rates[k : k + 1], like)
        assert torch.equal(together[1, k], alone[0, 0])
        assert (together[:, k] == 0).double().mean().item() == pytest.approx(rates[k].item(), abs=0.05)


@pytest.mark.parametrize("kind", [nn.Dropout1d, nn.Dropout2d, nn.Dropout3d])
def test_whole_channels_are_dropped_where_the_layer_says_so(kind: type[nn.Module]) -> None:
    (dropout,) = replace_dropout(nn.Sequential(kind(0.5)), 0, 0)
    inside = {nn.Dropout1d: (6,), nn.Dropout2d: (6, 5), nn.Dropout3d: (6, 5, 4)}[kind]
    dropped = dropout(torch.ones(40, 30, *inside)).flatten(2)
    assert ((dropped == 0).all(2) | (dropped == 2).all(2)).all()
    assert (dropped == 0).double().mean().item() == pytest.approx(0.5, abs=0.05)


def test_masks_repeat_for_the_same_step_and_differ_between_steps_layers_trials_and_calls() -> None:
    def drawn(seed: int, trial: int, step: int) -> list[torch.Tensor]:
        model = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))
        placed = replace_dropout(model, seed, trial)
        for dropout in placed:
            dropout.begin(step)
        return [dropout(torch.ones(1000)) for dropout in (*placed, placed[0])]

    first = drawn(0, 1, 2)
    assert all(map(torch.equal, first, drawn(0, 1, 2)))
    distinct = [*first, drawn(0, 1, 3)[0], drawn(0, 2, 2)[0], drawn(1, 1, 2)[0]]
    assert len({tuple(mask.tolist()) for mask in distinct}) == len(distinct)


def test_masks_drawn_ahead_are_those_of_their_step_and_a_short_batch_takes_the_first_rows() -> None:
    ahead, alone = HashDropout(0.5, 0, 7, "layer"), []
    for step in range(9):
        ahead.begin(step)
        rows = 5 if step % 3 == 2 else 16
        fresh = HashDropout(0.5, 0, 7, "layer")
        fresh.begin(step)
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
