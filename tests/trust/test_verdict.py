"""What fresh seeds say of a sweep's winner: intervals, the verdict, what is kept, how many train at once."""

import json
import socket
from dataclasses import replace
from typing import Any, cast

import pytest
import torch

import tuning
from tuning.confirmed import Confirmation, Confirmed, best_of
from tuning.data import Splits
from tuning.records import Mode, State
from tuning.sizing import Measured, Sizing
from tuning.spec import SweepSpec
from tuning.trust import again, confirm_texts, verdict
from tuning.trust.statistics import confidence, prediction, welch

# ---- the statistics ----------------------------------------------------------------------------


def test_intervals_are_students() -> None:
    """t of 2 degrees of freedom at 97.5 %: 4.302653 (any table)."""
    found, further = confidence([1.0, 2.0, 3.0]), prediction([1.0, 2.0, 3.0])
    assert found is not None and further is not None
    assert (found.low, found.high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert (further.low, further.high) == pytest.approx((2 - 4.302653 * (4 / 3) ** 0.5, 6.968276), rel=1e-6)
    assert 4.5 not in found and 4.4 in found
    assert confidence([2.0]) is prediction([2.0]) is None
    assert confidence([2.0, 2.0]) is prediction([2.0, 2.0, 2.0]) is None, "of no width: as if it were sure"


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [
        ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], 0.0213115),  # t = 3.674235 with 4 degrees of freedom
        ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], 1.0),
        ([1.0, 1.0], [1.0, 1.0], 1.0),
        ([1.0, 1.0], [2.0, 2.0], 1 / 3),  # of six ways to draw two of these four, two part them so
        ([1.0] * 5, [2.0] * 5, 1 / 126),
    ],
)
def test_welchs_test(one: list[float], other: list[float], p: float) -> None:
    assert welch(one, other) == welch(other, one) == pytest.approx(p, rel=1e-5)


# ---- the verdict -------------------------------------------------------------------------------


def summary(trial: int, *values: float | None, searched: float = 0.5) -> Confirmed:
    runs = [None if value is None else (value, {"test_loss": 2 * value}) for value in values]
    found = verdict.summary(trial, searched, runs, "val_loss")
    assert found is not None
    return found


GOOD, SAME, BETTER = (0.50, 0.51, 0.52), (0.49, 0.51, 0.52), (0.30, 0.31, 0.32)


@pytest.mark.parametrize(
    ("trials", "holds", "best", "words"),
    [
        ([summary(3, *GOOD)], True, 3, "there is no other trial"),
        ([summary(3, *BETTER), summary(1, *GOOD)], True, 3, "no other of the 2 is better"),
        ([summary(3, *GOOD), summary(1, *SAME)], True, 1, "trial 1 has the better mean"),
        ([summary(3, *GOOD), summary(1, *BETTER)], False, 1, "trial 1 is better than trial 3"),
        ([summary(3, *GOOD), summary(1, *SAME), summary(2, *BETTER)], False, 2, "trial 2 is better"),
        ([summary(3, 0.1, 0.1, None), summary(1, *GOOD)], True, 3, "; trial 3 diverged with 1 of 3"),
        ([summary(3, 0.1, None, None), summary(1, *GOOD)], False, 1, "trial 3 diverged with 2 of 3"),
        ([summary(3, 0.1, None, None)], False, 3, "trial 3 diverged with 2 of 3"),
        ([summary(3, *GOOD), summary(1, 0.1, 0.11, None)], False, 1, "trial 1 is better than trial 3"),
        ([summary(3, *GOOD), summary(1, 0.1, None, None)], True, 3, "no other of the 2"),
    ],
)
def test_the_winner_is_the_best_unless_another_is_better_by_more_than_chance_makes(
    trials: list[Confirmed], holds: bool, best: int, words: str
) -> None:
    found = verdict.judge("val_loss", "min", 3, trials)
    assert (found.holds, found.best.trial) == (holds, best)
    assert words in found.verdict


def test_with_many_others_a_difference_must_be_larger() -> None:
    """p = 0.021 for one other, which of four is no more than chance makes."""
    winner, other = summary(0, 4.0, 5.0, 6.0), summary(1, 1.0, 2.0, 3.0)
    assert not verdict.judge("val_loss", "min", 3, [winner, other]).holds
    others = [other, *(summary(number, 9.0, 9.1, 9.2) for number in (2, 3, 4))]
    assert verdict.judge("val_loss", "min", 3, [winner, *others]).holds


