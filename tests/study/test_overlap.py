"""What a sweep takes over of an earlier one: what fits, the best first."""

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.study.earlier_sweeps import NEW, OLD, confirmation, record
from tuning.errors import RequestError
from tuning.records import State
from tuning.space import Choice, Float, Int
from tuning.study.earlier import look_at
from tuning.study.suggest import WINDOW


def test_trials_of_the_same_search_all_fit() -> None:
    found = look_at(NEW, OLD, [record(0), record(1, 0.4, state=State.PRUNED)])
    assert found.note == "--from old: 2 of 2 trials fit; its best configuration is tried first"
    assert found.first == ({"lr": 0.01, "momentum": 0.5},)
    assert found.is_comparable
    assert [(one.number, one.is_complete, one.epoch) for one in found.trials] == [(0, True, 2), (1, False, 2)]


SEARCHED: dict[str, Any] = {"lr": Float(1e-3, 0.3, log=True), "momentum": Float(0.0, 0.9)}


@pytest.mark.parametrize(
    ("changes", "trial", "reason"),
    [
        ({"search": {**SEARCHED, "lr": Float(0.05, 1.0, log=True)}}, {"lr": 0.01}, "lr outside 0.05:1"),
        ({"search": {**SEARCHED, "n_hidden": Int(4, 8)}}, {}, "n_hidden outside 4:8"),
        ({"model": "quick_net", "search": {**SEARCHED, "n_hidden": Int(4, 32)}}, {}, "no n_hidden"),
        ({"search": {**SEARCHED, "n_hidden": Int(4, 32)}}, {"n_hidden": 64}, "n_hidden outside 4:32"),
        ({"search": {**SEARCHED, "batch_size": Choice((16, 32))}}, {}, "batch_size outside 16, 32"),
        ({"fixed": {"optimizer": "sgd", "dropout": 0.2}}, {}, "dropout is not 0.2"),
        ({"fixed": {"optimizer": "adam"}}, {}, "optimizer is not adam"),
        ({"fixed": {"optimizer": "sgd", "weight_decay": 1e-4}}, {}, "weight_decay is not 0.0001"),
        ({"search": {"lr": SEARCHED["lr"]}, "fixed": {"momentum": 0.9}}, {}, "momentum is not 0.9"),
        ({}, {"state": State.DIVERGED}, "diverged or failed"),
        ({}, {"state": State.RUNNING}, "not ended"),
        ({}, {"lr": "0.01"}, "lr outside 0.001:0.3"),
        ({}, {"lr": math.nan}, "lr outside 0.001:0.3"),
    ],
)
def test_what_does_not_fit_is_left_out_and_said(
    changes: dict[str, Any], trial: dict[str, Any], reason: str
) -> None:
    new = replace(NEW, **changes)
    with pytest.raises(RequestError) as refused:
        look_at(new, OLD, [record(0, **trial)])
    assert f"none of its 1 trials fits this search ({reason}: 1)" in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "trial", "params"),
    [
        ({"search": {"lr": SEARCHED["lr"], "dropout": Float(0, 0.6)}, "fixed": {}}, {}, {"dropout": 0.1}),
        ({"search": {"lr": Choice((0.01, 0.1))}}, {}, {"lr": 0.01}),
        ({"search": {**SEARCHED, "batch_size": Choice((32, 64))}}, {}, {"batch_size": 64}),
        ({"search": {"lr": SEARCHED["lr"]}, "fixed": {"momentum": 0.55}}, {}, {"lr": 0.01}),
        ({"search": {**SEARCHED, "n_hidden": Int(4, 32)}}, {}, {"n_hidden": 10}),
        ({"search": {**SEARCHED, "weight_decay": Float(0.0, 0.1)}}, {}, {"weight_decay": 0.0}),
        (
            {"search": {**SEARCHED, "optimizer": Choice(("sgd", "adagrad"))}, "fixed": {}},
            {"optimizer": "adagrad", "momentum": None},
            {"optimizer": "adagrad"},
        ),
    ],
    ids=[
        "fixed then, searched now",
        "a choice that is among the values",
        "the sweep's own batch size",
        "searched then, fixed nearby now",
        "an argument of the model that was left at its default",
        "a hyperparameter of the optimizer that was left at its default",
        "what the trial's optimizer has not",
    ],
)
def test_what_fits_has_a_value_of_each_dimension(
    changes: dict[str, Any], trial: dict[str, Any], params: dict[str, Any]
) -> None:
    found = look_at(replace(NEW, **changes), OLD, [record(0, **trial)])
    assert params.items() <= found.trials[0].params.items()
    assert set(found.trials[0].params) <= set(changes["search"])


