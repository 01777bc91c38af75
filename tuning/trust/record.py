"""What is recorded of how a trial was trained, as far as a replay depends on it."""

import math
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tuning import halving
from tuning.engine import machine
from tuning.engine.replay import Stretch
from tuning.records import State, TrialRecord
from tuning.spec import SweepSpec


def threads(spec: SweepSpec, trial: TrialRecord, epoch: int) -> int:
    """Return with how many threads an epoch was trained; by the sweep's resources where that is not known."""
    known = [int(count) for first, _, count in trial.machines if first <= epoch]
    return known[-1] if known else max(1, math.floor(spec.resources.cpus))


def repeated_since(spec: SweepSpec, trial: TrialRecord) -> float:
    """Return the first epoch of which the study may have its value from a training that a death undid.

    Trials come to another stack at rungs; elsewhere only after a death or an interruption.
    """
    rungs = halving.rungs_of(spec.early_stopping, spec.epochs or 0)
    others = [first for first, _, _ in trial.stacks[1:] if first - 1 not in rungs]
    return min(others, default=math.inf)


def rounding(
    spec: SweepSpec,
    trial: TrialRecord,
    content: Mapping[str, Any],
    course: Sequence[Stretch],
    device: torch.device,
) -> list[str]:
    """Return why the replay may round otherwise than the training did."""
    here, found = machine.kind(device), []
    kinds = {str(kind) for _, kind, _ in trial.machines}
    if not kinds:
        found.append("on what kind of device it was trained is not recorded")
    elif kinds != {here}:
        found.append(f"it was trained on {', '.join(sorted(kinds))}, and again on {here}")
    if device.type == "cuda":
        found.append("it is trained on a GPU, where kernels may add in another order each time")
    versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
    recorded = content.get("versions") or {}
    for package, version in versions.items():
        if recorded.get(package) != version:
            found.append(
                f"it was trained with {package} {recorded.get(package, '(unknown)')}, here is {version}"
            )
    if spec.ranks > 1:
        found.append(f"it was trained on {spec.ranks} GPUs at the same time, and again on one")
    if spec.compile and any(stretch.width > 1 for stretch in course):
        found.append("it was trained with --compile, which replaces steps at a moment that is not recorded")
    return found


def contradictions(trial: TrialRecord, content: Mapping[str, Any], repeated: bool) -> list[str]:
    """Return where study and checkpoint do not say the same of the trial.

    Args:
        repeated: whether the study may have values of a training that a death undid.
    """
    found = []
    if content["hyperparameters"] != trial.hyperparameters:
        found.append("study and checkpoint have other hyperparameters")
    if content["epoch"] != trial.epoch and not repeated:
        found.append(
            f"the best epoch is {trial.epoch} in the study, but {content['epoch']} in the checkpoint"
        )
    trained = len(content["history"]) - (trial.state is State.DIVERGED)
    if sorted(trial.values) != list(range(1, trained + 1)):
        found.append(f"the study has {len(trial.values)} epochs, but the checkpoint {trained}")
    return found