@pytest.mark.parametrize(("mode", "flattered"), [("max", -0.25), ("min", 0.25)])
def test_a_figure_flatters_by_what_it_is_better_than_what_was_held_out(mode: Mode, flattered: float) -> None:
    found = summary(0, 0.25, 0.5, 0.75, searched=0.75)
    assert found.mean == 0.5 and found.test_means == {"test_loss": 1.0}
    assert found.flattered(mode) == flattered
    assert replace(found, held_out=None).flattered(mode) == -flattered, "of an earlier version: than the mean"
    assert verdict.is_typical(found) and not verdict.is_typical(summary(0, 0.25, 0.26, searched=0.75))


def test_the_interval_of_what_was_held_out_is_its_own() -> None:
    found, tested = summary(0, 0.25, 0.5, None, 0.75), confidence([0.5, 1.0, 1.5])
    assert found.held_out is not None and tested is not None
    assert (found.held_out.metric, found.held_out.mean) == ("test_loss", 1.0)
    assert (found.held_out.low, found.held_out.high) == (0.0, tested.high), "no loss is below 0"


def test_one_seed_that_did_not_diverge_says_nothing_of_chance() -> None:
    found = summary(0, 0.25, None, searched=0.75)
    assert (found.low, found.high, verdict.is_typical(found)) == (None, None, None)
    judged = verdict.judge("val_loss", "min", 2, [found])
    assert judged.metrics() == {"confirmed_mean": 0.25, "confirmed_test_loss_mean": 0.5}
    (row,) = (line for line in confirm_texts.text("x", judged).splitlines() if line.startswith("    0"))
    assert row.split()[:7] == ["0", "0.75", "0.25", "-", "0.5", "-", "-0.25"]
    assert row.endswith("diverged with 1 of 2 seeds")
    assert Confirmation.from_plain(json.loads(json.dumps(judged.to_plain()))) == judged


def test_seeds_that_come_to_one_accuracy_tell_no_interval() -> None:
    found = verdict.judge("val_loss", "min", 2, [summary(0, 0.943, 0.943, searched=0.945)])
    assert (found.best.low, found.best.high, verdict.is_typical(found.best)) == (None, None, None)
    said = confirm_texts.text("x", found)
    assert confirm_texts.NO_SPREAD in said and "unusually far" not in said
    assert confirm_texts.NO_SPREAD not in confirm_texts.text("x", FOUND)


def test_a_winner_that_is_alone_is_not_said_to_hold() -> None:
    said = confirm_texts.text("x", verdict.judge("val_loss", "min", 3, [summary(3, *GOOD)]))
    assert "verdict     not compared: there is no other trial to compare trial 3 with" in said


def test_a_winner_that_always_diverged_is_not_the_best() -> None:
    found = verdict.judge("val_loss", "min", 3, [summary(1, *SAME)], hopeless=[0], winner=0)
    assert not found.holds and found.best.trial == 1
    assert found.verdict == "trial 0 diverged with every fresh seed"
    assert (found.winner, found.hopeless, found.runs(0)) == (0, (0,), [None] * 3)
    beside = verdict.judge("val_loss", "min", 3, [summary(0, *GOOD)], hopeless=[5], winner=0)
    assert beside.holds and beside.verdict.endswith("; diverged with every fresh seed: 5")


def test_of_a_trial_that_always_diverged_there_is_no_mean() -> None:
    assert verdict.summary(0, 0.5, [None, None]) is None


# ---- what is kept ------------------------------------------------------------------------------

FOUND = verdict.judge("val_loss", "min", 4, [summary(0, *GOOD, 0.5), summary(1, *SAME, None)], hopeless=[5])


@pytest.mark.parametrize(
    ("metric", "values", "low", "high"),
    [
        ("val_accuracy", (0.9, 1.0), 0.3147, 1.0),
        ("val_loss", (0.1, 0.2), 0.0, 0.7853),
        ("own", (0.1, 0.2), -0.4853, 0.7853),
    ],
)
def test_an_interval_holds_no_value_that_a_metric_cannot_have(
    metric: str, values: tuple[float, ...], low: float, high: float
) -> None:
    found = verdict.summary(0, 0.5, [(value, {}) for value in values], metric)
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_a_confirmation_comes_back_from_json_as_it_was() -> None:
    assert Confirmation.from_plain(json.loads(json.dumps(FOUND.to_plain()))) == FOUND
    assert FOUND.runs(1) == [*((value, {"test_loss": 2 * value}) for value in SAME), None]
    assert FOUND.runs(7) == []