OPEN = replace(NEW, search={"lr": SEARCHED["lr"]}, fixed={"optimizer": "sgd"})
"""Names neither momentum nor dropout, which are 0 then."""


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        (
            [{"n_hidden": 200, "weight_decay": 0.9}],
            "dropout 0.1, momentum 0.5, n_hidden 200, weight_decay 0.9",
        ),
        ([{"momentum": 0.0}], "dropout 0.1"),
        ([{"dropout": 0.0}, {"dropout": 0.0, "momentum": 0.6}], "other momentum"),
        ([{"dropout": 0.0, "momentum": 0.0, "batch_size": 32}], "batch_size 32"),
    ],
    ids=["another model", "fixed then", "searched then", "a batch size of the trial's own"],
)
def test_what_had_another_value_than_it_has_by_default_now_makes_another_task(
    trials: list[dict[str, Any]], said: str
) -> None:
    found = look_at(OPEN, OLD, [record(number, **changes) for number, changes in enumerate(trials)])
    assert set(found.trials[0].params) == {"lr"}
    assert not found.is_comparable
    assert f"with {said} it is another task, so only their order counts" in found.note


def test_what_had_the_value_that_it_has_by_default_now_is_the_same_task() -> None:
    given = {"dropout": 0.0, "momentum": 0.0, "n_hidden": 10, "weight_decay": 0.0, "batch_size": 64}
    assert look_at(OPEN, OLD, [record(0, **given)]).is_comparable


def test_a_default_is_that_of_the_trials_own_optimizer() -> None:
    search = {"lr": SEARCHED["lr"], "optimizer": Choice(("sgd", "adam"))}
    new = replace(OPEN, search=search, fixed={"dropout": 0.1})
    assert look_at(new, OLD, [record(0, optimizer="adam", momentum=0.9)]).is_comparable
    assert not look_at(new, OLD, [record(0, optimizer="sgd", momentum=0.9)]).is_comparable


@pytest.mark.parametrize(("trials", "rates"), [(32, [0.02, 0.05, 0.1, 0.01]), (8, [0.02, 0.05]), (1, [0.02])])
def test_the_best_configurations_are_tried_first_each_once_and_leave_room(
    trials: int, rates: list[float]
) -> None:
    values = {0.01: 0.4, 0.02: 0.1, 0.05: 0.2, 0.1: 0.3, 0.2: 0.5}
    old = [record(number, value, lr=lr) for number, (lr, value) in enumerate(values.items())]
    again = record(9, 0.11, lr=0.02)
    stopped = record(10, 0.01, state=State.PRUNED, lr=0.2)
    found = look_at(replace(NEW, trials=trials), OLD, [*old, again, stopped])
    assert [one["lr"] for one in found.first] == rates
    assert ("best configuration is" if trials == 1 else f"{len(rates)} best configurations are") in found.note


def test_the_best_is_what_fresh_seeds_confirm() -> None:
    trials = [record(3, 0.1, lr=0.01), record(7, 0.2, lr=0.02), record(8, 0.15, lr=0.03)]
    found = look_at(NEW, OLD, trials, confirmation(**{"3": 0.9, "7": 0.2}))
    assert [one["lr"] for one in found.first] == [0.02, 0.01, 0.03]


def test_another_metric_is_refused() -> None:
    with pytest.raises(RequestError, match=r"searched by val_accuracy \(max\), but 'old' did by val_loss"):
        look_at(replace(NEW, metric="val_accuracy", mode="max"), OLD, [record(0)])


@pytest.mark.parametrize(
    "changes",
    [{"data": "parabola"}, {"model": "quick_net"}, {"epochs": 9}, {"seed": 3}, {"precision": "bf16"}],
)
def test_of_another_task_only_the_order_counts_and_that_is_said(changes: dict[str, Any]) -> None:
    found = look_at(NEW, replace(OLD, **changes), [record(0), record(1, 0.6, lr=0.02)])
    ((key, value),) = changes.items()
    assert not found.is_comparable
    assert len(found.first) == 1
    assert f"with {key} {value} it is another task, so only their order counts" in found.note


def test_ones_own_data_in_the_folder_of_another_job_is_the_same_data() -> None:
    jobs = "/tmp/ray/session_1/runtime_resources/working_dir_files"
    old, new = (f"{jobs}/_ray_pkg_{package}/own.py:points" for package in ("1a", "2b"))
    assert look_at(replace(NEW, data=new), replace(OLD, data=old), [record(0)]).is_comparable


def test_of_many_trials_those_are_kept_that_are_looked_at() -> None:
    trials = [record(number, 0.2 + number / 10_000, lr=0.001 + number / 40_000) for number in range(10_000)]
    found = look_at(NEW, OLD, trials)
    numbers = [one.number for one in found.trials]
    assert len(numbers) == WINDOW
    assert numbers[:25] == list(range(25)), "the best"
    assert numbers[-1] == 9_999, "and the latest"
    assert "10000 of 10000 trials fit, of which the search sees the best and the latest, 100" in found.note
    assert len(found.to_json()) < 20_000
