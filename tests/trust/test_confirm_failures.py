"""What may stand against a confirmation, and what is kept nevertheless."""

import errno
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import sweeps, trusted
from tests.trust.confirmations import Trained, best_two, kept
from tuning import ledger, notation, plan, storage
from tuning.claim import claim
from tuning.cli import main
from tuning.engine import cohort
from tuning.records import State
from tuning.spec import SweepSpec
from tuning.study import Study
from tuning.tracking import client
from tuning.trust import again
from tuning.trust import confirm as confirming


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
    trained: Trained,
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
    fix = f"`tuning doctor together --home {copy} --fix`"
    way = f"was not told: no route to host; once it answers, {fix} writes it there"
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
    trained: Trained,
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
    report = f"`tuning report together --home {copy}`"
    way = f"warning: no report was made: no space left; {report} makes one"
    assert way in capsys.readouterr().err and kept(copy).seeds == 2
    monkeypatch.setattr(client, "attach", lambda *_: (None, "the disk of the server is full"))
    assert main(words) == 0
    assert "in MLflow at sqlite" in (said := capsys.readouterr().err)
    assert f"the disk of the server is full; {report} puts it there" in said


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
    trained: Trained,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sweep = ledger.open_sweep("together", str(copy))
    completed = [trial.number for trial in sweep.trials if trial.state is State.COMPLETED]
    trained[0].update((number, (0.5, 0.6)) for number in completed)
    assert main(["confirm", "together", "--top", "99", "--seeds", "2", "--home", str(copy)]) in (0, 1)
    said = f"only trials that completed are confirmed, {len(completed)} of {len(sweep.trials)} here"
    assert said in capsys.readouterr().err


def test_that_the_models_code_has_changed_since_is_said(
    copy: Path, trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    trained[0][best_two(copy)[0]] = (0.5, 0.6)
    words = ["confirm", "together", "--top", "1", "--seeds", "2", "--home", str(copy)]
    sweep = ledger.open_sweep("together", str(copy))
    Study(sweep.spec, sweep.paths.journal, write=True).facts.set_source("another")
    assert main(words) == 0
    assert "mine.py:Net has changed since trials were trained" in capsys.readouterr().err


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
