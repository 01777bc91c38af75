"""A spec: what can be said, in YAML and in Python, and that it comes back as it was."""

import dataclasses
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.requests.refusals import HERE
from tuning import notation
from tuning.space import Choice, Float, Int, number
from tuning.spec import EarlyStopping, Resources, SweepSpec

repeatable = settings(derandomize=True, deadline=None)


# ---- any spec there can be ---------------------------------------------------------------------

counts = st.integers(1, 10_000)
words = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,20}", fullmatch=True).filter(
    lambda text: number(text) == text  # `inf` and the like are numbers
)
texts = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: number(text) == text)
unit = st.floats(0, 0.999)
amounts = st.one_of(st.integers(1, 64).map(float), st.floats(0.01, 1))


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


real_ranges = st.lists(st.floats(0.001, 0.999), min_size=2, max_size=2, unique=True).map(sorted)
RANGES: dict[str, st.SearchStrategy[Any]] = {
    "lr": real_ranges.map(lambda ends: Float(*ends, log=True)),
    "momentum": real_ranges.map(lambda ends: Float(*ends)),
    "bn_momentum": real_ranges.map(lambda ends: Float(*ends)),
    "n_hidden": st.integers(1, 100).map(lambda low: Int(low, 2 * low)),
    "optimizer": st.just(Choice(("sgd", "rmsprop", "adagrad", "adam"))),
    "batch_size": st.just(Choice((16, 32))),
    "kind": st.lists(texts, min_size=1, max_size=4, unique=True).map(lambda names: Choice(tuple(names))),
}
FIXED: dict[str, st.SearchStrategy[Any]] = {
    "weight_decay": unit,
    "dropout": unit,
    "bn_momentum": st.none() | st.floats(0.001, 1),
    "activation": texts,
    "bias": st.booleans(),
    "n_layer": st.integers(),
    "augment": st.booleans(),
}


def inside(dimension: Any) -> st.SearchStrategy[Any]:
    if isinstance(dimension, Choice):
        return st.sampled_from(dimension.choices)
    numbers = st.floats if isinstance(dimension, Float) else st.integers
    return numbers(dimension.low, dimension.high)


@st.composite
def any_spec(draw: st.DrawFn) -> SweepSpec:
    search = draw(optional(st.fixed_dictionaries({}, optional=RANGES)))
    free = {key: values for key, values in FIXED.items() if key not in (search or {})}
    entry = st.fixed_dictionaries({}, optional={k: inside(d) for k, d in (search or {}).items()})
    resources = Resources(cpus=draw(amounts), gpus=draw(optional(amounts)))
    has_several = resources.gpus is not None and resources.gpus > 1
    return SweepSpec(
        model=draw(words),
        data=draw(optional(words)),
        name=draw(optional(words)),
        trials=draw(counts),
        epochs=draw(optional(counts)),
        batch_size=draw(optional(counts)),
        metric=draw(optional(words)),
        mode=draw(optional(st.sampled_from(["min", "max"]))),
        search=search,
        fixed=draw(st.fixed_dictionaries({}, optional=free)),
        try_=tuple(draw(st.lists(entry, max_size=3))),
        early_stopping=EarlyStopping(
            kind=draw(st.sampled_from(["asha", "median", "none"])),
            grace_epochs=draw(counts),
            reduction=draw(st.integers(2, 9)),
        ),
        resources=resources,
        cohort="auto" if has_several else draw(st.just("auto") | counts),
        precision=draw(st.sampled_from(["fp32", "bf16"])),
        seed=draw(st.integers(0, 2**40)),
        max_concurrent=draw(optional(counts)),
        max_failures=draw(counts),
        storage=draw(optional(words)),
        tracking_uri=draw(optional(words)),
    )


@repeatable
@given(spec=any_spec())
def test_spec_survives_its_yaml_file(spec: SweepSpec) -> None:
    assert notation.from_plain(yaml.safe_load(notation.dump(spec)), folder=HERE) == spec


@repeatable
@given(spec=any_spec())
def test_what_a_file_leaves_out_is_open(spec: SweepSpec) -> None:
    """So a file made by hand and one that was written look alike: no `null`, no empty list."""
    assert [key for key, value in notation.to_plain_spec(spec).items() if value is None or value == []] == []


