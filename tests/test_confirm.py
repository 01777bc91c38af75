"""The best trials trained again with fresh seeds: what is claimed, what is kept, and which is the best."""

import json
import socket
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

import tuning
from tests import sweeps, trusted
from tuning import ledger, notation, plan, storage
from tuning.claim import claim
from tuning.cli import main
from tuning.confirmed import Confirmation, Confirmed, Run, best_of
from tuning.data import Splits
from tuning.engine import cohort
from tuning.records import Mode, State, TrialSpec, ranked
from tuning.sizing import Measured, Sizing
from tuning.spec import SweepSpec
from tuning.study import Study
from tuning.tracking import client
from tuning.trust import again, verdict
from tuning.trust.statistics import Interval, confidence, prediction, welch

# ---- the statistics ----------------------------------------------------------------------------


def test_intervals_are_students() -> None:
    """t of 2 degrees of freedom at 97.5 %: 4.302653 (any table)."""
    found, further = confidence([1.0, 2.0, 3.0]), prediction([1.0, 2.0, 3.0])
    assert (found.low, found.high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert (further.low, further.high) == pytest.approx((2 - 4.302653 * (4 / 3) ** 0.5, 6.968276), rel=1e-6)
    assert confidence([2.0]) == Interval(2.0, 2.0)
    assert 4.5 not in found and 4.4 in found


@pytest.mark.parametrize(
    ("one", "other", "p"),
    [
        ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], 0.0213115),  # t = 3.674235 with 4 degrees of freedom
        ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], 1.0),
        ([1.0, 1.0], [1.0, 1.0], 1.0),
        ([1.0, 1.0], [2.0, 2.0], 0.0),
    ],
)
def test_welchs_test(one: list[float], other: list[float], p: float) -> None:
    assert welch(one, other) == welch(other, one) == pytest.approx(p, rel=1e-5)


# ---- the verdict -------------------------------------------------------------------------------


def summary(trial: int, *values: float | None, searched: float = 0.5) -> Confirmed:
    runs = [None if value is None else (value, {"test_loss": 2 * value}) for value in values]
    found = verdict.summary(trial, searched, runs)
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
        ([summary(3, 0.1, 0.1, None), summary(1, *GOOD)], False, 1, "trial 3 diverged with 1 of 3"),
        ([summary(3, *GOOD), summary(1, 0.1, 0.1, None)], True, 3, "no other of the 2"),
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


@pytest.mark.parametrize(("mode", "flattered"), [("max", 0.25), ("min", -0.25)])
def test_a_figure_flatters_by_what_it_is_better_than_the_mean(mode: Mode, flattered: float) -> None:
    found = summary(0, 0.25, 0.5, 0.75, searched=0.75)
    assert found.flattered(mode) == flattered
    assert found.test_means == {"test_loss": 1.0}
    assert verdict.is_typical(found) and not verdict.is_typical(summary(0, 0.25, 0.26, searched=0.75))


def test_a_winner_that_always_diverged_is_not_the_best() -> None:
    found = verdict.judge("val_loss", "min", 3, [summary(1, *SAME)], hopeless=[0], winner=0)
    assert not found.holds and found.best.trial == 1
    assert found.verdict == "trial 0 diverged with every fresh seed"
    assert (found.winner, found.hopeless, found.has(0)) == (0, (0,), True)
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
    assert FOUND.has(1) and not FOUND.has(7)


PLAIN = FOUND.to_plain()


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


# ---- a whole confirmation ----------------------------------------------------------------------


