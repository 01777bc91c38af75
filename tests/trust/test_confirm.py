"""The best trials trained again with fresh seeds: what is kept, and which is the best."""

import errno
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tuning
from tests import sweeps, trusted
from tuning import ledger, notation, plan, storage
from tuning.claim import claim
from tuning.cli import main
from tuning.confirmed import Confirmation, Run
from tuning.engine import cohort
from tuning.records import State, TrialSpec, ranked
from tuning.spec import SweepSpec
from tuning.study import Study
from tuning.tracking import client
from tuning.trust import again
from tuning.trust import confirm as confirming

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
    said = capsys.readouterr().err
    assert "2 of these 4 trainings are kept; the same command goes on" in said
    assert said.endswith("interrupted\n")
    assert ledger.open_sweep("together", str(copy)).confirmation is None
    assert main(words) in (0, 1)
    assert "2 of 4 trainings known from before" in capsys.readouterr().err
    assert trained[1:] == [trained[1]] * 2 and not set(trained[0]) & set(trained[1])
    assert [len(one.values) for one in kept(copy).trials] == [2, 2]


@pytest.mark.parametrize("kept_before", [5, [[1000]], [[1000, [0.5]]], [[1000, [math.nan, {}]]], [[1000, 0]]])
def test_what_cannot_be_read_of_an_interrupted_one_is_trained_again(copy: Path, kept_before: object) -> None:
    sweep = ledger.open_sweep("together", str(copy))
    study = Study(sweep.spec, sweep.paths.journal, write=True)
    study._study.set_user_attr("fresh_runs", kept_before)
    assert study.facts.fresh_runs() == {}


def test_a_study_that_cannot_be_opened_is_one_message(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(confirming, "Study", full)
    assert main(["confirm", "together", "--home", str(copy)]) == 1
    assert "error: What was confirmed cannot be kept: " in capsys.readouterr().err


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


def test_that_fewer_completed_than_were_asked_for_is_said(
    copy: Path,
    trained: tuple[dict[int, Sequence[float | None]], list[int]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    sweep = ledger.open_sweep("together", str(copy))
    completed = [trial.number for trial in sweep.trials if trial.state is State.COMPLETED]
    trained[0].update((number, (0.5, 0.6)) for number in completed)
    assert main(["confirm", "together", "--top", "99", "--seeds", "2", "--home", str(copy)]) in (0, 1)
    assert f"only {len(completed)} of {len(sweep.trials)} trials completed" in capsys.readouterr().err


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
    assert "has no completed trial to confirm (0 of 9 have ended)" in capsys.readouterr().err
    trusted.told(copy, "together", '"fingerprint":"', '"fingerprint":"0')
    assert main(["confirm", "together", "--home", str(copy)]) == 1
    assert "its fingerprint differs" in capsys.readouterr().err
