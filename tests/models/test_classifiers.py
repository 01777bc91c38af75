"""Classifiers give logits to train on and probabilities to predict with."""

import pytest
import torch

import models
from models.cnn import CNN
from models.lstm import LSTM

EVERY_CLASSIFIER = pytest.mark.parametrize("classifier", [CNN, LSTM])


def test_every_classifier_of_the_catalog_is_tested() -> None:
    builds = [card.build for card in models.CATALOG.values() if card.task == "classification"]
    assert builds == [CNN, LSTM]


@EVERY_CLASSIFIER
def test_probabilities_are_positive_and_sum_to_one(classifier: type[CNN | LSTM]) -> None:
    probabilities = classifier().probabilities(torch.randn(5, 1, 28, 28))
    assert probabilities.shape == (5, 10)
    assert (probabilities > 0).all()
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(5))


@EVERY_CLASSIFIER
def test_probabilities_are_the_softmax_of_the_logits(classifier: type[CNN | LSTM]) -> None:
    model, x = classifier(), torch.randn(5, 1, 28, 28)
    torch.testing.assert_close(model.probabilities(x).log(), model(x).log_softmax(dim=1))


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32), (1, 8), (2, 30), (1, 4)])
def test_cnn_fits_any_square_image(channels: int, size: int) -> None:
    model = CNN(in_channels=channels, image_size=size, n_classes=7)
    assert model(torch.randn(2, channels, size, size)).shape == (2, 7)


def test_each_convolution_block_halves_the_image() -> None:
    model, x = CNN(), torch.randn(2, 1, 28, 28)
    assert model.conv1(x).shape == (2, 16, 14, 14)
    assert model.conv2(model.conv1(x)).shape == (2, 32, 7, 7)


def test_cnn_drops_features_just_before_the_output() -> None:
    # In a convolution a dropped unit's neighbours still tell its value.
    dropouts = [name for name, m in CNN(dropout=0.5).named_modules() if isinstance(m, torch.nn.Dropout)]
    assert dropouts == ["dropout"]
