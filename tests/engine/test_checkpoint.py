"""What a checkpoint or a resume file holds of tensors, on whatever device they were."""

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from tuning.engine import checkpoint


def test_a_file_that_a_gpu_has_trained_opens_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.load` puts tensors back where they were. A copy to the CPU is seen by its values here."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(Tensor, "cpu", lambda tensor: torch.full_like(tensor, 7))
    state = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).state_dict()
    encoded = checkpoint.encode(
        {"format": checkpoint.FORMAT, "state_dict": state, "states": [{"rows": (torch.zeros(2), 3)}]}
    )
    found = checkpoint.decode(encoded, "x.pt")
    assert all(bool((tensor == 7).all()) for tensor in found["state_dict"].values())
    assert isinstance(found["state_dict"], OrderedDict) and found["state_dict"]._metadata == state._metadata
    rows, count = found["states"][0]["rows"]
    assert rows.tolist() == [7, 7] and count == 3
    assert not any(bool((tensor == 7).all()) for tensor in state.values() if tensor.dim() == 2)
