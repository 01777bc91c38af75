"""Resume states: how far the unfinished members of a cohort are trained, as one file per cohort."""

from collections.abc import Collection, Iterable, Mapping
from types import NoneType, UnionType
from typing import Any

from tuning import storage
from tuning.engine.checkpoint import FORMAT, decode, encode, require
from tuning.engine.stacked import members
from tuning.errors import CheckpointError, SweepError
from tuning.spec import SweepSpec

FIELDS: Mapping[str, type | UnionType] = {
    "trial": int,
    "epoch": int,
    "model": dict,
    "optimizer": dict,
    "history": list,
    "best": dict | NoneType,
}
"""What `solo.Training` is made of; a file may come from anywhere."""

BEST_FIELDS: Mapping[str, type | UnionType] = {"epoch": int, "state_dict": dict}


def save(
    path: str,
    states: Iterable[dict[str, Any]],
    sweep_id: str | None = None,
    check: storage.Check = lambda: None,
) -> None:
    """Write the states of a cohort's members (`Epoch.to_plain`)."""
    content = {"format": FORMAT, "sweep_id": sweep_id, "states": list(states)}
    storage.write(path, encode(content), check)


def load(
    path: str, numbers: Collection[int] | None = None, spec: SweepSpec | None = None
) -> dict[int, dict[str, Any]]:
    """Return the state per trial number, as `Training` takes it; of these trials, or of all.

    Args:
        spec: of the sweep whose file it must be; None: any.

    Raises:
        FileNotFoundError: when there is no such file.
        CheckpointError: when it is torn, of another format, of another sweep, or contradicts itself.
    """
    content = decode(storage.read(path), path)
    if spec is not None and content.get("sweep_id") not in (None, spec.id):
        raise CheckpointError(f"{path} is of another sweep ({content['sweep_id']}), not of {spec.id}.")
    found: list[dict[str, Any]] = []
    try:
        for state in content["states"]:
            found += [state["single"]] if "single" in state else members(state["stack"], numbers)
    except Exception as error:  # whatever else may stand in a file
        raise CheckpointError(f"{path} holds no resume state: {type(error).__name__}: {error}") from error
    sound = [_sound(one, path, None if spec is None else spec.metric) for one in found]
    return {one["trial"]: one for one in sound if numbers is None or one["trial"] in numbers}


def load_if_sound(
    path: str, numbers: Collection[int] | None = None, spec: SweepSpec | None = None
) -> dict[int, dict[str, Any]]:
    """Return what `load` does; of a file that is gone, torn or another sweep's, nothing.

    It costs the epochs in it, not the trials: they are trained again.

    Raises:
        SweepError: when it is of a newer format, whose epochs must not be lost to an older program.
    """
    try:
        return load(path, numbers, spec)
    except FileNotFoundError:
        return {}
    except CheckpointError as error:
        if error.is_newer:
            raise SweepError(str(error)) from error
        return {}


def _sound(state: dict[str, Any], path: str, metric: str | None) -> dict[str, Any]:
    """Return a state's own fields, each of its kind, which agree with each other."""
    require(state, FIELDS, path)
    epoch, trained = state["epoch"], len(state["history"])
    if epoch != trained:
        raise CheckpointError(f"{path} must hold metrics of each epoch, but has {trained} of {epoch}.")
    if state["best"] is not None:
        require(state["best"], BEST_FIELDS, path)
        if not 1 <= state["best"]["epoch"] <= epoch:
            raise CheckpointError(f"{path} has its best at epoch {state['best']['epoch']} of {epoch}.")
    for row in state["history"]:
        if metric is not None and isinstance(row, dict) and metric not in row:
            raise CheckpointError(f"{path} must hold {metric} of each epoch, but has only {list(row)}.")
        if not isinstance(row, dict) or not all(isinstance(value, float) for value in row.values()):
            raise CheckpointError(f"{path} must hold metrics per epoch under 'history', but one is {row!r}.")
    return {key: state[key] for key in FIELDS}
