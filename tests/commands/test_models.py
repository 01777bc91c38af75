"""`tuning models`: the documented models, and one's own."""

import re

import pytest

import models
from tests.commands.answers import Answer, json_of

EIGHT = ("net", "quick_net", "cnn", "lstm", "rnn", "overfitting_net", "dropout_net", "batchnorm_net")


def test_models_lists_all_eight_with_what_they_take(answer: Answer) -> None:
    cards = json_of(answer("models", "--json"))["models"]
    assert tuple(cards) == EIGHT
    for name, card in cards.items():
        assert card["task"] == models.CATALOG[name].task
        assert card["data"] == models.CATALOG[name].data
        assert card["search"] == models.CATALOG[name].search
        assert tuple(card["hyperparameters"]) == models.hyperparameters(name)


@pytest.mark.parametrize("name", EIGHT)
def test_models_tells_a_reader_the_same(answer: Answer, name: str) -> None:
    lines = answer("models").splitlines()
    (row,) = [i for i, line in enumerate(lines) if line.split()[0] == name]
    card = models.CATALOG[name]
    assert lines[row].split()[:3] == [name, card.task, card.data]
    assert lines[row].endswith(card.summary)
    assert all(argument in lines[row + 1] for argument in models.hyperparameters(name))
    assert all(key in lines[row + 2] for key in card.search)


def test_a_model_is_shown_with_its_layers_shapes_and_size(answer: Answer) -> None:
    text = answer("models", "cnn")
    assert "Conv2d(1, 16, kernel_size=(5, 5)" in text
    assert re.search(r"\(16, 1, 5, 5\)", text)
    assert "28,938 parameters" in text
    assert "mnist5k" in text


@pytest.mark.parametrize("name", EIGHT)
def test_a_models_numbers_are_those_of_the_built_model(answer: Answer, name: str) -> None:
    facts = json_of(answer("models", name, "--json"))
    state = models.build(name).state_dict()
    assert facts["shapes"] == {key: list(tensor.shape) for key, tensor in state.items()}
    assert facts["parameters"] == sum(p.numel() for p in models.build(name).parameters())
