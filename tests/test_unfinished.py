"""Trials that were begun and have not ended, found by their resume files."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.engine.trials import run, settings
from tuning import paths, storage, unfinished
from tuning.engine import resume_state
from tuning.engine.solo import Training
from tuning.study import Study

SPEC, SPLITS = settings("net", epochs=4, name="net", trials=3)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """One trial that runs, as a death leaves it."""
    study = Study(replace(SPEC, id="1-2-3"), tmp_path / "study.journal", write=True)
    study.ask()
    return study


def train(study: Study, epochs: int) -> Training:
    _, training = run(SPEC, SPLITS, epochs, **study.take_up(0).hyperparameters)
    return replace(training, trial=0)


def keep(folder: Path, name: str, training: Training) -> None:
    resume_state.save(paths.resume_file(str(folder), name), [{"single": training.to_plain()}])


@pytest.mark.parametrize("names", [("cohort-a.pt", "cohort-z.pt"), ("cohort-z.pt", "cohort-a.pt")])
def test_of_several_files_the_furthest_counts_whatever_their_names(
    study: Study, tmp_path: Path, names: tuple[str, str]
) -> None:
    early, late = train(study, 1), train(study, 3)
    keep(tmp_path, names[0], early)
    keep(tmp_path, names[1], late)
    ((trial, history, file),) = unfinished.taken_up(study, str(tmp_path))
    assert (trial.number, history, file) == (0, late.history, names[1])
    unfinished.save_best(study, str(tmp_path), SPLITS)
    content = torch.load(paths.checkpoint_file(str(tmp_path), 0), weights_only=True)
    assert content["history"] == late.history and content["state"] == "interrupted"


def test_a_torn_file_costs_its_epochs_and_not_the_sweep(study: Study, tmp_path: Path) -> None:
    keep(tmp_path, "cohort-a.pt", train(study, 1))
    storage.write(paths.resume_file(str(tmp_path), "cohort-b.pt"), b"PK torn")
    ((_, history, file),) = unfinished.taken_up(study, str(tmp_path))
    assert (len(history), file) == (1, "cohort-a.pt")


def test_a_trial_without_a_file_begins_again(study: Study, tmp_path: Path) -> None:
    ((trial, history, file),) = unfinished.taken_up(study, str(tmp_path))
    assert (trial.number, history, file) == (0, [], None)
