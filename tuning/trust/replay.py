"""`tuning replay`: one trial trained again as it was trained, against what is recorded of it.

The claim: this trial, with this seed, these hyperparameters and this data, trains along this curve to these
weights. It holds if every metric of every epoch, and every weight of the best epoch, comes again: to the last
bit on the same kind of device, with as many threads and the same versions, and else within `TOLERANCE`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tuning import ledger, paths
from tuning.data import Splits
from tuning.engine import checkpoint, machine
from tuning.engine.replay import Stretch, stretches
from tuning.engine.replay import replay as trained_again
from tuning.engine.solo import Training
from tuning.errors import CheckpointError, RequestError, SweepError, last_line
from tuning.ledger import Sweep
from tuning.records import State, TrialRecord, TrialSpec
from tuning.references import load_data, source_doubt, source_hash
from tuning.spec import Resources, SweepSpec
from tuning.trust import record
from tuning.trust.comparison import Comparison, Row, Weights
from tuning.trust.progress import Progress

REPLAYED = (State.COMPLETED, State.PRUNED, State.DIVERGED)
"""Trials that have a whole curve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A trial trained again."""

    sweep: Sweep
    trial: TrialRecord
    course: Sequence[Stretch]
    device: str
    """Kind of the device on which it was trained again."""
    comparison: Comparison
    doubt: str | None = None
    """Why it may not be the same training, whatever the comparison says."""


def replay(name: str, number: int, home: str | None = None) -> Replay:
    """Train a trial again as it was trained, in this process, and compare.

    Raises:
        RequestError: when there is no such sweep or trial, or it has no whole curve.
        CheckpointError: when its checkpoint is missing, torn or another's, or its data has changed.
        SweepError: when the record does not tell how it was trained, or it does not train any more.
    """
    sweep = ledger.open_sweep(name, home)
    trial = _whole(sweep, number)
    content = _checkpoint(sweep, number)
    splits = load_data(str(sweep.spec.data), seed=sweep.spec.seed)
    if splits.fingerprint != content["fingerprint"]:
        raise CheckpointError(
            f"Data {content['data']!r} is not what trial {number} was trained on: its fingerprint differs. "
            "Put it back as it was; there is nothing to compare with otherwise."
        )
    try:
        course = stretches(trial.stacks, len(content["history"]))
    except ValueError as error:
        raise SweepError(
            f"The study of {name!r} must tell how trial {number} was trained, but its {error}."
        ) from error
    device = torch.device("cuda:0" if _had_gpu(trial) and torch.cuda.is_available() else "cpu")
    rows, weights = _compared(sweep, trial, content, splits, course, device)
    comparison = Comparison(
        rows=rows,
        weights=weights,
        loosely=record.rounding(sweep.spec, trial, content, course, device),
        others=record.contradictions(trial, content, math.isfinite(record.repeated_since(sweep.spec, trial))),
    )
    model = sweep.spec.model
    return Replay(
        sweep=sweep,
        trial=trial,
        course=course,
        device=machine.kind(device),
        comparison=comparison,
        doubt=source_doubt(model, source_hash(model), sweep.source),
    )


def _whole(sweep: Sweep, number: int) -> TrialRecord:
    """Return the trial; refuse one that has no whole curve."""
    trial = sweep.trial(number)
    if trial.state in REPLAYED and trial.values:
        return trial
    if trial.state is State.DIVERGED:
        raise RequestError(
            f"Trial {number} diverged before one epoch was finite: it has no checkpoint to compare with."
        )
    if trial.state is State.FAILED:
        cause = last_line(trial.cause, "no cause is known")
        raise RequestError(f"Trial {number} failed ({cause}): it has no whole curve to compare with.")
    way = (
        "wait for its end" if sweep.is_running else f"`{sweep.paths.command('resume')}` trains it to its end"
    )
    raise RequestError(f"Trial {number} must have ended to be compared with, but it is {trial.state}; {way}.")


def _checkpoint(sweep: Sweep, number: int) -> dict[str, Any]:
    """Return what the trial's checkpoint holds."""
    path = paths.checkpoint_file(sweep.folder, number)
    content = checkpoint.load(path)
    checkpoint.require(content, checkpoint.FIELDS, path)
    if (content["sweep_id"], content["trial"]) != (sweep.spec.id, number):
        raise CheckpointError(
            f"{path} must be of trial {number} of the sweep {sweep.spec.name!r} ({sweep.spec.id}), but it is "
            f"of trial {content['trial']} of {content['sweep']!r} ({content['sweep_id']}); put the own file "
            "back."
        )
    if not content["history"] or not all(isinstance(row, dict) for row in content["history"]):
        raise CheckpointError(f"{path} must hold metrics per epoch under 'history', but it does not.")
    return content