PLAIN = FOUND.to_plain()
HELD_OUT = PLAIN["trials"][0]["held_out"]


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        {},
        {**PLAIN, "format": 1},
        {**PLAIN, "winner": "first"},
        {**PLAIN, "hopeless": ["third"]},
        {key: value for key, value in PLAIN.items() if key != "winner"},
        {**PLAIN, "mode": "best"},
        {**PLAIN, "trials": []},
        {**PLAIN, "trials": [{"trial": 0}]},
        {**PLAIN, "trials": [{**PLAIN["trials"][0], "mean": "high"}]},
        {**PLAIN, "trials": [{**PLAIN["trials"][0], "test": [3]}]},
        {**PLAIN, "trials": [{**PLAIN["trials"][0], "held_out": {"metric": "test_loss", "mean": "high"}}]},
        {**PLAIN, "trials": [{**PLAIN["trials"][0], "low": "none"}]},
        {**PLAIN, "trials": [{**PLAIN["trials"][0], "low": None}]},
        {**PLAIN, "trials": [PLAIN["trials"][0], {**PLAIN["trials"][1], "held_out": None}]},
        {
            **PLAIN,
            "trials": [{**PLAIN["trials"][0], "held_out": {**PLAIN["trials"][0]["held_out"], "metric": 3}}],
        },
        {**PLAIN, "more": 1},
    ],
)
def test_what_is_no_confirmation_is_none(plain: object) -> None:
    assert Confirmation.from_plain(plain) is None


def test_the_best_is_the_best_confirmed_trial_that_the_study_has() -> None:
    trials = [
        tuning.TrialRecord(
            number=n, state=State.COMPLETED, hyperparameters={}, value=v, values={1: v}, epoch=1
        )
        for n, v in enumerate((0.2, 0.3, 0.1))
    ]
    found = verdict.judge("val_loss", "min", 3, [summary(0, *GOOD), summary(1, *SAME)])
    assert best_of(trials, "min", found) == trials[1]
    assert best_of(trials, "min", None) == trials[2]
    assert best_of([trials[2]], "min", found) == trials[2]


# ---- how many at once --------------------------------------------------------------------------

HERE = f"CPU of {socket.gethostname()}"


def rates(*found: float) -> tuple[Measured, ...]:
    """Return what sizes 1, 2, 4, ... were measured to be."""
    return tuple(Measured(size=2**n, trials_per_s=rate, memory_bytes=1) for n, rate in enumerate(found))


@pytest.mark.parametrize(
    ("known", "device", "count", "here", "size", "seconds"),
    [
        pytest.param(
            rates(1, 2, 4), HERE, 25, (rates(1, 2, 4, 8, 16), ""), 25, 25 / 16, id="larger ones pay"
        ),
        pytest.param(
            rates(1, 2, 4), HERE, 25, (rates(1, 2, 4, 3, 2), ""), 4, 25 / 4, id="larger ones do not"
        ),
        pytest.param(
            rates(1, 2, 4), HERE, 25, (rates(1, 2, 4, 8), "no room"), 8, 25 / 8, id="they do not fit"
        ),
        pytest.param(rates(1, 2, 4), HERE, 4, None, 4, 1.0, id="all fit into what was measured"),
        pytest.param(rates(1, 3, 2), HERE, 25, None, 2, 25 / 3, id="the sweep found the fastest"),
        pytest.param(rates(1, 2), HERE, 25, None, 2, 25 / 2, id="the sweep found the largest that fits"),
        pytest.param(rates(1, 3, 2), "a GPU", 25, (rates(1, 2, 1), ""), 2, 25 / 2, id="on another device"),
        pytest.param(rates(1, 2, 4), HERE, 25, RuntimeError(), 8, 25 / 4, id="cannot be measured here"),
        pytest.param((), "", 25, RuntimeError(), 1, None, id="cannot be measured at all"),
    ],
)
def test_as_many_train_at_once_as_pay_here(
    known: tuple[Measured, ...],
    device: str,
    count: int,
    here: Any,
    size: int,
    seconds: float | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[int]] = []

    def measure(spec: Any, splits: Any, device: Any, sizes: list[int], memory_bytes: float) -> Any:
        asked.append(sizes)
        if isinstance(here, Exception):
            raise here
        return here

    monkeypatch.setattr(again.probe, "measure", measure)
    sweep = Sizing(size=1, why="", device=device, asked=(1, 2, 4), measured=known)
    spec, splits = SweepSpec(model="net", cohort="auto"), cast(Splits, None)
    found = again.pace(spec, sweep, splits, torch.device("cpu"), count)
    assert found == again.Pace(size, seconds)
    assert asked == ([] if here is None else [[1, 2, 4, 8, 16]])


def test_where_another_trial_has_the_better_mean_by_chance_the_text_says_so() -> None:
    found = verdict.judge("val_loss", "min", 3, [summary(3, *GOOD), summary(1, *SAME)])
    assert found.holds and found.best.trial == 1
    said = confirm_texts.text("x", found)
    assert "trial 1, by its mean, the likeliest though not shown to be better than trial 3;" in said
    alone = verdict.judge("val_loss", "min", 3, [summary(3, *GOOD)])
    assert "trial 3, by its mean; " in confirm_texts.text("x", alone)
