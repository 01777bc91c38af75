"""What the model beside it needs: that it is there as well shows that a whole folder has come."""

import socket
import time
from pathlib import Path

import torch
from torch import Tensor

HOLD = Path("/mnt/hold")
"""While there is such a file on the shared storage, whatever trains says where it does, and waits."""


class Slow(torch.nn.Module):
    """Takes so many seconds for each batch."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(self.seconds)
        while self.seconds and HOLD.exists():
            HOLD.with_name(f"waits-on-{socket.gethostname()}").touch()
            time.sleep(0.2)
        return x
