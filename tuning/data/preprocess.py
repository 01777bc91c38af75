"""From the plain description in a checkpoint to the function that prepares a raw input."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tuning.errors import RequestError


def preprocessor(description: dict[str, Any]) -> Callable[[Any], Tensor]:
    """Return the function raw input -> model input of shape (n, ...), for `Splits.preprocess`.

    Of an image set it takes PIL images, uint8 arrays (h, w) or (h, w, c), uint8 tensors (c, h, w),
    and batches or lists of them; of any other set numbers, lists, arrays or tensors, with or
    without the batch axis.
    """
    match description["kind"]:
        case "image":
            return _image_preprocessor(**_without_kind(description))
        case "standardize":
            return _standardizer(description)
        case "none":
            shape, dtype = description.get("shape"), input_dtype(description)
            return lambda raw: _rows(raw, shape, dtype)
        case kind:
            raise RequestError(
                f"`kind` must be image, standardize or none, but got {kind!r}; "
                "the checkpoint may come from a newer version."
            )


def input_dtype(description: dict[str, Any]) -> torch.dtype:
    """Return the type of a model's input numbers: float32, of a user's own integers int64."""
    return torch.int64 if description.get("dtype") == "int64" else torch.float32


def in_words(description: dict[str, Any]) -> str:
    """Return what is to be done to a raw input, for readers who have a model without this program."""
    if description["kind"] == "none":
        return "raw, as the data set holds it"
    raw = "bytes / 255" if description["kind"] == "image" else "raw"
    return f"scaled: ({raw} - {_few(description['mean'])}) / {_few(description['std'])}"


def _few(numbers: Any) -> str:
    found = [f"{number:.6g}" for number in np.ravel(numbers)]
    return found[0] if len(found) == 1 else f"[{', '.join(found)}]"


def _without_kind(description: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in description.items() if key != "kind"}


def _standardizer(description: dict[str, Any]) -> Callable[[Any], Tensor]:
    mean, std = (torch.tensor(description[key], dtype=torch.float64) for key in ("mean", "std"))
    shape = list(description.get("shape", mean.shape))
    return lambda raw: ((_rows(raw, shape, torch.float64) - mean) / std).float()


def _rows(raw: Any, shape: list[int] | None, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the raw numbers with a batch axis before axes of this shape (any shape if None)."""
    try:
        rows = torch.as_tensor(raw, dtype=dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RequestError(f"An input must be numbers, but got {_name(raw)}: {error}") from error
    if shape is None or list(rows.shape[1:]) == shape:
        return rows
    if list(rows.shape) == shape:
        return rows.unsqueeze(0)
    if shape == [1] and rows.ndim < 2:
        return rows.reshape(-1, 1)  # a number, or a list of them, for a model of one feature
    raise RequestError(
        f"One input must have the shape {tuple(shape)}, a batch one axis more before it, "
        f"but got {tuple(rows.shape)}."
    )


def _image_preprocessor(mean: list[float], std: list[float], shape: list[int]) -> Callable[[Any], Tensor]:
    channels, *size = shape

    def transform(raw: Any) -> Tensor:
        from torchvision.transforms import v2  # two seconds, which who only measures a model need not wait

        if isinstance(raw, list | tuple):
            return torch.cat([transform(image) for image in raw])
        colors = v2.Grayscale(1) if channels == 1 else v2.RGB()
        images = colors(_batch(raw, channels))
        if list(images.shape[-2:]) != size:
            images = v2.functional.resize(images, size, antialias=True)
        prepare = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
        return prepare(images)  # type: ignore[no-any-return]

    return transform


def _batch(raw: Any, channels: int) -> Tensor:
    """Return one or more raw images as uint8 of shape (n, 1 or 3, height, width)."""
    from PIL import Image
    from torchvision.transforms import v2

    if isinstance(raw, Image.Image):
        # PIL knows palettes, transparency and the rest of its own modes.
        mode = "L" if channels == 1 else "RGB"
        images: Tensor = v2.functional.pil_to_tensor(raw.convert(mode)).unsqueeze(0)
    elif not isinstance(raw, np.ndarray | Tensor):
        raise RequestError(f"An image must be a PIL image, an array or a tensor, but got {_name(raw)}.")
    elif raw.dtype not in (np.uint8, torch.uint8):
        raise RequestError(
            f"Images must be uint8 (0 to 255), but got {raw.dtype}; "
            "turn values from 0 to 1 into (x * 255).round() as uint8."
        )
    elif isinstance(raw, Tensor):
        images = _from_tensor(raw, channels)
    else:
        images = _from_array(torch.from_numpy(raw.copy()), channels)  # torch wants them writable
    if images.shape[1] not in (1, 3, 4):
        raise RequestError(f"Images must have 1, 3 or 4 channels, but got {images.shape[1]}.")
    return images[:, :3] if images.shape[1] == 4 else images  # transparency is dropped


def _from_array(array: Tensor, channels: int) -> Tensor:
    """Arrays keep their channels last: (h, w), (h, w, c), (n, h, w), (n, h, w, c)."""
    match array.ndim:
        case 2:
            return array[None, None]
        case 3 if array.shape[-1] in (1, 3, 4):
            return array.permute(2, 0, 1)[None]
        case 3 if channels == 1:
            return array[:, None]
        case 4:
            return array.permute(0, 3, 1, 2)
    raise _odd_shape("(h, w), (h, w, c) or (n, h, w, c)", array)


def _from_tensor(tensor: Tensor, channels: int) -> Tensor:
    """Tensors keep their channels first: (h, w), (c, h, w), (n, h, w), (n, c, h, w)."""
    match tensor.ndim:
        case 2:
            return tensor[None, None]
        case 3 if channels == 1 and tensor.shape[0] not in (3, 4):
            return tensor[:, None]
        case 3 if channels == 3 and tensor.shape[0] in (1, 3, 4):
            return tensor[None]
        case 4:
            return tensor
    # Three grey digits or one colour photograph? Guessing wrong would go unnoticed.
    raise _odd_shape("(h, w), (c, h, w) or, where that can be misread, (n, c, h, w)", tensor)


def _odd_shape(rule: str, images: Tensor) -> RequestError:
    return RequestError(f"Images must have the shape {rule}, but got {tuple(images.shape)}.")


def _name(value: object) -> str:
    return f"a {type(value).__name__}"
