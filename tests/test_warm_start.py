"""A sweep that begins from an earlier one, as a user asks for it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tuning
from tests import sweeps
from tests.study.earlier_sweeps import NEW, OLD, confirmation
from tuning import ledger, notation, paths, plan
from tuning.cli import main
from tuning.records import State
from tuning.spec import SweepSpec
from tuning.study import Study


def keep(home: Path, spec: SweepSpec, trials: list[tuple[float, State]]) -> None:
    """Write the folder of a sweep that has ended."""
    where = paths.SweepPaths(home, str(spec.name))
    where.folder.mkdir(parents=True)
    where.spec.write_text(notation.dump(spec))
    study = Study(spec, where.journal, write=True)
    for value, state in trials:
        number = study.ask().number
        study.report(number, 1, value)
        study.tell(number, state)


@pytest.fixture
def known(home: Path) -> Path:
    """A home with the sweep `old`, of three trials."""
    keep(home, OLD, [(0.5, State.COMPLETED), (0.4, State.PRUNED), (0.3, State.DIVERGED)])
    return home


def sweep(*options: str) -> int:
    fixed = ("--set", "dropout=0.1", "--no-search", "bn_momentum", "--epochs", "3")
    ranges = ("--search", "momentum=0:0.9", "--trials", "4")
    return main(["sweep", "net", *fixed, *ranges, *options])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--name", "new", "--from", "odl"), "Unknown sweep in"),
        (("--name", "old2", "--from", "old2"), "this one's own name"),
        (("--from", "net"), "this one's own name"),
        (("--name", "new", "--from", "../old"), "A sweep's name must be"),
        (("--name", "new", "--from", "old", "--search", "lr=0.5:1"), "none of its 3 trials fits"),
    ],
)
def test_a_wrong_from_is_refused_before_anything_is_written(
    known: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    assert sweep(*options) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("error:") == 1
    assert [path.name for path in known.iterdir()] == ["old"]


def test_a_sweep_without_trials_is_no_beginning(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep(home, OLD, [])
    assert sweep("--name", "new", "--from", "old") == 2
    assert "it has none yet" in capsys.readouterr().err


def test_a_confirmed_sweep_hands_on_what_its_seeds_confirm(home: Path) -> None:
    keep(home, OLD, [(0.5, State.COMPLETED), (0.4, State.COMPLETED)])
    where = paths.SweepPaths(home, "old")
    Study(OLD, where.journal, write=True).facts.set_confirmation(confirmation(**{"0": 0.5}).to_plain())
    found = plan.look_at_earlier(NEW, paths.SweepPaths(home, "new"))
    assert found is not None
    confirmed, lucky = ledger.open_sweep("old").trials
    assert [one["lr"] for one in found.first] == [trial.hyperparameters["lr"] for trial in (confirmed, lucky)]


def test_a_dry_run_says_what_would_be_taken(known: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep("--name", "new", "--from", "old", "--cohort", "1", "--dry-run", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["from"].startswith("--from old: 2 of 3 trials fit; 1 left out (diverged or failed: 1)")
    assert facts["spec"]["from"] == "old"
    assert [path.name for path in known.iterdir()] == ["old"]


def test_every_option_has_a_key() -> None:
    spec = notation.from_plain({"model": "net", "from": "old"}, folder=Path.cwd())
    assert spec.from_ == "old"
    assert notation.to_plain_spec(spec)["from"] == "old"


def test_the_sweep_that_one_began_from_stays_as_it_was() -> None:
    assert notation.differences(NEW, replace(NEW, from_=None)) == ["from: old -> none"]
    assert notation.differences(NEW, replace(NEW, from_="older")) == ["from: old -> older"]


def test_a_whole_sweep_begins_from_another_and_goes_on_without_it(home: Path, ray_cluster: Any) -> None:
    keep(home, OLD, [(0.5, State.COMPLETED), (0.4, State.COMPLETED)])
    best = ledger.open_sweep("old").best_or_raise()
    spec = replace(
        NEW, id=None, trials=2, resources=tuning.Resources(cpus=1, gpus=0), max_concurrent=1, home=str(home)
    )
    result = tuning.sweep(spec)
    assert result.trials[0].hyperparameters == best.hyperparameters
    sweeps.assert_they_agree(result, sweeps.read("new", home, experiment="net"))
    shutil.rmtree(home / "old")
    result = tuning.sweep(replace(spec, trials=4))
    assert [trial.number for trial in result.trials] == [0, 1, 2, 3]
    sweeps.assert_they_agree(result, sweeps.read("new", home, experiment="net"))
    assert ledger.open_sweep("new").notes[0] == (
        "--from old: 2 of 2 trials fit; its best configuration is tried first"
    )
