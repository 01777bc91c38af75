"""Recurrent classifier of images: an LSTM reads the rows from top to bottom, then decides."""

import torch
from torch import Tensor, nn

from models.activations import between
from models.checks import check_sizes


class LSTM(nn.Module):
    def __init__(
        self,
        input_size: int = 28,
        hidden_size: int = 64,
        n_classes: int = 10,
        activation: str | None = None,
        dropout: float = 0.0,
        bn_momentum: float | None = None,
    ) -> None:
        super().__init__()
        check_sizes(input_size=input_size, hidden_size=hidden_size, n_classes=n_classes)
        self.rnn = nn.LSTM(input_size, hidden_size, num_layers=1, batch_first=True)
        self.between = between(hidden_size, activation, dropout, bn_momentum)
        self.out = nn.Linear(hidden_size, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (batch, time, input_size) or (batch, 1, time, input_size) to logits."""
        x = x.flatten(1, -2)  # an image's rows are the time steps, its one channel goes
        r_out, (_h_n, _h_c) = self.rnn(x, None)  # None: the hidden state starts at zero
        last = r_out[:, -1, :]  # equal to h_n; h_c is the cell's own memory
        out: Tensor = self.out(self.between(last))
        return out

    def probabilities(self, x: Tensor) -> Tensor:
        """Return each class's probability (batch, n_classes); call `eval()` first, to predict."""
        return torch.softmax(self(x), dim=1)
