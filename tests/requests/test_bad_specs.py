"""Spec files as users write them, what cannot be said in them, and what may change between two runs."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

import tuning
from tests.requests.refusals import HERE
from tuning import notation
from tuning.errors import RequestError
from tuning.space import Choice, Float, Int
from tuning.spec import EarlyStopping, Resources, SweepSpec

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
        ({"model": math.sqrt}, "write 'file.py:sqrt' or 'package.module:sqrt'"),
        ({"metric": math.sqrt}, "`metric` must be text"),
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
        ({"epochs": 9}, "epochs: none -> 9"),
        ({"search": {"lr": Float(0.1, 0.3)}}, "search.lr: 0.1:0.2 -> 0.1:0.3"),
        ({"fixed": {}}, "fixed: weight_decay=0.1 -> none"),
        ({"early_stopping": EarlyStopping(kind="none")}, "early_stopping.kind: "),
        ({"storage": "s3://bucket"}, "storage: none -> s3://bucket"),
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


def test_a_sweep_is_of_a_spec() -> None:
    with pytest.raises(RequestError, match=r"write tuning.sweep\(tuning.SweepSpec\(model='net'\)\)"):
        tuning.sweep("net")


def test_choices_that_read_alike_are_told_apart() -> None:
    search = [{"k": Choice(found)} for found in ((1, 2), ("1", "2"))]
    one, other = (dataclasses.replace(OLD, search=found) for found in search)
    assert notation.differences(one, other) == ["search.k: {'choices': [1, 2]} -> {'choices': ['1', '2']}"]