@repeatable
@given(spec=any_spec())
def test_spec_does_not_differ_from_itself(spec: SweepSpec) -> None:
    assert notation.differences(spec, spec) == []


# ---- YAML --------------------------------------------------------------------------------------

DESIGN = """
name: cnn-demo
model: cnn
data: mnist5k
trials: 32
epochs: 5
batch_size: 64
metric: val_accuracy
mode: max
search:
  lr: {low: 1.0e-4, high: 0.3, log: true}
  momentum: {low: 0.0, high: 0.99}
  dropout: {low: 0.0, high: 0.6}
  bn_momentum: {low: 0.01, high: 0.9}
  optimizer: {choices: [sgd, adam]}
fixed: {weight_decay: 1.0e-4}
try: [{lr: 0.05, momentum: 0.9}]
early_stopping: {kind: asha, grace_epochs: 1, reduction: 3}
resources: {cpus: 1, gpus: 0.25}
cohort: auto
seed: 0
"""


def from_yaml(text: str) -> SweepSpec:
    return notation.from_plain(yaml.safe_load(text), folder=HERE)


def test_the_documented_spec_is_read_as_it_says() -> None:
    assert from_yaml(DESIGN) == SweepSpec(
        name="cnn-demo",
        model="cnn",
        data="mnist5k",
        trials=32,
        epochs=5,
        batch_size=64,
        metric="val_accuracy",
        mode="max",
        search={
            "lr": Float(1e-4, 0.3, log=True),
            "momentum": Float(0.0, 0.99),
            "dropout": Float(0.0, 0.6),
            "bn_momentum": Float(0.01, 0.9),
            "optimizer": Choice(("sgd", "adam")),
        },
        fixed={"weight_decay": 1e-4},
        try_=({"lr": 0.05, "momentum": 0.9},),
        early_stopping=EarlyStopping(kind="asha", grace_epochs=1, reduction=3),
        resources=Resources(cpus=1, gpus=0.25),
        cohort="auto",
        seed=0,
    )


def test_a_model_is_all_a_spec_needs() -> None:
    spec = from_yaml("model: cnn")
    assert spec == SweepSpec(model="cnn")
    assert spec.trials == 32
    assert not spec.is_resolved


def test_numbers_that_yaml_takes_for_text_are_numbers() -> None:
    spec = from_yaml("{model: cnn, fixed: {weight_decay: 1e-4}, search: {lr: {low: 1e-4, high: 3e-1}}}")
    assert spec.fixed == {"weight_decay": 1e-4}
    assert spec.search == {"lr": Float(1e-4, 0.3)}


def test_a_name_that_yaml_takes_for_a_number_is_a_name() -> None:
    assert from_yaml("{model: cnn, name: 2024}").name == "2024"


def test_an_empty_key_is_an_open_one() -> None:
    assert from_yaml("model: cnn\nepochs:\nsearch:\nfixed:\ntry:\nearly_stopping:\n") == SweepSpec(
        model="cnn"
    )


def test_an_empty_search_searches_nothing() -> None:
    spec = from_yaml("{model: cnn, search: {}}")
    assert spec.search == {}
    assert from_yaml(notation.dump(spec)).search == {}


def test_batch_norm_without_momentum_can_be_fixed() -> None:
    spec = from_yaml("{model: cnn, fixed: {bn_momentum: null}}")
    assert spec.fixed == {"bn_momentum": None}
    assert from_yaml(notation.dump(spec)).fixed == {"bn_momentum": None}


def test_keys_are_written_in_the_order_of_the_documentation() -> None:
    written = list(yaml.safe_load(notation.dump(from_yaml(DESIGN))))
    order = [field.name.rstrip("_") for field in dataclasses.fields(SweepSpec)]
    assert written == [key for key in order if key in written]


def test_ranges_in_python_may_be_in_yamls_notation() -> None:
    given_: Any = {"lr": {"low": 1e-4, "high": 1, "log": True}, "optimizer": ["sgd", "adam"]}
    spec = SweepSpec(model="cnn", search=given_)
    assert spec.search == {"lr": Float(1e-4, 1.0, log=True), "optimizer": Choice(("sgd", "adam"))}


def test_spec_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SweepSpec(model="cnn").trials = 3  # type: ignore[misc]