def facts(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    assert main([*words, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture(scope="module")
def confirmed(swept_to_trust: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose sweep `together` has its three best trials confirmed, two seeds each."""
    home = trusted.copied(swept_to_trust, tmp_path_factory.mktemp("confirmed") / "home")
    assert main(["confirm", "together", "--top", "3", "--seeds", "2", "--home", str(home)]) in (0, 1)
    return home


@pytest.fixture
def copy(swept_to_trust: Path, tmp_path: Path) -> Path:
    return trusted.copied(swept_to_trust, tmp_path / "copy")


def kept(home: Path) -> Confirmation:
    found = ledger.open_sweep("together", str(home)).confirmation
    assert found is not None
    return found


def test_the_best_completed_trials_are_trained_with_seeds_of_their_own(
    confirmed: Path, swept_to_trust: Path
) -> None:
    sweep, found = ledger.open_sweep("together", str(swept_to_trust)), kept(confirmed)
    completed = [t for t in sweep.trials if t.state is State.COMPLETED and t.value is not None]
    ranked = sorted(completed, key=lambda t: (t.value or 0.0, t.number))[:3]
    assert [(one.trial, one.searched) for one in found.trials] == [(t.number, t.value) for t in ranked]
    values = [value for one in found.trials for value in (*one.values, one.searched)]
    assert len(set(values)) == 9, "no two trainings are the same"
    assert all(set(metrics or {}) == {"test_loss"} for one in found.trials for metrics in one.test)


def test_a_seed_means_the_same_however_many_there_are(confirmed: Path, copy: Path) -> None:
    assert main(["confirm", "together", "--top", "1", "--seeds", "3", "--home", str(copy)]) == 0
    (again_,), (first, *_) = kept(copy).trials, kept(confirmed).trials
    assert again_.values[:2] == pytest.approx(first.values, rel=1e-3)
    assert again_.trial == first.trial


def test_best_status_load_best_and_export_prefer_what_is_confirmed_and_say_so(
    confirmed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, home = kept(confirmed), ("--home", str(confirmed))
    best = facts(capsys, "best", "together", *home)
    assert best["trial"] == found.best.trial and best["value"] == found.best.searched
    assert best["confirmed"]["mean"] == found.best.mean and best["confirmed"]["seeds"] == 2
    assert best["confirmed"]["interval"] == [found.best.low, found.best.high]
    assert best["confirmed"]["not_confirmed"] is None and set(best["test"]) == {"test_loss"}
    assert facts(capsys, "status", "together", *home)["best"] == {
        key: value for key, value in best.items() if key not in ("run_id", "champion")
    }
    assert best["champion"] == {"model": "models:/together@champion", "trial": found.best.trial}
    assert tuning.load_best("together", home=str(confirmed)).trial.number == found.best.trial
    assert main(["best", "together", *home]) == 0
    line = f"confirmed   val_loss {found.best.mean:.5g} in the mean of 2 fresh seeds, 95 % interval"
    said = capsys.readouterr().out
    assert line in said and f"champion    models:/together@champion: trial {found.best.trial}" in said
    assert main(["export", "together", "--to", str(tmp_path / "best.pt"), *home]) == 0
    exported = torch.load(tmp_path / "best.pt", weights_only=True)
    own = tuning.load_best("together", home=str(confirmed), trial=found.best.trial).model.state_dict()
    assert all(map(torch.equal, exported.values(), own.values()))


def test_mlflow_says_it_too_and_the_doctor_agrees(
    confirmed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = kept(confirmed)
    parent = sweeps.read("together", confirmed).parent
    assert (
        parent.data.tags["tuning.confirmed_trial"]
        == parent.data.tags["tuning.best_trial"]
        == str(found.best.trial)
    )
    assert parent.data.metrics["confirmed_mean"] == found.best.mean
    assert parent.data.metrics["val_loss"] == found.best.searched
    assert main(["doctor", "together", "--home", str(confirmed)]) == 0, capsys.readouterr().out


def test_the_report_says_by_what_the_best_is_the_best(confirmed: Path) -> None:
    best, file = kept(confirmed).best, confirmed / "together/report.html"
    said = f"Confirmed: {best.mean:.5g} in the mean of 2 fresh seeds"
    assert f"The best is trial {best.trial}" in file.read_text() and said in file.read_text()


def test_the_confirmed_model_is_the_champion_and_its_run_bears_the_tag_of_the_best(confirmed: Path) -> None:
    best, ledgers = kept(confirmed).best, sweeps.read("together", confirmed)
    champion = ledgers.client.get_model_version_by_alias("together", "champion")
    assert champion.tags["tuning.trial"] == str(best.trial)
    assert float(champion.tags["tuning.confirmed_mean"]) == best.mean
    marked = [n for n, run in ledgers.children.items() if run.data.tags.get("tuning.best") == "true"]
    assert marked == [best.trial]


def test_a_later_trial_that_looks_better_is_not_confirmed_yet(
    confirmed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = trusted.copied(confirmed, tmp_path / "later")
    study = Study(
        notation.load(home / "together" / "spec.yaml"), home / "together" / "study.journal", write=True
    )
    number = study.ask().number
    study.report(number, 1, 1e-6)
    study.tell(number, State.COMPLETED)
    best = facts(capsys, "best", "together", "--home", str(home))
    assert best["trial"] == kept(home).best.trial
    assert best["confirmed"]["not_confirmed"] == {"trial": number, "value": 1e-6}
    assert main(["best", "together", "--home", str(home)]) == 0
    said = f"trial {number} has 1e-06 by the search's figure, not confirmed yet: `tuning confirm together`"
    assert said in capsys.readouterr().out


def test_what_it_prints_and_its_json_say_the_same(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["confirm", "together", "--top", "2", "--seeds", "2", "--home", str(copy)])
    said = capsys.readouterr()
    assert "2 trials, 2 fresh seeds each, 9 epochs: 4 at once" in said.err
    found = facts(capsys, "confirm", "together", "--top", "2", "--seeds", "2", "--home", str(copy), code=code)
    assert found["holds"] is (code == 0) and found["verdict"] in said.out
    assert [one["trial"] for one in found["trials"]] == [one.trial for one in kept(copy).trials]
    assert all(f"{one['mean']:.5g}" in said.out for one in found["trials"])
    assert "all were shown their rows in one order" in said.out


# ---- one confirmation after another ------------------------------------------------------------


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[int, Sequence[float | None]], list[int]]:
    """What trials come to by seed, to be filled in; and the numbers of all that were trained."""
    found: dict[int, Sequence[float | None]] = {}
    numbers: list[int] = []

    def train(wanted: Sequence[TrialSpec], *_: Any) -> Iterator[dict[int, Run]]:
        numbers.extend(one.number for one in wanted)
        values = {one.number: found[one.number // again.MOST_SEEDS][one.number % 1000] for one in wanted}
        yield {n: None if value is None else (value, {"test_loss": value}) for n, value in values.items()}

    monkeypatch.setattr(again, "train", train)
    monkeypatch.setattr(again, "pace", lambda *_: again.Pace(1))
    return found, numbers


def best_two(home: Path) -> tuple[int, int]:
    first, second, *_ = ranked(
        (t for t in ledger.open_sweep("together", str(home)).trials if t.state is State.COMPLETED), "min"
    )
    return first.number, second.number


def test_what_was_confirmed_stays_the_best_until_a_better_mean_comes(
    copy: Path, trained: tuple[dict[int, Sequence[float | None]], list[int]]
) -> None:
    first, second = best_two(copy)
    found, numbers = trained
    found |= {first: (0.50, 0.60, 0.26), second: (0.40, 0.50, 0.48)}
    home = ("--home", str(copy))

    def champion() -> str:
        client = sweeps.read("together", copy).client
        return str(client.get_model_version_by_alias("together", "champion").tags["tuning.trial"])

    assert main(["confirm", "together", "--top", "2", "--seeds", "2", *home]) == 0
    assert (kept(copy).best.trial, champion()) == (second, str(second))
    assert numbers == [first * 1000, first * 1000 + 1, second * 1000, second * 1000 + 1]
    numbers.clear()

    assert main(["confirm", "together", "--top", "1", "--seeds", "2", *home]) == 0
    assert [one.trial for one in kept(copy).trials] == [first, second] and numbers == []
    assert (kept(copy).best.trial, champion()) == (second, str(second))

    assert main(["confirm", "together", "--top", "1", "--seeds", "3", *home]) == 0
    assert numbers == [first * 1000 + 2, second * 1000 + 2], "all have as many seeds"
    assert [one.values for one in kept(copy).trials] == [found[first], found[second]]
    assert (kept(copy).best.trial, champion()) == (first, str(first)), "though the mean of 2 was 0.45"


def test_a_winner_that_always_diverged_is_named_and_asked_for_no_more(
    copy: Path,
    trained: tuple[dict[int, Sequence[float | None]], list[int]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = best_two(copy)
    found, numbers = trained
    found |= {first: (None, None), second: (0.40, 0.50)}
    words = ("confirm", "together", "--top", "2", "--seeds", "2", "--home", str(copy))
    assert main([*words]) == 1
    said = capsys.readouterr().out
    assert "confirm     2 trials of together by val_loss" in said
    assert f"winner      trial {first}: diverged with every fresh seed" in said
    assert f"does NOT hold: trial {first} diverged with every fresh seed" in said
    numbers.clear()
    again_ = facts(capsys, *words, code=1)
    assert (again_["winner"], again_["best"], again_["hopeless"], numbers) == (first, second, [first], [])
    best = facts(capsys, "best", "together", "--home", str(copy))
    assert best["trial"] == second and best["confirmed"]["not_confirmed"] is None
    assert main(["best", "together", "--home", str(copy)]) == 0
    assert f"diverged with every fresh seed: trial {first}" in capsys.readouterr().out


# ---- what may go wrong -------------------------------------------------------------------------


def test_a_cohort_that_does_not_fit_into_memory_is_halved(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train, sizes = cohort.train, []

    def limited(task: Any, *args: Any, **keys: Any) -> Any:
        sizes.append(len(task.members))
        if len(task.members) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train(task, *args, **keys)

    monkeypatch.setattr(again.cohort, "train", limited)
    assert main(["confirm", "together", "--top", "2", "--seeds", "2", "--home", str(copy)]) in (0, 1)
    assert sizes == [4, 2, 2] and "4 at once do not fit into memory: halved" in capsys.readouterr().err


def test_what_an_interrupted_one_has_trained_to_the_end_is_not_trained_again(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train, trained = cohort.train, []

    def interrupted(task: Any, *args: Any, **keys: Any) -> Any:
        trained.append([member.trial.number for member in task.members])
        if len(trained) == 2:
            raise KeyboardInterrupt
        return train(task, *args, **keys)

    words = ["confirm", "together", "--top", "2", "--seeds", "2", "--home", str(copy)]
    monkeypatch.setattr(again, "pace", lambda *_: again.Pace(2))
    monkeypatch.setattr(again.cohort, "train", interrupted)
    assert main(words) == 130
    assert capsys.readouterr().err.endswith("interrupted\n")
    assert ledger.open_sweep("together", str(copy)).confirmation is None
    assert main(words) in (0, 1)
    assert "2 of 4 trainings known from before" in capsys.readouterr().err
    assert trained[1:] == [trained[1]] * 2 and not set(trained[0]) & set(trained[1])
    assert [len(one.values) for one in kept(copy).trials] == [2, 2]


def test_a_tracking_server_that_is_away_costs_a_warning_and_is_told_without_training(
    copy: Path,
    trained: tuple[dict[int, Sequence[float | None]], list[int]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def away(uri: str) -> Any:
        raise OSError("no route to host")

    first, second = best_two(copy)
    trained[0].update({first: (0.5, 0.6), second: (0.4, 0.5)})
    with monkeypatch.context() as without:
        without.setattr(client, "connect", away)
        assert main(["confirm", "together", "--top", "2", "--seeds", "2", "--home", str(copy)]) == 0
    way = "was not told: no route to host; once it answers, `tuning doctor together --fix` writes it there"
    assert way in capsys.readouterr().err
    found = kept(copy)
    assert found.seeds == 2
    sweep = ledger.open_sweep("together", str(copy))
    study = Study(sweep.spec, sweep.paths.journal, write=False)
    assert not study.facts.is_champion(found.best.trial), "the next driver registers it, with its mean"
    assert study.facts.confirmed_mean(found.best.trial) == found.best.mean

    assert main(["doctor", "together", "--fix", "--home", str(copy)]) == 0, capsys.readouterr().out
    ledgers = sweeps.read("together", copy)
    champion = ledgers.client.get_model_version_by_alias("together", "champion")
    assert champion.tags["tuning.trial"] == ledgers.parent.data.tags["tuning.confirmed_trial"] == str(second)
    assert champion.tags["tuning.confirmed_mean"] == repr(0.45)
    assert ledgers.parent.data.metrics["confirmed_mean"] == 0.45
    assert main(["doctor", "together", "--home", str(copy)]) == 0


def test_a_report_that_cannot_be_made_or_told_costs_a_warning_of_its_own(
    copy: Path,
    trained: tuple[dict[int, Sequence[float | None]], list[int]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: Any) -> Any:
        raise OSError("no space left")

    trained[0][best_two(copy)[0]] = (0.5, 0.6)
    words = ["confirm", "together", "--top", "1", "--seeds", "2", "--home", str(copy)]
    with monkeypatch.context() as broken:
        broken.setattr("tuning.report.write.write", full)
        assert main(words) == 0
    way = "warning: no report was made: no space left; `tuning report together` does"
    assert way in capsys.readouterr().err and kept(copy).seeds == 2
    monkeypatch.setattr(client, "attach", lambda *_: (None, "the disk of the server is full"))
    assert main(words) == 0
    assert "in MLflow at sqlite" in (said := capsys.readouterr().err)
    assert "the disk of the server is full; `tuning report together` puts it there" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--top", "0"], "--top must be at least 1, but got 0"),
        (["--seeds", "1"], "--seeds must be at least 2"),
        (["--seeds", "1001"], "at most 1000, but got 1001"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    swept_to_trust: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["confirm", "together", *options, "--home", str(swept_to_trust)]) == 2
    assert message in capsys.readouterr().err


def test_a_sweep_that_runs_is_refused(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with claim(copy / "together" / "driver.lock", "together"):
        assert main(["confirm", "together", "--home", str(copy)]) == 2
    assert "The sweep 'together' is running" in capsys.readouterr().err


def test_a_sweep_without_a_completed_trial_or_with_other_data_is_no_ground_for_one(
    tmp_path: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = plan.prepare(SweepSpec(model="net", name="demo", trials=9, home=str(tmp_path / "home")))
    storage.write(str(planned.paths.spec), notation.dump(replace(planned.spec, id="1" * 32)).encode())
    Study(planned.spec, planned.paths.journal, write=True).ask()
    assert main(["confirm", "demo", "--home", str(tmp_path / "home")]) == 1
    assert "has no completed trial to confirm" in capsys.readouterr().err
    trusted.told(copy, "together", '"fingerprint":"', '"fingerprint":"0')
    assert main(["confirm", "together", "--home", str(copy)]) == 1
    assert "its fingerprint differs" in capsys.readouterr().err
