"""What the classes of a data set are called."""

from typing import Any

from tuning.data.splits import Splits

NAMES = {
    "fashion_mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    "cifar10": (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
}


def class_names(splits: Splits, count: int) -> list[str]:
    """Return names of `count` classes: the catalog's, those that a data set has as `classes`, else numbers.

    torchvision's data sets have `classes`; of a part that was cut from one it is looked up in the whole.
    """
    found = NAMES.get(splits.name) or _own(splits.validation) or ()
    return [str(found[i]) if i < len(found) else str(i) for i in range(count)]


def _own(dataset: Any) -> list[Any] | tuple[Any, ...] | None:
    while dataset is not None:
        names = getattr(dataset, "classes", None)
        if isinstance(names, list | tuple):
            return names
        dataset = getattr(dataset, "dataset", None)
    return None
