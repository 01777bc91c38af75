"""The best trials trained again with fresh seeds: what is kept, and which is the best."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

import tuning
from tests import sweeps, trusted
from tests.study.earlier_sweeps import record
from tests.trust.confirmations import Trained, best_two, facts, kept
from tuning import data, ledger, notation
from tuning.cli import main
from tuning.confirmed import Run
from tuning.records import State
from tuning.study import Study
from tuning.trust import again


@pytest.fixture(scope="module")
def confirmed(swept_to_trust: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose sweep `together` has its three best trials confirmed, two seeds each."""
    home = trusted.copied(swept_to_trust, tmp_path_factory.mktemp("confirmed") / "home")
    assert main(["confirm", "together", "--top", "3", "--seeds", "2", "--home", str(home)]) in (0, 1)
    return home


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


def test_the_best_epoch_of_each_seed_is_measured_on_the_test_split() -> None:
    """Its targets lie a thousand away from all others: no other split gives such a loss."""
    spec = tuning.SweepSpec(model="net", metric="val_loss", mode="min", epochs=2, batch_size=64)
    splits = data.load("noisy_square", seed=0)
    x, y = splits.test[:]
    away = replace(splits, test=TensorDataset(x, y + 1000))
    (one,) = again.members(record(3), [0])
    found: dict[int, Run] = {}
    for event in again.train([one], spec, away, torch.device("cpu"), 1):
        found |= event if isinstance(event, dict) else {}
    ((value, tested),) = filter(None, found.values())
    assert value < 10 and tested == {"test_loss": pytest.approx(1e6, rel=0.1)}


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
    command = f"tuning confirm together --home {home}"
    assert best["confirmed"]["not_confirmed"] == {"trial": number, "value": 1e-6, "confirm": command}
    assert main(["best", "together", "--home", str(home)]) == 0
    said = f"trial {number} has 1e-06 by the search's figure, not confirmed yet: `{command}`"
    assert said in capsys.readouterr().out


def test_what_it_prints_and_its_json_say_the_same(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["confirm", "together", "--top", "2", "--seeds", "2", "--home", str(copy)])
    said = capsys.readouterr()
    assert "2 trials, 2 fresh seeds each, 9 epochs: 4 at once" in said.err
    found = facts(capsys, "confirm", "together", "--top", "2", "--seeds", "2", "--home", str(copy), code=code)
    assert found["holds"] is (code == 0) and found["verdict"] in said.out
    assert [one["trial"] for one in found["trials"]] == [one.trial for one in kept(copy).trials]
    assert all(f"{one['mean']:.5g}" in said.out for one in found["trials"])
    assert "All seeds were shown the rows in one order" in said.out


def test_what_was_confirmed_stays_the_best_until_a_better_mean_comes(copy: Path, trained: Trained) -> None:
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
    trained: Trained,
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
