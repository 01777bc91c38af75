"""A driver that was killed leaves a trial unfinished: nothing of it is lost, and it goes on."""

from dataclasses import replace
from typing import Any

import pytest
import torch

import tuning
from tests import sweeps
from tests.doctor.ward import NAME, Patient
from tests.engine import trials
from tuning import data
from tuning.engine import resume_state
from tuning.study import Study

NEW = 5


@pytest.fixture
def killed(patient: Patient) -> Patient:
    """A sixth trial: the study knows of one epoch, the resume state of two, MLflow of nothing."""
    spec = patient.sweep().spec
    splits = data.load(str(spec.data), seed=0)
    study = Study(spec, patient.folder / "study.journal", write=True)
    study.enqueue((*spec.try_, {"lr": 0.02}))
    trial = study.ask()
    assert trial.number == NEW
    _, training = trials.run(spec, splits, 2, **trial.hyperparameters)
    study.report(NEW, 1, training.history[0]["val_loss"])
    state = {**training.to_plain(), "trial": NEW}
    resume_state.save(str(patient.folder / "resume/cohort-a.pt"), [{"single": state}])
    return patient


def test_its_run_is_written_as_far_as_the_study_knows_it(killed: Patient) -> None:
    found = killed.visit()
    assert [str(one) for one in found.differences] == [
        "the sweep's run in MLflow is FINISHED, but should be KILLED or FAILED",
        f"trial {NEW}: it has no run in MLflow",
    ]
    assert killed.visit(fix=True).is_healthy
    run = killed.run(NEW)
    assert (run.info.status, run.data.tags["tuning.state"]) == ("SCHEDULED", "interrupted")
    assert killed.parent().info.status == "KILLED"
    assert run.data.params["lr"] == "0.02" and set(run.data.metrics) == {"train_loss", "val_loss"}
    for key in run.data.metrics:
        assert [point.step for point in killed.client.get_metric_history(run.info.run_id, key)] == [1]


def test_its_torn_checkpoint_comes_back_from_its_resume_state(killed: Patient) -> None:
    killed.file(NEW).write_bytes(b"torn")
    assert f"trial {NEW}: its checkpoint has no card" in map(str, killed.visit().differences)
    assert killed.visit(fix=True).is_healthy
    assert len(torch.load(killed.file(NEW), weights_only=True)["history"]) == 2
    assert (
        killed.file(NEW, "json").exists() and killed.copy(NEW).read_bytes() == killed.file(NEW).read_bytes()
    )


def test_what_is_torn_everywhere_is_put_away_and_the_trial_begins_again(killed: Patient) -> None:
    killed.file(NEW).write_bytes(b"torn")
    (killed.folder / "resume/cohort-a.pt").write_bytes(b"torn")
    found = killed.visit()
    assert any(
        "cohort-a.pt is torn: its trials go on from an earlier" in one.text for one in found.differences
    )
    mended = killed.visit(fix=True)
    assert mended.is_healthy and set(mended.fixed) == set(found.differences)
    assert not killed.file(NEW).exists() and not list((killed.folder / "resume").iterdir())


def test_a_resume_state_of_a_newer_program_is_said_and_left(killed: Patient) -> None:
    file = killed.folder / "resume/cohort-a.pt"
    content = torch.load(file, weights_only=True)
    torch.save({**content, "format": 99}, file)
    for found in (killed.visit(), killed.visit(fix=True)):
        (one,) = [one for one in found.differences if "newer version of this program" in one.text]
        assert not one.fixable
    assert file.exists()


def test_the_sweep_goes_on_after_the_repair(killed: Patient, ray_cluster: Any) -> None:
    assert killed.visit(fix=True).is_healthy
    run_id = killed.run(NEW).info.run_id
    result = tuning.sweep(replace(killed.sweep().spec, trials=NEW + 1, home=str(killed.home)))
    assert result.trials[NEW].state.has_ended
    assert killed.visit().is_healthy, killed.visit().differences
    assert killed.run(NEW).info.run_id == run_id
    sweeps.assert_they_agree(result, sweeps.read(NAME, killed.home))
