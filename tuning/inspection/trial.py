"""`inspect`: the page of a trial's figures. Which there are, its task and its layers decide."""

from pathlib import Path

from tuning import storage
from tuning.inspection import classifier, layers, regression, subject
from tuning.inspection.page import Section, page
from tuning.inspection.subject import Say, Subject
from tuning.ledger import Sweep
from tuning.screen import describe


def inspect(
    sweep: Sweep, number: int | None = None, to: Path | None = None, say: Say = lambda _: None
) -> Path:
    """Write the figures of a trial, or of the best one, as an HTML page; return the file.

    Args:
        to: the file; the sweep's folder has a name for it if it is not given.

    Raises:
        RequestError: when there is no such trial, or the file cannot be written.
        SweepError: when the sweep has no best trial yet.
        CheckpointError: when the trial has no checkpoint, or the data has changed since.
    """
    if to is not None:
        storage.check_target(to)
    found = subject.load(sweep, number)
    say(f"drawing trial {found.trial.number} ...")
    title = f"{sweep.spec.name}, trial {found.trial.number}"
    content = page(title, _introduction(found), sections(found, say))
    file = to or sweep.paths.inspection(found.trial.number)
    storage.deliver(file, content.encode())
    return file


def sections(found: Subject, say: Say = lambda _: None) -> list[Section]:
    """Return the sections that a trial's model and data call for."""
    is_classifier = found.splits.task == "classification"
    task = classifier.sections(found) if is_classifier else regression.sections(found, say)
    return [*task, *layers.sections(found, say)]


def _introduction(found: Subject) -> str:
    spec, trial = found.spec, found.trial
    value = "" if trial.value is None else f"its best {spec.metric} is {trial.value:.5g}, "
    return (
        f"Model {spec.model}, data {spec.data}. The trial is {trial.state.value}; {value}"
        f"the checkpoint holds its weights after epoch {found.epoch} of {spec.epochs}.\n"
        f"{describe(trial.hyperparameters)}"
    )
