"""What a spec leaves open is filled in; hyperparameters that nothing takes are refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import models
from tuning import notation
from tuning.errors import RequestError
from tuning.references import ModelReference, load_model
from tuning.resolve import Task, applies, default_mode, resolve
from tuning.space import Choice, Float
from tuning.spec import SweepSpec

EVERY_MODEL = pytest.mark.parametrize("name", models.CATALOG)

OWN = ModelReference(
    name="Tiny", reference="/own.py:Tiny", arguments=("width", "dropout", "n_feature"), build=object
)


def resolved(**keys: Any) -> SweepSpec:
    spec = SweepSpec(**{"model": "cnn", **keys})
    return resolve(spec, load_model(spec.model), models.CATALOG[spec.model].task)


def resolved_own(**keys: Any) -> SweepSpec:
    spec = SweepSpec(**{"model": OWN.reference, "data": "parabola", **keys})
    return resolve(spec, OWN, "regression")


@EVERY_MODEL
def test_a_documented_model_needs_nothing_but_its_name(name: str) -> None:
    spec, card = resolved(model=name), models.CATALOG[name]
    assert spec.is_resolved
    assert (spec.name, spec.data) == (name, card.data)
    assert (spec.epochs, spec.batch_size) == (card.epochs, card.batch_size)
    assert set(spec.search or {}) == set(card.search)
    assert spec.fixed == {"optimizer": "sgd"}


@EVERY_MODEL
def test_resolving_again_changes_nothing(name: str) -> None:
    """What stands in a sweep's folder is resolved; going on from it must not differ from it."""
    spec = resolved(model=name)
    again = notation.from_plain(yaml.safe_load(notation.dump(spec)), folder=Path("/"))
    assert resolve(again, load_model(name), models.CATALOG[name].task) == spec


def test_what_is_given_stays() -> None:
    keys: dict[str, Any] = {"name": "x", "data": "mnist", "epochs": 9, "batch_size": 7, "mode": "max"}
    spec = resolved(**keys, metric="val_loss", search={"lr": Float(0.1, 0.2)}, trials=5)
    assert {key: getattr(spec, key) for key in keys} == keys
    assert spec.search == {"lr": Float(0.1, 0.2)}
    assert (spec.metric, spec.trials) == ("val_loss", 5)


@pytest.mark.parametrize(
    ("task", "metric", "mode"),
    [("classification", "val_accuracy", "max"), ("regression", "val_loss", "min")],
)
def test_metric_and_mode_follow_from_the_task(task: Task, metric: str, mode: str) -> None:
    spec = resolve(SweepSpec(model="net"), load_model("net"), task)
    assert (spec.metric, spec.mode) == (metric, mode)


def test_mode_follows_from_a_given_metric() -> None:
    assert resolved(metric="val_loss").mode == "min"
    assert default_mode("val_accuracy") == "max"


@pytest.mark.parametrize(
    ("task", "metric", "hint"),
    [
        ("regression", "val_accuracy", "Known: val_loss"),
        ("classification", "val_acuracy", "did you mean 'val_accuracy'?"),
        ("classification", "train_loss", "Known: val_accuracy, val_loss"),
    ],
)
def test_a_metric_that_is_not_measured_is_refused(task: Task, metric: str, hint: str) -> None:
    with pytest.raises(RequestError) as refusal:
        resolve(SweepSpec(model="net", metric=metric), load_model("net"), task)
    assert hint in str(refusal.value)
    assert repr(metric) in str(refusal.value)


@pytest.mark.parametrize(
    "keys",
    [
        {"fixed": {"learning_rate": 0.1}},
        {"search": {"learning_rate": Float(0.1, 0.2)}},
        {"try_": ({"learning_rate": 0.1},)},
        {"fixed": {"n_hidden": 3}},  # of `net`, not of `cnn`
    ],
)
def test_a_hyperparameter_that_nothing_takes_is_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as refusal:
        resolved(**keys)
    assert "Unknown hyperparameter of model 'cnn'" in str(refusal.value)
    assert "momentum" in str(refusal.value)


def test_a_misspelt_hyperparameter_is_answered_with_the_nearest() -> None:
    with pytest.raises(RequestError, match="did you mean 'momentum'"):
        resolved(fixed={"momentun": 0.9})


# ---- optimizers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hyperparameter", "owners"),
    [
        ("momentum", {"sgd", "rmsprop", "adam"}),
        ("alpha", {"rmsprop"}),
        ("beta2", {"adam"}),
        ("lr", {"sgd", "rmsprop", "adagrad", "adam"}),
        ("weight_decay", {"sgd", "rmsprop", "adagrad", "adam"}),
    ],
)
def test_which_optimizers_have_a_hyperparameter(hyperparameter: str, owners: set[str]) -> None:
    optimizers = ("sgd", "rmsprop", "adagrad", "adam")
    assert {name for name in optimizers if applies(hyperparameter, name)} == owners


