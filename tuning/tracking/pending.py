"""What is still to be written of a trial's run."""

import contextlib
import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tuning import paths, storage
from tuning.errors import CheckpointError, last_line
from tuning.records import State, TrialRecord, TrialSpec

MAX_CAUSE = 500
"""Characters of the tag that says why a trial failed; its artifact says all."""

History = list[dict[str, float]]
"""Metrics per epoch, from epoch 1."""


@dataclass(slots=True)
class Run:
    """What is still to be written of one trial's run."""

    trial: TrialSpec | None = None
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[tuple[str, int], tuple[float, int]] = field(default_factory=dict)
    """(value, timestamp in ms) by (key, step)"""
    state: State | None = None
    cause: str | None = None
    """Why the trial failed: all that is known of it, with its traceback."""
    began_ms: int | None = None
    ended_ms: int | None = None
    """By the driver's clock; None where it is not known."""

    def add(self, news: "Run") -> None:
        self.trial = news.trial or self.trial
        self.tags |= news.tags
        self.metrics |= news.metrics
        self.state = news.state or self.state
        self.cause = news.cause or self.cause
        known = [at_ms for at_ms in (self.began_ms, news.began_ms) if at_ms is not None]
        self.began_ms = min(known, default=None)
        self.ended_ms = news.ended_ms or self.ended_ms


def ended_history(trial: TrialRecord, folder: str, metric: str) -> History:
    """Return the epochs of a trial whose training is over: from its card, else from the study."""
    card = paths.card_file(folder, trial.number)
    if trial.state.has_ended and storage.exists(card):
        with contextlib.suppress(ValueError, TypeError, KeyError):  # a damaged one: `doctor` tells of it
            found: History = json.loads(storage.read(card))["history"]
            if not is_history(found):
                raise ValueError(f"{card} holds no metrics per epoch")
            if any(None in row.values() for row in found):  # JSON has no NaN and no infinity
                return _exact_history(trial, folder) or found
            return found
    return [{metric: value} for _, value in sorted(trial.values.items())]


def is_history(found: object) -> bool:
    """Whether what may come from anywhere is metrics per epoch; None: what JSON has no number for."""
    return isinstance(found, list) and all(
        isinstance(row, Mapping) and all(isinstance(value, int | float | None) for value in row.values())
        for row in found
    )


def _exact_history(trial: TrialRecord, folder: str) -> History | None:
    """Return the epochs that stand in a trial's checkpoint; None if that cannot be opened."""
    from tuning.engine import checkpoint  # imports torch, for a few trials that diverged

    try:
        found: History = checkpoint.load(paths.checkpoint_file(folder, trial.number))["history"]
        return found
    except (CheckpointError, KeyError):
        return None


def lacking(trial: TrialRecord, history: History, has: Collection[tuple[str, int]]) -> Run:
    """Return what a run that `has` these (metric, epoch) lacks of a trial."""
    now_ms = int(time.time() * 1000)
    points = {
        (key, epoch): (value, now_ms)
        for epoch, metrics in enumerate(history, start=1)
        for key, value in metrics.items()
        if value is not None and (key, epoch) not in has
    }
    spec = TrialSpec(number=trial.number, hyperparameters=trial.hyperparameters)
    tags = (
        place_tags(trial.where, trial.cohort, trial.slot, trial.width) if trial.where and trial.cohort else {}
    )
    tags |= cause_tags(trial.cause)
    run = Run(spec, tags, points, trial.state if trial.state.has_ended else None, trial.cause)
    if trial.spans:
        run.began_ms = int(trial.spans[0].begin_s * 1000)
        run.ended_ms = int(trial.spans[-1].end_s * 1000)
    return run


def cause_tags(cause: str | None) -> dict[str, str]:
    """Return the tag that says why a trial failed: the last line, which of a traceback is the error."""
    return {"tuning.cause": last_line(cause)[:MAX_CAUSE]} if cause else {}


def place_tags(where: str, cohort: str, slot: int, width: int) -> dict[str, str]:
    """Return the tags that tell where a trial trains."""
    host, _, gpus = where.partition(", GPU ")
    return {
        "tuning.host": host,
        "tuning.gpus": gpus,
        "tuning.cohort": cohort,
        "tuning.stack": f"{slot + 1} of {width}",
    }