def _had_gpu(trial: TrialRecord) -> bool:
    return ", GPU " in (trial.where or "")


def _compared(
    sweep: Sweep,
    trial: TrialRecord,
    content: Mapping[str, Any],
    splits: Splits,
    course: Sequence[Stretch],
    device: torch.device,
) -> tuple[list[Row], Weights | None]:
    """Train, and put what comes beside what is recorded."""
    history, weights = content["history"], None
    replayed: list[dict[str, float]] = []
    with Progress(f"replaying trial {trial.number}", len(history), "epochs") as progress:
        for training in _trained(sweep.spec, trial, splits, course, device):
            replayed.append(dict(training.history[-1]))
            if training.epoch == content["epoch"]:
                weights = compared(content["state_dict"], training.model, training.epoch)
            progress.advance()
    metric, since = str(sweep.spec.metric), record.repeated_since(sweep.spec, trial)
    missing = [None] * (len(history) - len(replayed))
    rows = [
        Row(
            epoch=epoch,
            recorded=recorded,
            replayed=found,
            told=trial.values.get(epoch),
            metric=metric,
            is_repeated=epoch >= since,
        )
        for epoch, (recorded, found) in enumerate(zip(history, [*replayed, *missing], strict=True), start=1)
    ]
    return rows, weights


def _trained(
    spec: SweepSpec, trial: TrialRecord, splits: Splits, course: Sequence[Stretch], device: torch.device
) -> Iterator[Training]:
    """Train with the threads that the trial had in each epoch.

    Raises:
        SweepError: when the model or the data raise what they did not raise then.
    """
    one = TrialSpec(number=trial.number, hyperparameters=trial.hyperparameters)
    alone = Resources(cpus=spec.resources.cpus, gpus=min(1, spec.resources.gpus or 0))
    spec = replace(spec, compile=False, resources=alone)
    run = trained_again(one, spec, splits, course, device)
    for epoch in range(1, course[-1].last + 1):
        try:
            with machine.as_in_a_worker(record.threads(spec, trial, epoch)):
                training = next(run, None)
        except Exception as error:  # of a user's model or data, of a device
            raise SweepError(
                f"Trial {trial.number} does not train any more: epoch {epoch} raised "
                f"{type(error).__name__}: {error}"
            ) from error
        if training is None:
            return
        yield training


def compared(recorded: Mapping[str, Tensor], replayed: Mapping[str, Tensor], epoch: int) -> Weights:
    """Compare the tensors of two `state_dict`s."""
    pairs = [(recorded.get(key), replayed.get(key)) for key in sorted({*recorded, *replayed})]
    of, apart = 0.0, 0.0
    is_equal = True
    for one, other in pairs:
        if one is None or other is None or one.shape != other.shape or one.dtype != other.dtype:
            return Weights(epoch=epoch, is_equal=False, distance=math.inf)
        a, b = one.detach().cpu().double(), other.detach().cpu().double()
        is_equal = (
            is_equal and torch.equal(a.nan_to_num(), b.nan_to_num()) and torch.equal(a.isnan(), b.isnan())
        )
        of += float(a.square().sum())
        apart += float((a - b).nan_to_num().square().sum())
    return Weights(epoch=epoch, is_equal=is_equal, distance=math.sqrt(apart / of) if of else math.sqrt(apart))