def test_with_adagrad_the_default_search_leaves_momentum_out() -> None:
    spec = resolved(fixed={"optimizer": "adagrad"})
    assert set(spec.search or {}) == set(models.CATALOG["cnn"].search) - {"momentum"}


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam"])
def test_with_any_other_optimizer_it_searches_momentum(optimizer: str) -> None:
    assert "momentum" in (resolved(fixed={"optimizer": optimizer}).search or {})


def test_what_is_fixed_leaves_the_default_search() -> None:
    spec = resolved(fixed={"momentum": 0.9})
    assert "momentum" not in (spec.search or {})
    assert spec.fixed == {"momentum": 0.9, "optimizer": "sgd"}


def test_a_searched_optimizer_is_not_fixed_too() -> None:
    search = {"optimizer": Choice(("sgd", "adagrad")), "momentum": Float(0.0, 0.9)}
    spec = resolved(search=search)
    assert "optimizer" not in spec.fixed
    assert spec.search == search


@pytest.mark.parametrize(
    ("keys", "owners"),
    [
        ({"fixed": {"optimizer": "adagrad", "momentum": 0.9}}, "sgd or rmsprop or adam"),
        ({"fixed": {"optimizer": "adagrad"}, "search": {"momentum": Float(0.0, 0.9)}}, "sgd or rmsprop"),
        ({"fixed": {"optimizer": "adagrad"}, "try_": ({"momentum": 0.9},)}, "sgd or rmsprop or adam"),
        ({"fixed": {"alpha": 0.9}}, "belongs to rmsprop, but the optimizer is sgd"),
        ({"fixed": {"alpha": 0.9, "optimizer": "adam"}}, "belongs to rmsprop, but the optimizer is adam"),
        ({"search": {"beta2": Float(0.9, 0.99)}}, "belongs to adam, but the optimizer is sgd"),
        ({"search": {"optimizer": Choice(("sgd", "adagrad"))}, "fixed": {"beta2": 0.9}}, "adagrad or sgd"),
    ],
)
def test_what_no_chosen_optimizer_has_is_refused(keys: dict[str, Any], owners: str) -> None:
    with pytest.raises(RequestError) as refusal:
        resolved(**keys)
    assert owners in str(refusal.value)
    assert "leave" in str(refusal.value)


@pytest.mark.parametrize(
    "keys",
    [
        {"fixed": {"alpha": 0.9, "optimizer": "rmsprop"}},
        {"fixed": {"alpha": 0.9}, "search": {"optimizer": Choice(("sgd", "rmsprop"))}},
        {"fixed": {"beta2": 0.99}, "try_": ({"optimizer": "adam"},)},
    ],
)
def test_what_one_of_the_optimizers_has_is_taken(keys: dict[str, Any]) -> None:
    assert resolved(**keys).is_resolved


# ---- a user's own model ------------------------------------------------------------------------


def test_of_the_default_search_an_own_model_gets_what_its_signature_names() -> None:
    spec = resolved_own()
    assert set(spec.search or {}) == {"lr", "momentum", "dropout"}
    assert spec.name == "Tiny"
    assert spec.is_resolved


def test_an_own_models_hyperparameters_can_be_searched() -> None:
    assert resolved_own(search={"width": Choice((8, 16))}).search == {"width": Choice((8, 16))}


def test_an_own_model_needs_data() -> None:
    with pytest.raises(RequestError, match="Your own model 'Tiny' needs `data`"):
        resolve(SweepSpec(model=OWN.reference), OWN, "regression")


def test_many_trials_of_nothing_searched_are_refused() -> None:
    with pytest.raises(RequestError) as refusal:
        resolved(search={}, trials=8)
    assert "leaves nothing to search, but `trials` is 8" in str(refusal.value)
    assert "--trials 1" in str(refusal.value)


@pytest.mark.parametrize("keys", [{"trials": 1}, {"trials": 8, "try_": ({"lr": 0.1}, {"lr": 0.2})}])
def test_a_search_of_nothing_can_be_one_trial_or_those_to_try(keys: dict[str, Any]) -> None:
    assert resolved(search={}, **keys).search == {}


def test_what_to_try_must_lie_in_the_default_search_too() -> None:
    with pytest.raises(RequestError, match=r"try\[0\]\.lr must lie in the search range"):
        resolved(try_=({"lr": 5.0},))
