"""A program returns what a model is measured by, whatever else the model returns beside it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tuning.errors import SweepError
from tuning.export import onnx_file
from tuning.export.program import trace


class Reader(nn.Module):
    """Returns the state of its GRU, but takes none."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.GRU(2, 3, batch_first=True), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Any:
        outputs, hidden = self.rnn(x)
        return self.out(outputs[:, -1]), hidden


class Silent(Reader):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x)[0], None


class Talkative(Reader):
    def forward(self, x: Tensor) -> Any:
        output, hidden = super().forward(x)
        return output, hidden, {"length": x.shape[1]}


class Forgetful(Reader):
    """Takes a state, but begins each window anew."""

    carry_hidden = False

    def forward(self, x: Tensor, state: Tensor | None = None) -> Any:
        return super().forward(x)


@pytest.mark.parametrize("model", [Reader, Silent, Talkative, Forgetful])
def test_what_a_model_returns_beside_its_output_is_left_out(model: type[nn.Module]) -> None:
    one = model().eval()
    program = trace(one, (5, 2), torch.float32)
    assert [str(slot) for slot in program.inputs] == ["input: float32 (batch, 5, 2)"]
    assert [str(slot) for slot in program.outputs] == ["output: float32 (batch, 4)"]
    rows = torch.randn(6, 5, 2)
    torch.testing.assert_close(program.exported.module()(rows), one(rows)[0])
    _, apart = onnx_file.encoded(program, {})
    assert apart < 1e-4


class Branching(Reader):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x)[0] if x.sum() > 0 else x[:, 0]


def test_the_line_of_a_model_that_is_no_program_is_named() -> None:
    with pytest.raises(SweepError, match=r"cannot be exported \(at .*test_traced_outputs\.py:\d+\): "):
        trace(Branching().eval(), (5, 2), torch.float32)
