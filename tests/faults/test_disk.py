"""A disk that takes nothing more, and what is left of a study that was lost."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

import models
import tuning
from tests import sweeps
from tests.faults.lines import spec
from tuning import cli, drive, plan, settle, storage
from tuning.records import State
from tuning.study import Study
from tuning.study.journal import BatchingBackend


def test_a_study_that_cannot_be_written_ends_the_sweep_and_says_why(
    own: Path, home: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(study: Study, number: int, *_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Study, "tell", full)
        result = tuning.sweep(spec(own, "good", trials=8))
    assert result.halted is not None and "No space left on device" in result.halted
    assert {trial.state for trial in result.trials} == {State.INTERRUPTED}
    assert sweeps.read("line", home).parent.info.status == "FAILED"
    again = tuning.sweep(spec(own, "good", trials=8))
    assert [trial.state.has_ended for trial in again.trials] == [True] * 8
    sweeps.assert_they_agree(again, sweeps.read("line", home))


def test_an_end_that_the_disk_did_not_take_costs_no_epoch(
    own: Path, home: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = BatchingBackend._append

    def full_at_the_end(self: BatchingBackend, logs: list[dict[str, Any]]) -> None:
        if any(log.get("state") == TrialState.COMPLETE for log in logs):
            self._failure = OSError(28, "No space left on device")
        append(self, logs)

    with monkeypatch.context() as disk:
        disk.setattr(BatchingBackend, "_append", full_at_the_end)
        with pytest.raises(tuning.SweepError, match=r"No space left on device.*tuning resume line"):
            tuning.sweep(spec(own, "good", trials=1))
    assert list((home / "line" / "resume").glob("*.pt")), "its last state is kept"
    left = sweeps.read("line", home)
    assert {run.info.status for run in left.children.values()} == {"SCHEDULED"}, "none is left RUNNING"
    assert "tuning.best_trial" not in left.parent.data.tags, "nobody hears of what the next driver undoes"
    again = tuning.sweep(spec(own, "good", trials=1))
    assert again.states == {"completed": 1} and not list((home / "line" / "resume").iterdir())
    sweeps.assert_they_agree(again, sweeps.read("line", home))


def test_a_storage_that_cannot_be_written_ends_the_sweep_and_costs_no_trial(
    own: Path, home: Path, ray_cluster: Any
) -> None:
    tuning.sweep(spec(own, "good", trials=1))
    checkpoints, aside = home / "line" / "checkpoints", home / "line" / "aside"
    checkpoints.rename(aside)
    checkpoints.write_text("a file where a folder should be")
    result = tuning.sweep(spec(own, "good", trials=3))
    assert result.halted is not None
    assert f"{home}/line cannot be written" in result.halted and f"{checkpoints}" in result.halted
    assert result.states == {"completed": 1, "interrupted": 1}, "no trial is to blame"
    checkpoints.unlink()
    aside.rename(checkpoints)
    again = tuning.sweep(spec(own, "good", trials=3))
    assert again.states == {"completed": 3}
    sweeps.assert_they_agree(again, sweeps.read("line", home))


@pytest.mark.parametrize("at", ["claim", "open_study"], ids=["before it has a folder", "later"])
def test_of_several_sweeps_one_that_cannot_go_on_ends_alone(
    home: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], at: str
) -> None:
    reached = getattr(drive, at)

    def broken(*given: Any) -> Any:
        name = given[1] if at == "claim" else given[0].paths.name
        if name == "all-net":
            raise OSError(5, "Input/output error")
        return reached(*given)

    monkeypatch.setattr(drive, at, broken)
    monkeypatch.setattr(models, "CATALOG", {name: models.CATALOG[name] for name in ("net", "quick_net")})
    assert cli.main(["sweep", "all", "--trials", "1", "--epochs", "1", "--json"]) == 1
    said = capsys.readouterr()
    assert "error: all-net: The sweep 'all-net' could not go on: [Errno 5]" in said.err
    failed, done = json.loads(said.out)["sweeps"]
    assert (failed["sweep"], failed["states"], failed["best"]) == ("all-net", {}, None)
    assert "Input/output error" in failed["error"]
    assert (done["sweep"], done["states"]) == ("all-quick_net", {"completed": 1})


@pytest.mark.parametrize("lost", ["gone", "empty", "begun anew"])
def test_a_study_that_was_lost_is_not_begun_anew_over_what_is_left_of_its_trials(
    own: Path, home: Path, lost: str
) -> None:
    planned = plan.prepare(spec(own, "good"))
    settle.make_home(planned.paths)
    planned = replace(planned, spec=settle.settle_spec(planned.spec, planned.paths))
    for file in ("checkpoints/trial-00000.pt", "resume/cohort-a.pt"):
        storage.write(str(planned.paths.folder / file), b"of a trial")
    if lost == "empty":
        planned.paths.journal.touch()
    elif lost == "begun anew":
        Study(planned.spec, planned.paths.journal, write=True)
    with pytest.raises(tuning.SweepError, match="It has 1 checkpoint and 1 resume state, so this is not"):
        settle.open_study(planned)
    assert (planned.paths.folder / "resume/cohort-a.pt").read_bytes() == b"of a trial"
