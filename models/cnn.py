"""Convolutional classifier of images: two convolutions, each halving the image, then one layer."""

import torch
from torch import Tensor, nn

from models.activations import between
from models.checks import check_sizes


class CNN(nn.Module):
    def __init__(
        self,
        in_channels: int = 1,
        image_size: int = 28,
        n_classes: int = 10,
        activation: str = "relu",
        dropout: float = 0.0,
        bn_momentum: float | None = None,
    ) -> None:
        super().__init__()
        check_sizes(in_channels=in_channels, n_classes=n_classes)
        if image_size < 4:
            raise ValueError(
                f"`image_size` must be at least 4, but got {image_size}: the image is halved "
                "twice; enlarge the images."
            )
        side = image_size // 4
        # Padding (kernel_size - 1) / 2 keeps the size of the image when the stride is 1.
        self.conv1 = nn.Sequential(  # (in_channels, 28, 28)
            nn.Conv2d(in_channels, 16, kernel_size=5, stride=1, padding=2),  # (16, 28, 28)
            between(16, activation, 0.0, bn_momentum, norm=nn.BatchNorm2d),
            nn.MaxPool2d(kernel_size=2),  # (16, 14, 14)
        )
        self.conv2 = nn.Sequential(
            nn.Conv2d(16, 32, kernel_size=5, stride=1, padding=2),  # (32, 14, 14)
            between(32, activation, 0.0, bn_momentum, norm=nn.BatchNorm2d),
            nn.MaxPool2d(kernel_size=2),  # (32, 7, 7)
        )
        self.dropout = between(32 * side * side, None, dropout, None)
        self.out = nn.Linear(32 * side * side, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, in_channels, image_size, image_size) to logits (batch, n_classes)."""
        x = self.conv1(x)
        x = self.conv2(x)
        x = self.dropout(x.flatten(1))
        output: Tensor = self.out(x)
        return output

    def probabilities(self, x: Tensor) -> Tensor:
        """Return each class's probability (batch, n_classes); call `eval()` first, to predict."""
        return torch.softmax(self(x), dim=1)
