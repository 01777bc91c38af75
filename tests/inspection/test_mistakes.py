"""Where a classifier is wrong, counted anew by others' means."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from tuning import data
from tuning.data.classes import class_names
from tuning.inspection import mistakes, pictures
from tuning.inspection.mistakes import MAX_CLASSES, Predictions

RNG = torch.Generator().manual_seed(0)


def guesses(count: int, classes: int) -> Predictions:
    targets = torch.randint(classes, (count,), generator=RNG)
    return Predictions(torch.zeros(count), targets, torch.randn(count, classes, generator=RNG))


@pytest.mark.parametrize("classes", [2, 10, 300])
def test_the_confusion_matrix_is_that_of_scikit_learn(classes: int) -> None:
    found = guesses(500, classes)
    matrix = mistakes.confusion(found.targets, found.predicted, classes)
    wanted = confusion_matrix(found.targets.numpy(), found.predicted.numpy(), labels=range(classes))
    assert matrix.tolist() == wanted.tolist()


def test_of_many_classes_those_with_the_most_mistakes_are_drawn_and_the_rest_together() -> None:
    found = guesses(5000, 300)
    found.targets[:800], found.logits[:800, 7] = 33, 9.0  # 33 is taken for 7
    matrix = mistakes.confusion(found.targets, found.predicted, 300)
    shown, names = mistakes.readable(matrix, [f"kind {i}" for i in range(300)])
    assert len(shown) == len(names) == MAX_CLASSES
    assert int(shown.sum()) == 5000
    assert names[-1] == f"{300 - MAX_CLASSES + 1} others"
    row, column = names.index("kind 33"), names.index("kind 7")
    assert shown[row, column] == matrix[33, 7] >= 800
    assert shown[row].sum() == matrix[33].sum()


def test_the_worst_mistakes_are_the_wrong_predictions_with_the_largest_loss() -> None:
    found = guesses(300, 10)
    rows = mistakes.worst(found, 12)
    losses = -found.logits.double().log_softmax(1)[torch.arange(300), found.targets]
    by_hand = sorted(
        (i for i in range(300) if found.predicted[i] != found.targets[i]), key=lambda i: -float(losses[i])
    )
    assert rows.tolist() == by_hand[:12]


def test_there_may_be_no_mistake() -> None:
    targets = torch.arange(4)
    assert len(mistakes.worst(Predictions(torch.zeros(4), targets, torch.eye(4)))) == 0


def test_a_title_says_what_a_picture_is_and_what_it_was_taken_for() -> None:
    found = Predictions(torch.zeros(1), torch.tensor([1]), torch.tensor([[1.0, 0.0]]).log_softmax(1))
    image = torch.zeros(1, 8, 8, 1, dtype=torch.uint8)
    figure = mistakes.worst_figure(found, torch.tensor([0]), image, ["cat", "<b>dog"])
    assert figure.layout.annotations[0].text == "&lt;b&gt;dog (26.9%), taken<br>for cat (73.1%)"


# ---- pictures ----------------------------------------------------------------------------------


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_a_digit_is_shown_as_it_was_before_it_was_standardised() -> None:
    splits = data.load("mnist5k", seed=0)
    shown = pictures.displayed(splits.validation[:20][0], splits.preprocess)
    with np.load(data.data_folder() / "mnist5k.npz") as arrays:
        raw = {image.tobytes() for image in arrays["images"]}
    assert all(image.numpy().tobytes() in raw for image in shown)
    assert (decoded(pictures.data_uri(shown[0])) == shown[0].numpy()).all()


def test_colours_keep_their_order() -> None:
    raw = torch.randint(256, (2, 3, 6, 9), generator=RNG, dtype=torch.uint8)
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    column = (1, 3, 1, 1)
    inputs = (raw / 255 - torch.tensor(mean).view(column)) / torch.tensor(std).view(column)
    shown = pictures.displayed(inputs, {"kind": "image", "mean": mean, "std": std})
    assert (decoded(pictures.data_uri(shown[1])) == raw[1].permute(1, 2, 0).numpy()).all()


@pytest.mark.parametrize(
    "images",
    [
        torch.rand(2, 3, 4, 4) * 255,
        torch.linspace(-9, 3, 300_000).view(2, 1, 500, 300),
        torch.linspace(-9, 3, 1000).expand(2, 1, 4, 1000),  # as windows of a few sensors are
    ],
)
def test_images_of_ones_own_are_scaled_to_what_can_be_seen(images: Tensor) -> None:
    shown = pictures.displayed(images, {"kind": "none"})
    assert max(shown.shape[1:3]) <= pictures.MAX_SIDE
    assert int(shown.max()) > 200 and int(shown.min()) < 60
    assert pictures.data_uri(shown[0]).startswith("data:image/png")


# ---- names of classes --------------------------------------------------------------------------


class Animals(Dataset[tuple[Tensor, Tensor]]):
    classes = ("ant", "bee")

    def __len__(self) -> int:
        return 2

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return torch.zeros(3), torch.tensor(row)


def test_classes_have_the_names_that_their_data_set_gives_them() -> None:
    own = data.from_callable(lambda: (Animals(), Animals(), Animals()), name="own", seed=0)
    assert class_names(own, 3) == ["ant", "bee", "2"]
    plain = TensorDataset(torch.zeros(3, 2), torch.arange(3))
    unnamed = data.from_callable(lambda: (plain,) * 3, name="own", seed=0)
    assert class_names(unnamed, 3) == ["0", "1", "2"]
