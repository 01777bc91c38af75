"""Constructor arguments that the data decides: from one example's shape and the output count."""

from typing import Any, NoReturn

Shape = tuple[int, ...]


def vector_arguments(shape: Shape, n_outputs: int) -> dict[str, Any]:
    """For nets of `Linear` layers: an example is (n_feature,)."""
    if len(shape) != 1:
        _refuse("a vector (n_feature,)", shape, "flatten the inputs, or take `cnn` or `lstm`")
    return {"n_feature": shape[0], "n_output": n_outputs}


def image_arguments(shape: Shape, n_outputs: int) -> dict[str, Any]:
    """For convolutions: an example is (channels, size, size)."""
    if len(shape) != 3 or shape[1] != shape[2] or shape[1] < 4:
        _refuse(
            "a square image (channels, size, size) with size >= 4",
            shape,
            "crop or resize the images, or take `net` for vectors and `lstm` for sequences",
        )
    return {"in_channels": shape[0], "image_size": shape[1], "n_classes": n_outputs}


def row_arguments(shape: Shape, n_outputs: int) -> dict[str, Any]:
    """For a classifier that reads row by row: (time, input_size) or (1, time, input_size)."""
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] != 1):
        _refuse(
            "a sequence (time, input_size) or an image of one channel (1, rows, columns)",
            shape,
            "turn the images to grey, or take `cnn` for colours and `net` for vectors",
        )
    return {"input_size": shape[-1], "n_classes": n_outputs}


def sequence_arguments(shape: Shape, n_outputs: int) -> dict[str, Any]:
    """For a prediction at each time step: an example is a window (time, input_size)."""
    if len(shape) != 2:
        _refuse("a window (time, input_size)", shape, "cut the series into windows, or take `net`")
    return {"input_size": shape[1], "n_output": n_outputs}


def _refuse(rule: str, shape: Shape, way_out: str) -> NoReturn:
    raise ValueError(f"one example must be {rule}, but its shape is {shape}; {way_out}.")
