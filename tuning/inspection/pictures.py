"""Images of a data set as pictures that a page can show."""

import base64
import io
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from tuning.data import Splits

MAX_SIDE = 128
"""Pixels; larger pictures are made smaller, so that the page stays small."""


def are_images(splits: Splits) -> bool:
    """Whether one input is a grey or colour image: (1 or 3, height, width)."""
    shape = splits.input_shape
    return len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) > 3


def displayed(inputs: Tensor, preprocess: dict[str, Any]) -> Tensor:
    """Return images (n, c, h, w) as they were before they were standardised, as uint8 (n, h, w, c).

    Of data of one's own nobody knows that: what does not lie between 0 and 1 is scaled to it, each image
    by its own least and greatest value.
    """
    images = inputs.float()
    if preprocess["kind"] == "image":
        mean, std = (torch.tensor(preprocess[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
        images = images * std + mean
    elif images.min() < 0 or images.max() > 1:
        low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
        images = (images - low) / (high - low).clamp(min=1e-12)
    side = max(images.shape[-2:])
    if side > MAX_SIDE:
        size = [max(1, round(length * MAX_SIDE / side)) for length in images.shape[-2:]]
        images = interpolate(images, size=size, mode="area")
    return (images.clamp(0, 1).nan_to_num() * 255).round().byte().permute(0, 2, 3, 1)


def data_uri(image: Tensor) -> str:
    """Return a uint8 image (h, w, 1 or 3) as a PNG in a URI."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image.expand(-1, -1, 3).contiguous().numpy()).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
