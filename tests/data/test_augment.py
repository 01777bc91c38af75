"""Augmentation: torchvision's transforms, one draw per image, and only the seed decides."""

from typing import Any

import pytest
import torch
from torchvision.transforms import v2

from tuning.data.augment import crop_and_flip, shift_and_turn

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    ),
]
both = pytest.mark.parametrize(
    ("augment", "shape"),
    [(shift_and_turn, (1, 28, 28)), (crop_and_flip, (3, 32, 32))],
    ids=["shift_and_turn", "crop_and_flip"],
)


def batch_of(shape: tuple[int, ...], size: int = 8) -> torch.Tensor:
    return torch.randn((size, *shape), generator=torch.Generator().manual_seed(0))


@both
def test_seed_alone_decides(augment, shape: tuple[int, ...]) -> None:
    batch, background = batch_of(shape), [0.0] * shape[0]
    torch.manual_seed(1)
    first = augment(batch, 7, background)
    torch.manual_seed(2)
    assert torch.equal(augment(batch, 7, background), first)
    assert not torch.equal(augment(batch, 8, background), first)


@both
def test_global_generator_is_left_as_it_was(augment, shape: tuple[int, ...]) -> None:
    before = torch.get_rng_state()
    augment(batch_of(shape), 7, [0.0] * shape[0])
    assert torch.equal(torch.get_rng_state(), before)


@both
def test_each_image_is_changed_in_its_own_way(augment, shape: tuple[int, ...]) -> None:
    alike = batch_of(shape, size=1).expand(32, *shape)
    changed = augment(alike, 7, [0.0] * shape[0])
    assert len(changed.flatten(1).unique(dim=0)) > 24


@both
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_device_dtype_shape_and_input_are_kept(
    augment, shape: tuple[int, ...], device: str, dtype: torch.dtype
) -> None:
    batch = batch_of(shape).to(device, dtype)
    before = batch.clone()
    changed = augment(batch, 7, [0.0] * shape[0])
    assert (changed.shape, changed.dtype, changed.device) == (batch.shape, dtype, batch.device)
    assert torch.equal(batch, before)


@both
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_generator_is_left_as_it_was(augment, shape: tuple[int, ...]) -> None:
    before = torch.cuda.get_rng_state()
    augment(batch_of(shape).cuda(), 7, [0.0] * shape[0])
    assert torch.equal(torch.cuda.get_rng_state(), before)


@both
def test_what_comes_in_from_outside_is_background(augment, shape: tuple[int, ...]) -> None:
    background = [-0.42, -1.5, 2.0][: shape[0]]
    empty = torch.tensor(background).view(-1, 1, 1).expand(8, *shape)
    torch.testing.assert_close(augment(empty, 7, background), empty)


def test_batch_is_resampled_as_torchvision_does_image_by_image(digits: Any) -> None:
    # Black must be 0 here: torchvision counts its fill twice at the border of the image.
    images = digits.train.tensors[0][:16]
    images = images - images.min()
    affine = v2.RandomAffine(degrees=10, translate=(0.1, 0.1), interpolation=v2.InterpolationMode.BILINEAR)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        expected = torch.stack([affine(image) for image in images])
    torch.testing.assert_close(shift_and_turn(images, 7, [0.0]), expected, atol=2e-4, rtol=0)


def test_digits_stay_recognisable(digits: Any) -> None:
    images, labels = digits.train.tensors
    assert digits.augment is not None
    changed = digits.augment(images[:500], 0)
    assert not torch.equal(changed, images[:500])
    # As much ink as before but for what is shifted out, on the same background.
    assert changed.mean() == pytest.approx(images[:500].mean().item(), abs=0.05)
    assert changed.min() == pytest.approx(images.min().item(), abs=1e-4)
    means = torch.stack([images[labels == digit].mean(0) for digit in range(10)]).flatten(1)
    nearest = torch.cdist(changed.flatten(1), means).argmin(1)
    # Of the unchanged digits 8 in 10, by chance 1 in 10.
    assert (nearest == labels[:500]).float().mean() > 0.3
