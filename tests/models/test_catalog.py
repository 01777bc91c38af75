"""The catalog: what a card holds, how a model is built by name, what is refused."""

import inspect
from typing import Any

import pytest
from torch import nn

import models

TRAINING = {"lr", "momentum", "weight_decay", "optimizer", "batch_size"}
EVERY_MODEL = pytest.mark.parametrize("name", models.CATALOG)
EVERY_CARD = pytest.mark.parametrize("card", models.CATALOG.values(), ids=models.CATALOG)


@pytest.mark.parametrize(
    ("name", "task", "data"),
    [
        ("net", "regression", "noisy_square"),
        ("quick_net", "regression", "noisy_square"),
        ("cnn", "classification", "mnist5k"),
        ("lstm", "classification", "mnist5k"),
        ("rnn", "regression", "sine"),
        ("overfitting_net", "regression", "noisy_line"),
        ("dropout_net", "regression", "noisy_line"),
        ("batchnorm_net", "regression", "parabola"),
    ],
)
def test_task_and_default_data(name: str, task: str, data: str) -> None:
    assert (models.CATALOG[name].task, models.CATALOG[name].data) == (task, data)


@EVERY_MODEL
def test_search_names_only_what_the_model_or_the_training_takes(name: str) -> None:
    assert set(models.CATALOG[name].search) <= TRAINING | set(models.hyperparameters(name))


@EVERY_CARD
def test_the_four_hyperparameters_are_searched_by_default(card: models.Card) -> None:
    assert {"lr", "momentum", "dropout", "bn_momentum"} <= set(card.search)


@EVERY_CARD
def test_search_ranges_are_not_empty(card: models.Card) -> None:
    assert all(dimension["low"] < dimension["high"] for dimension in card.search.values())


@EVERY_MODEL
@pytest.mark.parametrize("end", ["low", "high"])
def test_model_takes_both_ends_of_its_search_ranges(name: str, end: str) -> None:
    search = models.CATALOG[name].search
    models.build(name, **{key: search[key][end] for key in search if key not in TRAINING})


@EVERY_CARD
def test_sweep_defaults_are_positive(card: models.Card) -> None:
    assert card.epochs >= 1
    assert card.batch_size >= 1


@EVERY_CARD
def test_summary_is_one_line(card: models.Card) -> None:
    assert card.summary
    assert "\n" not in card.summary


@EVERY_MODEL
def test_hyperparameters_all_have_a_default(name: str) -> None:
    parameters = inspect.signature(models.CATALOG[name].build).parameters
    assert models.hyperparameters(name) == tuple(parameters)
    assert all(p.default is not inspect.Parameter.empty for p in parameters.values())


@EVERY_MODEL
def test_every_model_takes_activation_dropout_and_bn_momentum(name: str) -> None:
    assert {"activation", "dropout", "bn_momentum"} <= set(models.hyperparameters(name))


@pytest.mark.parametrize(
    ("name", "shape", "n_outputs", "arguments"),
    [
        ("net", (10,), 1, {"n_feature": 10, "n_output": 1}),
        ("quick_net", (1,), 2, {"n_feature": 1, "n_output": 2}),
        ("overfitting_net", (1,), 1, {"n_feature": 1, "n_output": 1}),
        ("dropout_net", (3,), 1, {"n_feature": 3, "n_output": 1}),
        ("batchnorm_net", (2,), 1, {"n_feature": 2, "n_output": 1}),
        ("cnn", (3, 32, 32), 10, {"in_channels": 3, "image_size": 32, "n_classes": 10}),
        ("lstm", (1, 28, 28), 10, {"input_size": 28, "n_classes": 10}),
        ("lstm", (40, 6), 3, {"input_size": 6, "n_classes": 3}),
        ("rnn", (10, 1), 1, {"input_size": 1, "n_output": 1}),
    ],
)
def test_data_decides_the_sizes(
    name: str, shape: tuple[int, ...], n_outputs: int, arguments: dict[str, Any]
) -> None:
    assert models.CATALOG[name].from_data(shape, n_outputs) == arguments
    assert set(arguments) <= set(models.hyperparameters(name))


@pytest.mark.parametrize(
    ("name", "shape", "rule"),
    [
        ("net", (1, 28, 28), "a vector"),
        ("batchnorm_net", (10, 1), "a vector"),
        ("cnn", (10,), "a square image"),
        ("cnn", (1, 28, 32), "a square image"),
        ("cnn", (1, 3, 3), "size >= 4"),
        ("lstm", (10,), "a sequence"),
        ("lstm", (3, 32, 32), "an image of one channel"),
        ("rnn", (1, 28, 28), "a window"),
        ("rnn", (1,), "a window"),
    ],
)
def test_data_of_a_shape_that_the_model_cannot_take_is_refused(
    name: str, shape: tuple[int, ...], rule: str
) -> None:
    with pytest.raises(ValueError, match=rule) as refusal:
        models.CATALOG[name].from_data(shape, 10)
    assert str(shape) in str(refusal.value)


def test_unknown_model_is_refused_naming_the_nearest_and_all() -> None:
    with pytest.raises(ValueError, match="unknown model 'lstn'; did you mean 'lstm'") as refusal:
        models.build("lstn")
    assert all(name in str(refusal.value) for name in models.CATALOG)


def test_unknown_hyperparameter_is_refused_naming_the_nearest_and_all() -> None:
    with pytest.raises(ValueError, match="'drop_out'; did you mean 'dropout'") as refusal:
        models.build("cnn", drop_out=0.1)
    assert all(name in str(refusal.value) for name in models.hyperparameters("cnn"))


def test_a_name_far_from_all_known_ones_gets_no_hint() -> None:
    with pytest.raises(ValueError, match="unknown model 'transformer'; Known: net, quick_net"):
        models.hyperparameters("transformer")


def test_image_too_small_to_be_halved_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="`image_size` must be at least 4, but got 3"):
        models.build("cnn", image_size=3)


def test_one_entry_is_all_that_a_new_model_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    def stub(n_feature: int = 1, width: int = 2) -> nn.Module:
        return nn.Linear(n_feature, width)

    card = models.CATALOG["net"]
    new = models.Card(**{f: getattr(card, f) for f in card.__slots__} | {"build": stub})
    monkeypatch.setitem(models.CATALOG, "stub", new)
    assert models.hyperparameters("stub") == ("n_feature", "width")
    assert models.build("stub", width=5).state_dict()["weight"].shape == (5, 1)
