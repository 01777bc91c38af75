"""Checkpoints: tensors and plain values, loadable without running stored code."""

import copy
import hashlib
import io
import json
import math
import pickle
import platform
import zipfile
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any

import torch
from torch import Tensor

from tuning import paths, storage
from tuning.data import Splits
from tuning.engine.solo import Outcome, model_arguments
from tuning.errors import CheckpointError
from tuning.records import State, TrialSpec
from tuning.spec import SweepSpec

FORMAT = 1

FIELDS: Mapping[str, type | UnionType] = {
    "sweep": str,
    "sweep_id": str | NoneType,
    "trial": int,
    "state": str,
    "model": str,
    "arguments": dict,
    "hyperparameters": dict,
    "state_dict": dict,
    "metric": str,
    "epoch": int,
    "value": float,
    "history": list,
    "seed": int,
    "batch_size": int,
    "data": str,
    "fingerprint": str,
    "task": str,
    "preprocess": dict,
}
"""What must stand in a checkpoint, which may come from anywhere."""


def save_best(
    folder: str,
    outcome: Outcome,
    trial: TrialSpec,
    spec: SweepSpec,
    splits: Splits,
    check: storage.Check = lambda: None,
) -> str | None:
    """Write a trial's best state and its card; return the file, None if no epoch was finite."""
    if outcome.best is None:
        return None
    content = checkpoint(outcome, trial, spec, splits)
    encoded = encode(content)
    path = paths.checkpoint_file(folder, trial.number)
    check()
    storage.remove(paths.card_file(folder, trial.number))  # by a death in between, no card, not a wrong one
    storage.write(path, encoded, check)
    storage.write(paths.card_file(folder, trial.number), card(content, encoded), check)
    return path


def card(content: dict[str, Any], encoded: bytes) -> bytes:
    """Return the card of a checkpoint: all but its tensors, and the hash of its file."""
    plain = {key: value for key, value in content.items() if key != "state_dict"}
    return _json({**plain, "sha256": hashlib.sha256(encoded).hexdigest()}).encode()


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


def load(path: str) -> dict[str, Any]:
    """Return what a checkpoint file holds, its tensors on the CPU.

    Raises:
        CheckpointError: when it is missing, torn, of another format, or not what its card says.
    """
    try:
        encoded = storage.read(path)
    except FileNotFoundError:
        raise CheckpointError(f"There is no checkpoint {path}.") from None
    except OSError as error:
        raise CheckpointError(f"The checkpoint {path} cannot be read: {error.strerror}.") from error
    _check_card(encoded, path)
    return decode(encoded, path)


def _check_card(encoded: bytes, path: str) -> None:
    """Compare a file with the hash that stands in its card, if that lies beside it."""
    file = f"{path.removesuffix('.pt')}.json"
    try:
        plain = json.loads(storage.read(file))
    except OSError:
        return
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"The card {file} is torn; put it back, or move it away to load {path} without comparing them."
        ) from error
    wanted = plain.get("sha256") if isinstance(plain, dict) else None  # None: a file of something else
    if wanted is not None and wanted != hashlib.sha256(encoded).hexdigest():
        raise CheckpointError(
            f"{path} must be the file that its card {file} describes, but its sha256 differs: one of them "
            "was changed or is torn. Put both back, or move the card away to load the file all the same."
        )


def require(content: object, fields: Mapping[str, type | UnionType], path: str) -> None:
    """Refuse what lacks one of these fields, or holds a value of another type there."""
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} must hold mappings, but it holds a {type(content).__name__}.")
    for key, kind in fields.items():
        if not isinstance(content.get(key), kind):
            found = f"it is a {type(content[key]).__name__}" if key in content else "there is none"
            name = kind.__name__ if isinstance(kind, type) else str(kind)
            raise CheckpointError(f"{path} must hold {key!r} as {name}, but {found}.")


def encode(content: dict[str, Any]) -> bytes:
    """Return what a file shall hold; its tensors are a CPU's: `torch.load` puts a GPU's back on a GPU."""
    buffer = io.BytesIO()
    torch.save(_on_cpu(content) if torch.cuda.is_initialized() else content, buffer)
    return buffer.getvalue()


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, dict):
        found = copy.copy(value)  # with the modules' versions that a `state_dict` bears
        for key, one in value.items():
            found[key] = _on_cpu(one)
        return found
    return type(value)(map(_on_cpu, value)) if isinstance(value, list | tuple) else value


def decode(encoded: bytes, path: str) -> dict[str, Any]:
    """Return what a file holds; nothing that is stored in it is run.

    Raises:
        CheckpointError: when it is torn or of another format.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(encoded)) as archive:
            damaged = archive.testzip()  # torch itself passes over checksums
        if damaged is not None:
            raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
        content = torch.load(io.BytesIO(encoded), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is no checkpoint, or is torn: it holds more than tensors and plain data, and such is "
            "not opened, since it may run code."
        ) from error
    except Exception as error:  # there are half a dozen types for a torn or foreign file
        raise CheckpointError(f"{path} is no checkpoint, or is torn: {error}") from error
    found = content.get("format") if isinstance(content, dict) else None
    if not isinstance(found, int) or found != FORMAT:
        raise CheckpointError(
            f"{path} must be of format {FORMAT}, but it is of format {found!r}; a newer one needs a newer "
            "version of this program.",
            is_newer=isinstance(found, int) and found > FORMAT,
        )
    assert isinstance(content, dict)
    return content
