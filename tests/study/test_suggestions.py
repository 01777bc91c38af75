"""What is suggested next, and configurations that a user has to be tried."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.study.studies import SEARCH, SPEC, Opener, plain, run
from tuning.space import Choice, Int
from tuning.study import Study

# ---- suggestions -------------------------------------------------------------------------------


def test_suggestions_lie_in_the_ranges_and_fixed_values_are_added(opened: Opener) -> None:
    search = {**SEARCH, "batch_size": Choice((16, 32)), "n_hidden": Int(2, 64, log=True)}
    spec = replace(SPEC, search=search, fixed={"optimizer": "adam", "weight_decay": 0.1})
    study = opened(spec)
    trials = [study.ask() for _ in range(20)]
    assert all(t.hyperparameters[key] in search[key] for t in trials for key in search)
    assert all(set(t.hyperparameters) == {*search, "optimizer", "weight_decay"} for t in trials)
    assert all(t.hyperparameters["weight_decay"] == 0.1 for t in trials)


def test_the_same_seed_suggests_the_same(tmp_path: Path) -> None:
    first, second = (Study(SPEC, tmp_path / name, write=True) for name in ("a", "b"))
    assert run(first, 14) == run(second, 14)  # ten random ones, then TPE's own


def test_another_seed_suggests_something_else(tmp_path: Path) -> None:
    first = Study(SPEC, tmp_path / "a", write=True)
    second = Study(replace(SPEC, seed=1), tmp_path / "b", write=True)
    assert run(first, 1) != run(second, 1)


def test_a_death_changes_no_suggestion(tmp_path: Path) -> None:
    """Every number is a function of what it is for: what has no memory cannot lose it."""
    whole = run(Study(SPEC, tmp_path / "a", write=True), 14)
    parts = [trial for _ in range(7) for trial in run(Study(SPEC, tmp_path / "b", write=True), 2)]
    assert parts == whole


def test_suggestions_after_a_reopen_do_not_repeat_earlier_ones(opened: Opener) -> None:
    rates = [trial.hyperparameters["lr"] for _ in range(4) for trial in run(opened(), 4)]
    assert len(set(rates)) == 16


def test_trials_in_flight_differ(opened: Opener) -> None:
    study = opened()
    rates = {study.ask().hyperparameters["lr"] for _ in range(16)}
    assert len(rates) == 16


def test_adagrad_trials_get_no_momentum_suggested(journal: Path, opened: Opener) -> None:
    search = {**SEARCH, "optimizer": Choice(("sgd", "adagrad"))}  # momentum stands before the optimizer
    study = opened(replace(SPEC, search=search, fixed={}))
    asked = [study.ask().hyperparameters for _ in range(20)]
    assert {one["optimizer"] for one in asked} == {"sgd", "adagrad"}
    assert all(("momentum" in one) == (one["optimizer"] == "sgd") for one in asked)
    stored = [trial.params for trial in plain(journal).trials]
    assert all(("momentum" in one) == (one["optimizer"] == "sgd") for one in stored)
    assert [record.hyperparameters for record in study.trials()] == asked


def test_fixed_values_that_a_trials_optimizer_does_not_have_are_left_out(opened: Opener) -> None:
    search = {"lr": SEARCH["lr"], "optimizer": Choice(("sgd", "adam"))}
    study = opened(replace(SPEC, search=search, fixed={"beta2": 0.99}))
    asked = [study.ask().hyperparameters for _ in range(20)]
    assert all(("beta2" in one) == (one["optimizer"] == "adam") for one in asked)
    assert [record.hyperparameters for record in study.trials()] == asked


# ---- configurations to try ---------------------------------------------------------------------

TRY = ({"lr": 0.1, "momentum": 0.5}, {"lr": 0.2, "momentum": 0.6})


def test_what_to_try_runs_first_and_as_it_is(opened: Opener) -> None:
    study = opened()
    study.enqueue(TRY)
    asked = [study.ask().hyperparameters for _ in range(3)]
    assert asked[:2] == [{**entry, "optimizer": "sgd"} for entry in TRY]
    assert asked[2]["lr"] not in (0.1, 0.2)


@pytest.mark.parametrize("num_asked", [0, 1, 2, 3])
def test_what_to_try_is_tried_once_also_after_a_reopen(opened: Opener, num_asked: int) -> None:
    study = opened()
    study.enqueue(TRY)
    before = [study.ask() for _ in range(num_asked)]
    study = opened()
    study.enqueue(TRY)
    after = [study.ask() for _ in range(4 - num_asked)]
    rates = [trial.hyperparameters["lr"] for trial in (*before, *after)]
    assert rates[:2] == [0.1, 0.2]
    assert len(set(rates)) == 4
    assert [trial.number for trial in (*before, *after)] == [0, 1, 2, 3]


@pytest.mark.parametrize("num_records", range(1, 4))
def test_what_to_try_is_tried_once_wherever_a_death_cuts_the_journal(
    journal: Path, opened: Opener, num_records: int
) -> None:
    opened().enqueue(TRY)
    records = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(records[:num_records]))
    study = opened()
    study.enqueue(TRY)
    asked = [study.ask().hyperparameters["lr"] for _ in range(3)]
    assert asked[:2] == [0.1, 0.2] and asked[2] not in (0.1, 0.2)


def test_what_an_earlier_version_has_tried_is_not_tried_again(journal: Path, opened: Opener) -> None:
    """It kept how many it had enqueued in a record of its own."""
    study = opened()
    study.enqueue(TRY[:1])
    plain(journal).set_user_attr("enqueued", 1)
    study = opened()
    study.enqueue(TRY)
    assert [study.ask().hyperparameters["lr"] for _ in range(2)] == [0.1, 0.2]


def test_a_configuration_that_is_given_twice_is_tried_twice(opened: Opener) -> None:
    study = opened()
    study.enqueue((TRY[0], TRY[0]))
    assert [study.ask().hyperparameters["lr"] for _ in range(2)] == [0.1, 0.1]


def test_what_waits_to_be_tried_is_no_trial_yet(opened: Opener) -> None:
    study = opened()
    study.enqueue(TRY)
    assert study.trials() == []
    assert study.unfinished() == []
    study.ask()
    assert [trial.number for trial in study.trials()] == [0]


def test_what_a_configuration_leaves_out_is_suggested(opened: Opener) -> None:
    study = opened()
    study.enqueue(({"lr": 0.1},))
    trial = study.ask()
    assert trial.hyperparameters["lr"] == 0.1
    assert trial.hyperparameters["momentum"] in SEARCH["momentum"]


def test_what_configurations_leave_out_is_suggested_anew_for_each(opened: Opener) -> None:
    study = opened()
    study.enqueue(({"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}))
    momenta = [study.ask().hyperparameters["momentum"] for _ in range(4)]
    assert len(set(momenta)) == 4


def test_a_configuration_can_give_what_is_not_searched(opened: Opener) -> None:
    study = opened()
    study.enqueue(({"lr": 0.1, "optimizer": "adam", "weight_decay": 0.01},))
    trial = study.ask()
    assert trial.hyperparameters.items() >= {"lr": 0.1, "optimizer": "adam", "weight_decay": 0.01}.items()
    assert study.ask().hyperparameters["optimizer"] == "sgd"
    assert opened().trials()[0].hyperparameters == trial.hyperparameters


def test_an_adagrad_configuration_has_no_momentum(journal: Path, opened: Opener) -> None:
    search = {**SEARCH, "optimizer": Choice(("sgd", "adagrad"))}
    study = opened(replace(SPEC, search=search, fixed={}))
    study.enqueue(({"optimizer": "adagrad", "lr": 0.1},))
    assert study.ask().hyperparameters == {"optimizer": "adagrad", "lr": 0.1}
    assert "momentum" not in plain(journal).trials[0].params
