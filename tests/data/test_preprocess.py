"""What a user hands to a trained model becomes what the model was trained on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_diabetes

from tuning.data import load, preprocessor
from tuning.errors import RequestError

GREY = {"kind": "image", "mean": [0.13], "std": [0.31], "shape": [1, 28, 28]}
COLOUR = {"kind": "image", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1], "shape": [3, 32, 32]}


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def normalized(raw: np.ndarray, description: dict[str, Any]) -> torch.Tensor:
    """The oracle, on images (n, c, h, w)."""
    mean, std = (torch.tensor(description[key]).view(-1, 1, 1) for key in ("mean", "std"))
    return (torch.from_numpy(raw).float() / 255 - mean) / std


def test_raw_digits_become_the_rows_of_the_split(digits: Any, digits_folder: Path) -> None:
    with np.load(digits_folder / "mnist5k.npz") as file:
        raw = file["images"]
    row_of = {image.tobytes(): row for row, image in enumerate(raw)}
    prepared = preprocessor(json.loads(json.dumps(digits.preprocess)))(raw)
    mean, std = digits.preprocess["mean"][0], digits.preprocess["std"][0]
    for dataset in (digits.train, digits.validation, digits.test):
        inputs, _ = dataset.tensors
        originals = ((inputs * std + mean) * 255).round().byte().numpy()
        rows = [row_of[original.tobytes()] for original in originals]
        torch.testing.assert_close(prepared[rows], inputs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["diabetes", "parabola"])
def test_raw_rows_become_the_rows_of_the_split(name: str) -> None:
    splits: Any = load(name, seed=0)
    prepare = preprocessor(splits.preprocess)
    raw = load_diabetes(scaled=False).data if name == "diabetes" else np.linspace(-7, 10, 2500)[:, None]
    prepared = sorted(prepare(raw).tolist())
    datasets = (splits.train, splits.validation, splits.test)
    held = sorted(torch.cat([dataset.tensors[0] for dataset in datasets]).tolist())
    torch.testing.assert_close(torch.tensor(prepared), torch.tensor(held), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "give",
    [
        lambda image: image,
        lambda image: image[None],
        lambda image: image[:, :, None],
        lambda image: image[None, :, :, None],
        lambda image: torch.from_numpy(image),
        lambda image: torch.from_numpy(image)[None],
        lambda image: torch.from_numpy(image)[None, None],
        Image.fromarray,
        lambda image: [Image.fromarray(image)],
        lambda image: Image.fromarray(image).convert("RGB"),
        lambda image: Image.fromarray(image).convert("RGBA"),
        lambda image: np.asarray(Image.fromarray(image).convert("RGB")),
        lambda image: np.asarray(Image.fromarray(image).convert("RGBA")),
    ],
)
def test_a_grey_image_may_come_in_any_form(give) -> None:
    image = pixels(28, 28)
    prepared = preprocessor(GREY)(give(image))
    assert prepared.dtype == torch.float32
    # Back from colour to grey, rounding may cost one of 255 steps.
    torch.testing.assert_close(prepared, normalized(image[None, None], GREY), atol=1.01 / 255 / 0.31, rtol=0)


@pytest.mark.parametrize(
    "give",
    [
        lambda image: image,
        lambda image: image[None],
        lambda image: torch.from_numpy(image).permute(2, 0, 1),
        lambda image: torch.from_numpy(image).permute(2, 0, 1)[None],
        Image.fromarray,
        lambda image: Image.fromarray(image).convert("RGBA"),
        lambda image: [image],
    ],
)
def test_a_colour_image_may_come_in_any_form(give) -> None:
    image = pixels(32, 32, 3)
    prepared = preprocessor(COLOUR)(give(image))
    torch.testing.assert_close(
        prepared, normalized(image.transpose(2, 0, 1)[None], COLOUR), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("description", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize(
    ("raw", "num_images"),
    [
        (Image.new("RGB", (640, 480)), 1),
        (Image.new("P", (10, 10)), 1),
        (Image.new("L", (100, 30)), 1),
        (pixels(50, 40), 1),
        (pixels(5, 50, 40, 3), 5),
        (torch.from_numpy(pixels(5, 1, 50, 40)), 5),
        ([pixels(50, 40), Image.new("RGB", (20, 20)), pixels(9, 9, 3)], 3),
    ],
    ids=["photo", "palette", "grey", "array", "batch", "tensors", "mixed"],
)
def test_images_of_any_size_and_colour_fit_the_model(
    description: dict[str, Any], raw: Any, num_images: int
) -> None:
    prepared = preprocessor(description)(raw)
    assert list(prepared.shape) == [num_images, *description["shape"]]
    assert prepared.isfinite().all()


@pytest.mark.parametrize(
    ("description", "raw", "message"),
    [
        (GREY, np.zeros((28, 28)), "uint8.*float64"),
        (GREY, torch.zeros(1, 28, 28), "uint8.*float32"),
        (GREY, pixels(28), "shape"),
        (GREY, torch.from_numpy(pixels(3, 28, 28)), "misread"),
        (COLOUR, pixels(3, 32, 32), "shape"),
        (COLOUR, pixels(2, 32, 32, 5), "channels"),
        (GREY, "digit.png", "a str"),
        (GREY, [[0, 1], [2, 3]], "a int"),
    ],
)
def test_what_is_no_image_is_refused(description: dict[str, Any], raw: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        preprocessor(description)(raw)


@pytest.mark.parametrize("raw", [3.0, [3.0], [[3.0]], np.array([3.0]), torch.tensor([[3.0]])])
def test_one_number_may_come_in_any_form(raw: Any) -> None:
    description = {"kind": "standardize", "mean": [1.0], "std": [4.0], "shape": [1]}
    assert torch.equal(preprocessor(description)(raw), torch.tensor([[0.5]]))


def test_a_list_of_numbers_is_a_batch_for_a_model_of_one_feature() -> None:
    description = {"kind": "standardize", "mean": [1.0], "std": [2.0]}
    assert preprocessor(description)([1, 3, 5]).tolist() == [[0.0], [1.0], [2.0]]


@pytest.mark.parametrize("raw", [[[1.0], [2.0]], [[[1.0], [2.0]]]])
def test_unprepared_inputs_only_get_their_batch_axis(raw: Any) -> None:
    prepared = preprocessor({"kind": "none", "shape": [2, 1]})(raw)
    assert prepared.tolist() == [[[1.0], [2.0]]]


@pytest.mark.parametrize(
    ("description", "raw", "message"),
    [
        ({"kind": "none", "shape": [2, 1]}, [1.0, 2.0], r"\(2, 1\).*got \(2,\)"),
        (
            {"kind": "standardize", "mean": [0.0, 0.0], "std": [1.0, 1.0]},
            [1.0],
            "must have the shape",
        ),
        ({"kind": "none"}, ["a"], "must be numbers"),
        ({"kind": "later"}, 0, "newer version"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(description: dict[str, Any], raw: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        preprocessor(description)(raw)
