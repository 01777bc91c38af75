"""Recurrent regression: a prediction at each time step, the hidden state handed on."""

import torch
from torch import Tensor, nn

from models.activations import between
from models.checks import check_sizes


class RNN(nn.Module):
    def __init__(
        self,
        input_size: int = 1,
        hidden_size: int = 32,
        n_output: int = 1,
        activation: str | None = None,
        dropout: float = 0.0,
        bn_momentum: float | None = None,
        carry_hidden: bool = True,
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size, n_output=n_output)
        # Read by the training loop: whether the next window starts from this one's (detached)
        # hidden state, as a sequence cut into windows wants, or from zero.
        self.carry_hidden = carry_hidden
        self.rnn = nn.RNN(input_size, hidden_size, num_layers=1, batch_first=True)
        self.between = between(hidden_size, activation, dropout, bn_momentum)
        self.out = nn.Linear(hidden_size, n_output)

    def forward(self, x: Tensor, h_state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map x (batch, time, input_size) to predictions (batch, time, n_output).

        `h_state` (1, batch, hidden_size) goes in and comes out; None starts at zero.
        """
        r_out, h_state = self._features(x, h_state)
        return self.out(r_out), h_state

    def forward_loop(self, x: Tensor, h_state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute what `forward` does, one time step after the other."""
        r_out, h_state = self._features(x, h_state)
        outs = [self.out(r_out[:, time_step, :]) for time_step in range(r_out.size(1))]
        return torch.stack(outs, dim=1), h_state

    def _features(self, x: Tensor, h_state: Tensor | None) -> tuple[Tensor, Tensor]:
        r_out, h_state = self.rnn(x, h_state)  # (batch, time, hidden_size)
        # Every time step of every window is one sample to batch norm: one window is a batch.
        samples = self.between(r_out.flatten(0, 1))
        return samples.unflatten(0, r_out.shape[:2]), h_state
