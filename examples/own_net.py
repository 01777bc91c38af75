"""A net and data of one's own: nothing here knows of the platform, and nothing need be installed."""

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset


class RingNet(nn.Module):
    """Tells points inside a ring from points outside it."""

    def __init__(self, n_hidden: int = 32, dropout: float = 0.1, bn_momentum: float = 0.1) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2, n_hidden),
            nn.BatchNorm1d(n_hidden, momentum=bn_momentum),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(n_hidden, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def ring(seed: int = 0) -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    """Return training, validation and test points of the plane, with class 1 inside the ring."""
    generator = torch.Generator().manual_seed(seed)

    def points(n: int) -> TensorDataset:
        x = 4 * torch.rand(n, 2, generator=generator) - 2
        radius = x.norm(dim=1)
        return TensorDataset(x, ((radius > 0.7) & (radius < 1.5)).long())

    return points(2000), points(400), points(400)
