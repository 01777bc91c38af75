"""Which models can be stacked with each other: those that differ in numbers only.

Models are compared as they were built, attribute by attribute, so nothing has to be known about what
a hyperparameter does: a rate that a model keeps for `functional.dropout` separates it from others.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tuning.data import Splits
from tuning.engine import solo
from tuning.engine.twins import DROPOUTS, NORMS, has_twin
from tuning.records import TrialSpec
from tuning.spec import SweepSpec

OWN = set(vars(nn.Module()))
"""Attributes of every module: its tensors and submodules, compared apart, and hooks."""

NUMBERS = ("lr", "momentum", "weight_decay", "alpha", "beta2", "dropout", "bn_momentum")
"""Hyperparameters by which trials may differ within a stack."""


def groups(
    trials: Sequence[TrialSpec], spec: SweepSpec, splits: Splits, resume: Mapping[int, dict[str, Any]]
) -> list[list[tuple[TrialSpec, nn.Module]]]:
    """Build the models of trials, resumed ones with their weights; return them in groups to be stacked.

    A trial whose model cannot be built is in no group.
    """
    built: dict[Any, list[tuple[TrialSpec, nn.Module]]] = {}
    for trial in trials:
        state = resume.get(trial.number)
        try:
            model = solo.build_model(trial, spec, splits)
            if state is not None:
                model.load_state_dict(state["model"])
        except Exception:  # the solo engine will meet it again, and report it
            continue
        found = trial.hyperparameters
        key = found.get("optimizer"), solo.batch_size(trial, spec), bool(found.get("augment"))
        built.setdefault((*key, state["epoch"] if state else 0), []).append((trial, model))
    return [
        [together[index] for index in indices]
        for together in built.values()
        for indices in by_structure([model for _, model in together])
    ]


def by_structure(models: Sequence[nn.Module]) -> list[list[int]]:
    """Return groups of indices: within one, models differ in their tensors, rates and momenta only."""
    groups: list[list[int]] = []
    for index, model in enumerate(models):
        for group in groups:
            if difference(models[group[0]], model) is None:
                group.append(index)
                break
        else:
            groups.append([index])
    return groups


def difference(a: nn.Module, b: nn.Module) -> str | None:
    """Return what keeps two models from being stacked: an attribute, a module; None if nothing does."""
    named_a, named_b = (dict(model.named_modules(remove_duplicate=False)) for model in (a, b))
    if list(named_a) != list(named_b):
        return f"the modules of {type(a).__name__}"
    for name, module in named_a.items():
        if (found := _difference(module, named_b[name])) is not None:
            return found
    return None


def _difference(a: nn.Module, b: nn.Module) -> str | None:
    """Compare two modules, not what is in them: return the module's type, and the attribute if it is one."""
    kind = type(a).__name__
    if type(a) is not type(b) or a.training != b.training or has_twin(a) != has_twin(b):
        return kind
    for of_a, of_b in ((a._parameters, b._parameters), (a._buffers, b._buffers)):
        if of_a.keys() != of_b.keys():
            return kind
        for name in of_a:
            if _kind(of_a[name]) != _kind(of_b[name]):
                return f"{kind}.{name}"
    key = changed(own(a), own(b))
    return None if key is None else f"{kind}.{key}"


def changed(a: Mapping[str, Any], b: Mapping[str, Any]) -> str | None:
    """Return the first key, in order, at which two mappings differ; None if they do not."""
    differing = (key for key in a.keys() | b.keys() if not _same(a.get(key), b.get(key)))
    return next(iter(sorted(differing)), None)


def _kind(tensor: Tensor | None) -> Any:
    return None if tensor is None else (tensor.shape, tensor.dtype, tensor.device, tensor.requires_grad)


def own(module: nn.Module) -> dict[str, Any]:
    """Return what a module keeps beside its tensors, but for the numbers that a stack holds per trial."""
    found = {key: value for key, value in vars(module).items() if key not in OWN}
    if has_twin(module):  # torch's own: what it keeps for itself (lists of its weights) is no number of ours
        found = {key: value for key, value in found.items() if not key.startswith("_")}
        if isinstance(module, DROPOUTS):
            del found["p"]
        if isinstance(module, NORMS):
            found["momentum"] = module.momentum is None
    return found


def _same(a: Any, b: Any) -> bool:
    """Compare values; objects that do not say when they are equal count as different."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    kind: Any = type(a)
    try:
        return kind.__eq__ is not object.__eq__ and bool(a == b)
    except Exception:  # whatever a comparison raises, arrays among them
        return False
