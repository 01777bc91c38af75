"""A spec: what can be said, in YAML and in Python, and what is refused."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tuning import notation
from tuning.errors import RequestError
from tuning.space import Choice, Float, Int, number, to_plain
from tuning.spec import EarlyStopping, Resources, SweepSpec

repeatable = settings(derandomize=True, deadline=None)

HERE = Path("/specs")

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


# ---- files -------------------------------------------------------------------------------------


def test_a_file_beside_the_spec_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("{model: own/net.py:Net, data: ../data.py:load}")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    spec = notation.load(file)
    assert spec.model == f"{tmp_path}/own/net.py:Net"
    assert spec.data == f"{tmp_path.parent}/data.py:load"


@pytest.mark.parametrize("reference", ["cnn", "package.module:Net", "/absolute/net.py:Net"])
def test_other_references_stay_as_they_are(reference: str) -> None:
    assert notation.from_plain({"model": reference}, folder=HERE).model == reference


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("model: [", "must be YAML"),
        ("a: b: c", "line 1"),
        ("model: cnn\n\ttrials: 3", "line 2"),
        ("", "must be a mapping of keys to values"),
        ("# nothing", "must be a mapping"),
        ("- cnn\n- lstm", "must be a mapping"),
        ("cnn", "must be a mapping"),
        ("!!python/object/apply:os.getcwd []", "must be YAML"),
        ("{model: cnn, trails: 3}", "did you mean 'trials'?"),
        ("{trials: 3}", "needs `model`"),
    ],
)
def test_a_file_that_is_no_spec_is_refused(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(content)
    with pytest.raises(RequestError) as refusal:
        notation.load(file)
    assert message in str(refusal.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequestError, match="cannot be read"):
        notation.load(tmp_path / "spec.yaml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"There is no spec file .*spec\.yaml"):
        notation.load(tmp_path / "spec.yaml")


def test_a_folder_is_no_spec(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be read"):
        notation.load(tmp_path)


# ---- what cannot be said -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"trials": 0}, "`trials` must be a whole number >= 1, but got 0"),
        ({"trials": -1}, "`trials`"),
        ({"trials": 1.5}, "`trials`"),
        ({"trials": "many"}, "`trials` must be a whole number >= 1, but got 'many'"),
        ({"trials": True}, "`trials`"),
        ({"epochs": 0}, "`epochs`"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"max_concurrent": 0}, "`max_concurrent`"),
        ({"max_failures": 0}, "`max_failures`"),
        ({"compile": "often"}, "`compile` must be true or false"),
        ({"precision": "fp16"}, "Unknown `precision`: 'fp16'; did you mean 'bf16'?"),
        ({"cohort": 0}, "`cohort`"),
        ({"cohort": "big"}, "`cohort`"),
        ({"seed": -1}, "`seed` must be a whole number >= 0"),
        ({"seed": 0.5}, "`seed`"),
        ({"mode": "maximum"}, "Unknown `mode`: 'maximum'; did you mean 'max'?"),
        ({"model": 5}, "`model` must be text, but got 5"),
        ({"data": " "}, "`data` must be text"),
        ({"metric": 3}, "`metric` must be text"),
        ({"name": "a/b"}, "A sweep's name must be"),
        ({"address": "ray://head:10001"}, "ray job submit"),
        ({"early_stopping": "asha"}, "`early_stopping` must be a mapping, but got 'asha'"),
        ({"early_stopping": {"kind": "hyperband"}}, "Unknown `early_stopping.kind`: 'hyperband'"),
        ({"early_stopping": {"grace": 1}}, "Unknown key in `early_stopping`: 'grace'"),
        ({"early_stopping": {"grace_epochs": 0}}, "`early_stopping.grace_epochs`"),
        ({"early_stopping": {"reduction": 1}}, "`early_stopping.reduction` must be a whole number >= 2"),
        ({"resources": {"gpu": 1}}, "Unknown key in `resources`: 'gpu'; did you mean 'gpus'?"),
        ({"resources": {"cpus": -1}}, "`resources.cpus` must be a number >= 0, but got -1"),
        ({"resources": {"gpus": float("nan")}}, "`resources.gpus`"),
        ({"resources": {"gpus": 1.5}}, "`resources.gpus` must be a share below 1 or a whole number"),
        ({"resources": {"cpus": "two"}}, "`resources.cpus`"),
        ({"resources": {"cpus": 0, "gpus": 0}}, "A worker needs a CPU or a GPU share"),
        ({"search": ["lr"]}, "`search` must map hyperparameters to ranges"),
        ({"search": {"lr": {"low": 2, "high": 1}}}, "search.lr: `low < high` must hold"),
        ({"fixed": ["lr"]}, "`fixed` must map hyperparameters to values"),
        ({"fixed": {"lr": [0.1, 0.2]}}, "ranges go under `search`"),
        ({"fixed": {"lr": {"low": 0.1, "high": 0.2}}}, "ranges go under `search`"),
        ({"fixed": {"lr": 0.1}, "search": {"lr": {"low": 0.1, "high": 0.2}}}, "searched or fixed, not both"),
        ({"try": {"lr": 0.1}}, "`try` must be a list of configurations"),
        ({"try": [0.1]}, "`try[0]` must map hyperparameters to values"),
        (
            {"search": {"lr": {"low": 0.1, "high": 0.2}}, "try": [{"lr": 0.1}, {"lr": 0.3}]},
            "try[1].lr must lie in the search range {'low': 0.1, 'high': 0.2}, but got 0.3",
        ),
        ({"search": {"optimizer": ["sgd", "adam"]}, "try": [{"optimizer": "rmsprop"}]}, "try[0].optimizer"),
        ({"epoch": 3}, "Unknown key in the spec: 'epoch'; did you mean 'epochs'?"),
        ({"try_": []}, "Unknown key in the spec: 'try_'; did you mean 'try'?"),
        ({5: 3}, "Unknown key in the spec: 5"),
    ],
)
def test_impossible_spec_is_refused(plain: dict[Any, Any], message: str) -> None:
    with pytest.raises(RequestError) as refusal:
        notation.from_plain({"model": "cnn", **plain}, folder=HERE)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("plain", [None, [], "cnn", 3])
def test_what_is_no_mapping_is_no_spec(plain: object) -> None:
    with pytest.raises(RequestError, match="must be a mapping"):
        notation.from_plain(plain, folder=HERE)


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("lr", 0, "`0 < lr` must hold"),
        ("lr", -0.1, "`0 < lr` must hold"),
        ("lr", float("inf"), "finite number"),
        ("lr", float("nan"), "finite number"),
        ("lr", "fast", "finite number"),
        ("lr", True, "finite number"),
        ("lr", None, "finite number"),
        ("momentum", 1, "`0 <= momentum < 1` must hold"),
        ("momentum", -0.1, "`0 <= momentum < 1` must hold"),
        ("weight_decay", -1e-9, "`0 <= weight_decay` must hold"),
        ("alpha", 1, "`0 <= alpha < 1` must hold"),
        ("beta2", 1.0, "`0 <= beta2 < 1` must hold"),
        ("dropout", 1, "`0 <= dropout < 1` must hold"),
        ("dropout", 1.5, "`0 <= dropout < 1` must hold"),
        ("bn_momentum", 0, "`0 < bn_momentum <= 1` must hold"),
        ("bn_momentum", 1.1, "`0 < bn_momentum <= 1` must hold"),
        ("optimizer", "sdg", "did you mean 'sgd'?"),
        ("optimizer", 1, "Unknown `fixed.optimizer`: 1"),
        ("batch_size", 0, "must be a whole number >= 1"),
        ("batch_size", 2.5, "must be a whole number >= 1"),
        ("augment", "yes", "must be true or false"),
    ],
)
def test_value_that_no_trial_could_train_with_is_refused(key: str, value: Any, rule: str) -> None:
    with pytest.raises(RequestError) as refusal:
        SweepSpec(model="cnn", fixed={key: value})
    assert rule in str(refusal.value)
    assert f"fixed.{key}" in str(refusal.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lr", 100.0),
        ("momentum", 0),
        ("weight_decay", 3),
        ("alpha", 0),
        ("beta2", 0.999),
        ("dropout", 0),
        ("bn_momentum", 1),
        ("bn_momentum", None),
        ("optimizer", "adagrad"),
        ("batch_size", 1),
        ("augment", True),
        ("anything_else", "goes to the model"),
    ],
)
def test_value_at_the_edge_is_taken(key: str, value: Any) -> None:
    assert SweepSpec(model="cnn", fixed={key: value}).fixed[key] == value


@pytest.mark.parametrize(
    ("key", "dimension"),
    [
        ("lr", Float(0.0, 1.0)),
        ("dropout", Float(0.0, 1.0)),
        ("momentum", Float(0.9, 1.1)),
        ("optimizer", Choice(("sgd", "lion"))),
        ("batch_size", Int(0, 8)),
        ("batch_size", Float(8.0, 16.0)),
        ("augment", Choice((0, 1))),
    ],
)
def test_search_that_reaches_beyond_what_can_be_trained_is_refused(key: str, dimension: Any) -> None:
    with pytest.raises(RequestError, match=rf"search\.{key}"):
        SweepSpec(model="cnn", search={key: dimension})


# ---- one sweep, several invocations ------------------------------------------------------------

OLD = SweepSpec(
    model="cnn", name="demo", search={"lr": Float(0.1, 0.2)}, fixed={"weight_decay": 0.1}, id="a-uuid"
)


@pytest.mark.parametrize(
    "change",
    [
        {"trials": 64},
        {"resources": Resources(cpus=2)},
        {"cohort": 8},
        {"compile": True},
        {"max_concurrent": 1},
        {"max_failures": 1},
        {"address": "head:6379"},
        {"home": "/elsewhere"},
        {"id": None},
    ],
)
def test_how_a_sweep_is_run_may_change(change: dict[str, Any]) -> None:
    assert notation.differences(OLD, dataclasses.replace(OLD, **change)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"model": "lstm"}, "model: cnn -> lstm"),
        ({"epochs": 9}, "epochs: None -> 9"),
        ({"search": {"lr": Float(0.1, 0.3)}}, f"search.lr: {to_plain(Float(0.1, 0.2))} -> "),
        ({"fixed": {}}, "fixed: {'weight_decay': 0.1} -> None"),
        ({"early_stopping": EarlyStopping(kind="none")}, "early_stopping.kind: "),
        ({"storage": "s3://bucket"}, "storage: None -> s3://bucket"),
    ],
)
def test_what_a_sweep_is_may_not_change_and_the_difference_is_told(change: dict[str, Any], told: str) -> None:
    (difference,) = notation.differences(OLD, dataclasses.replace(OLD, **change))
    assert difference.startswith(told)


def test_a_sweep_goes_on_under_its_id_with_what_may_change() -> None:
    new = SweepSpec(model="lstm", trials=64, cohort=8, resources=Resources(cpus=2))
    assert notation.continued(OLD, new) == dataclasses.replace(
        OLD, trials=64, cohort=8, resources=Resources(cpus=2)
    )
