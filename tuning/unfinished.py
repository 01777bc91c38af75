"""Trials that were begun and have not ended: how far each is trained, and its best state so far."""

from collections.abc import Collection
from typing import Any

from tuning import attempts, paths, resume_files, storage
from tuning.data import Splits
from tuning.engine import checkpoint, resume_state
from tuning.engine.solo import Training
from tuning.records import TrialSpec
from tuning.study import Study

TakenUp = tuple[TrialSpec, list[dict[str, float]], str | None]
"""A trial, its metrics per epoch, and the resume file that holds its state."""


def taken_up(study: Study, folder: str) -> list[TakenUp]:
    """Return every unfinished trial with where its training stands."""
    found = _furthest(study, folder)
    result: list[TakenUp] = []
    for number in study.unfinished():
        state, file = found.get(number, ({"history": []}, None))
        result.append((study.take_up(number), state["history"], file))
    return result


def save_best(study: Study, folder: str, splits: Splits, numbers: Collection[int] | None = None) -> None:
    """Write the best state so far of every unfinished trial, or of these."""
    for number, (state, _) in _furthest(study, folder).items():
        if numbers is None or number in numbers:
            checkpoint.save_best(folder, Training(**state), study.take_up(number), study.spec, splits)


def clear(study: Study, folder: str) -> None:
    """End the attempt, and remove what no trial needs any more: resume states once all have ended.

    A worker that is cut off, and trains on, writes no more.
    """
    attempts.begin(folder)
    if not study.unfinished():
        resume_files.keep_only(folder, ())


def _furthest(study: Study, folder: str) -> dict[int, tuple[dict[str, Any], str]]:
    """Return, by trial number, the resume state with the most epochs, and its file.

    A halted sweep leaves several of a trial: its last cohort's, and the one that cohort came from. A
    torn file costs the epochs in it, not the trial.
    """
    numbers = set(study.unfinished())
    found: dict[int, tuple[dict[str, Any], str]] = {}
    for name in storage.names(paths.resume_folder(folder)) if numbers else []:
        states = resume_state.load_if_sound(paths.resume_file(folder, name), numbers, study.spec)
        for number, state in states.items():
            if number not in found or state["epoch"] > found[number][0]["epoch"]:
                found[number] = (state, name)
    return found
