"""Checkpoints and resume state: tensors and plain values, loadable without running stored code."""

import hashlib
import io
import json
import math
import platform
from collections.abc import Collection, Iterable
from typing import Any

import torch

from tuning import paths, storage
from tuning.data import Splits
from tuning.engine.solo import Outcome, model_arguments
from tuning.engine.stacked import members
from tuning.errors import CheckpointError
from tuning.records import State, TrialSpec
from tuning.spec import SweepSpec

FORMAT = 1


def save_best(folder: str, outcome: Outcome, trial: TrialSpec, spec: SweepSpec, splits: Splits) -> str | None:
    """Write a trial's best state and its card; return the file, None if no epoch was finite."""
    if outcome.best is None:
        return None
    content = checkpoint(outcome, trial, spec, splits)
    encoded = encode(content)
    path = paths.checkpoint_file(folder, trial.number)
    storage.write(path, encoded)
    card = {key: value for key, value in content.items() if key != "state_dict"}
    card["sha256"] = hashlib.sha256(encoded).hexdigest()
    storage.write(paths.card_file(folder, trial.number), _json(card).encode())
    return path


def _json(content: dict[str, Any]) -> str:
    """Return plain data as JSON, a line per key: `json` is ten times as slow where it has to indent."""
    try:
        lines = [
            f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in content.items()
        ]
    except ValueError:
        return _json(_strict(content))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _strict(value: Any) -> Any:
    """Return plain data with null for what JSON has no number for: NaN and infinity."""
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def checkpoint(outcome: Outcome, trial: TrialSpec, spec: SweepSpec, splits: Splits) -> dict[str, Any]:
    """Return what a checkpoint file holds: the best state and plain data about it."""
    assert outcome.best is not None
    epoch = outcome.best["epoch"]
    return {
        "format": FORMAT,
        "sweep": spec.name,
        "sweep_id": spec.id,
        "trial": trial.number,
        "state": _state(outcome, spec).value,
        "model": spec.model,
        "arguments": model_arguments(trial, spec, splits),
        "hyperparameters": trial.hyperparameters,
        "state_dict": outcome.best["state_dict"],
        "metric": spec.metric,
        "mode": spec.mode,
        "epoch": epoch,
        "value": outcome.history[epoch - 1][str(spec.metric)],
        "metrics": outcome.history[epoch - 1],
        "history": outcome.history,
        "seed": spec.seed,
        "batch_size": trial.hyperparameters.get("batch_size", spec.batch_size),
        "data": spec.data,
        "fingerprint": splits.fingerprint,
        "task": splits.task,
        "preprocess": splits.preprocess,
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
    }


def _state(outcome: Outcome, spec: SweepSpec) -> State:
    """Return how the trial had ended when this was written; whether it was pruned, the study knows."""
    if not all(math.isfinite(value) for value in outcome.history[-1].values()):
        return State.DIVERGED
    return State.COMPLETED if outcome.epoch == spec.epochs else State.INTERRUPTED


def save_resume(path: str, states: Iterable[dict[str, Any]]) -> None:
    """Write the resume states of a cohort's members (`Epoch.to_plain`) as one file."""
    storage.write(path, encode({"format": FORMAT, "states": list(states)}))


def load_resume(path: str, numbers: Collection[int] | None = None) -> dict[int, dict[str, Any]]:
    """Return the resume state per trial number, as `Training` takes it; of these trials, or of all.

    Raises:
        FileNotFoundError: when there is no such file.
        CheckpointError: when it is torn or of another format.
    """
    found: list[dict[str, Any]] = []
    for state in decode(storage.read(path), path)["states"]:
        found += [state["single"]] if "single" in state else members(state["stack"], numbers)
    return {one["trial"]: one for one in found if numbers is None or one["trial"] in numbers}


def load(path: str) -> dict[str, Any]:
    """Return what a checkpoint file holds, its tensors on the CPU.

    Raises:
        CheckpointError: when it is missing, torn or of another format.
    """
    try:
        encoded = storage.read(path)
    except FileNotFoundError:
        raise CheckpointError(f"There is no checkpoint {path}.") from None
    return decode(encoded, path)


def encode(content: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def decode(encoded: bytes, path: str) -> dict[str, Any]:
    try:
        content = torch.load(io.BytesIO(encoded), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types for a torn or foreign file
        raise CheckpointError(f"{path} is no checkpoint, or is torn: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{path} must be of format {FORMAT}, but it is of format {found}.")
    return content
