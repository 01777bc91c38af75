"""Random changes to training images: another one for each image, always the same for one seed.

torchvision draws from torch's global generator, so it is borrowed here and given back untouched.
"""

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    # Not torch.manual_seed, which would seed the GPUs as well; torchvision draws on the CPU only.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def shift_and_turn(batch: Tensor, seed: int, background: list[float]) -> Tensor:
    """Turn each image (n, channels, side, side) by up to 10 degrees and shift it by up to a tenth.

    `RandomAffine` would draw one set of parameters for a whole batch, and image by image it takes
    a dozen kernels each. So it draws the parameters, and all images are resampled at once.
    """
    from torchvision.transforms import v2

    affine = v2.RandomAffine(degrees=10, translate=(0.1, 0.1))
    with _seeded(seed):
        drawn = [affine.make_params([image]) for image in batch]
    theta = torch.tensor([_output_to_input(p["angle"], p["translate"], batch.shape[-1]) for p in drawn]).to(
        batch
    )
    grid = F.affine_grid(theta, list(batch.shape), align_corners=False)
    fill = torch.tensor(background).to(batch).view(-1, 1, 1)
    # Pixels from outside the image read as zero: let zero be the background meanwhile.
    return F.grid_sample(batch - fill, grid, align_corners=False) + fill


def _output_to_input(angle_deg: float, shift: tuple[float, float], side: int) -> list[list[float]]:
    """Return the matrix from output to input coordinates, which run from -1 to 1."""
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    x, y = 2 * shift[0] / side, 2 * shift[1] / side  # to the right, downwards
    return [[cos, sin, -cos * x - sin * y], [-sin, cos, sin * x - cos * y]]


def crop_and_flip(batch: Tensor, seed: int, background: list[float]) -> Tensor:
    """Shift each image by up to 4 pixels and mirror every second one, as is usual for CIFAR-10."""
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomCrop(batch.shape[-2:], padding=4, fill=background),
            v2.RandomHorizontalFlip(),
        ]
    )
    with _seeded(seed):
        return torch.stack([transform(image) for image in batch])
