"""Whether model and data fit: each model that may be asked for is built and run once, before any trial."""

import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tuning import references
from tuning.data import Splits
from tuning.engine import batches, solo
from tuning.errors import RequestError, at_line
from tuning.interrupt import within
from tuning.records import TrialSpec
from tuning.space import Choice, Int, ends
from tuning.spec import TRAINING_HYPERPARAMETERS, SweepSpec

PROBE_ROWS = 4

TARGETS = {
    "classification": "One number per class, whose labels count from 0 to the largest in the data.",
    "regression": "Its targets are floats, so it is a regression; class labels must be integers (`.long()`).",
}
"""What is meant, where a model returns something of another shape."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is known of models that were built and run."""

    num_parameters: int
    """Of the largest."""
    fingerprint: str
    """Of the names and shapes of all that they hold."""


def try_model(spec: SweepSpec, splits: Splits) -> Fitted:
    """Build the model at every choice it is given and run it once.

    Raises:
        RequestError: when it cannot be built, is no model, or cannot take the data's shape.
    """
    inputs, _ = batches.head(splits, PROBE_ROWS)
    held = hashlib.sha256()
    built: list[tuple[int, dict[str, Any]]] = []
    for hyperparameters in _probes(spec):
        chosen = ", ".join(f"{key}={value}" for key, value in hyperparameters.items())
        what = f"Model {spec.model!r}" + (f" with {chosen}" if chosen else "")
        try:
            with within(spec.trial_timeout, late(what, spec)):
                model = _build(what, spec, splits, hyperparameters)
                outputs, _ = solo.predict(model, inputs, None, carry=False)
        except RequestError:
            raise
        except Exception as error:  # a user's model may raise anything
            raise RequestError(
                f"{what} cannot take data {spec.data!r} of shape {tuple(splits.input_shape)}{_type(inputs)}: "
                f"{type(error).__name__}: {error}{at_line(error)}"
            ) from error
        _check_outputs(what, outputs, splits, spec)
        built.append((_num_parameters(model), hyperparameters))
        shapes = [(name, tuple(getattr(of, "shape", ()))) for name, of in model.state_dict().items()]
        held.update(repr(shapes).encode())
    largest = max([count for count, _ in built] + _largest(spec, splits, built))
    return Fitted(num_parameters=largest, fingerprint=held.hexdigest())


def _num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _type(inputs: torch.Tensor) -> str:
    return "" if inputs.is_floating_point() else ", integers (data that returns floats has them stay so)"


def _largest(spec: SweepSpec, splits: Splits, built: Sequence[tuple[int, dict[str, Any]]]) -> list[int]:
    """Return the parameters of the model of those choices that are the largest each alone, if it builds."""
    _, base = built[0]
    together = dict(base)
    for key in base:
        alone = [(count, one[key]) for count, one in built if {**one, key: base[key]} == base]
        together[key] = max(alone, key=lambda found: found[0])[1]
    try:
        with torch.device("meta"):  # for it takes no memory; what it cannot do is left to the trials
            return [_num_parameters(_build("", spec, splits, together))]
    except Exception:
        return []


def late(what: str, spec: SweepSpec) -> RequestError:
    return RequestError(
        f"{what} must answer within --trial-timeout {spec.trial_timeout:g} s, but does not: does it hang?"
        if spec.trial_timeout is not None
        else ""
    )


def _build(what: str, spec: SweepSpec, splits: Splits, hyperparameters: dict[str, Any]) -> nn.Module:
    arguments = solo.model_arguments(TrialSpec(number=0, hyperparameters=hyperparameters), spec, splits)
    build = references.load_model(spec.model).build
    try:
        with torch.random.fork_rng(devices=[]):
            model = build(**arguments)
    except Exception as error:  # a user's model may raise anything
        if isinstance(error, TypeError) and (lacking := _lacking(build, arguments)):
            raise RequestError(_must_have(spec.model, lacking[0])) from error
        raise RequestError(
            f"{what} cannot be built: {type(error).__name__}: {error}{at_line(error)}"
        ) from error
    if not isinstance(model, nn.Module):
        raise RequestError(
            f"{spec.model!r} must return a torch.nn.Module, but it returned a {type(model).__name__}."
        )
    return model


def _must_have(model: str, name: str) -> str:
    if name in TRAINING_HYPERPARAMETERS:
        return (
            f"Model {model!r} must not take {name!r} without a default: it goes to the training, not to the "
            "model; give it a default, or another name."
        )
    return (
        f"Model {model!r} must be given all that it takes without a default, but {name!r} has no value: "
        f"--set {name}=VALUE fixes it, --search {name}=A,B,C searches it (in a file or Python: `fixed` and "
        "`search`)."
    )


def _lacking(build: Callable[..., Any], arguments: Mapping[str, Any]) -> list[str]:
    """Return the parameters without a default that are not among these arguments."""
    try:
        parameters = inspect.signature(build).parameters.values()
    except (TypeError, ValueError):  # a builtin has none: calling it will tell
        return []
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    needed = [one.name for one in parameters if one.kind in kinds and one.default is one.empty]
    return [name for name in needed if name not in arguments]


def _probes(spec: SweepSpec) -> Iterator[dict[str, Any]]:
    """Yield the model's hyperparameters at one end of every range, then each other choice alone."""
    own = {k: v for k, v in spec.fixed.items() if k not in TRAINING_HYPERPARAMETERS}
    searched = {k: d for k, d in (spec.search or {}).items() if k not in TRAINING_HYPERPARAMETERS}
    bounds = {key: ends(dimension) for key, dimension in searched.items()}
    base = {**own, **{key: values[0] for key, values in bounds.items()}}
    yield base
    for key, values in bounds.items():
        if isinstance(searched[key], Choice | Int):
            for value in values[1:]:
                yield {**base, key: value}
    for entry in spec.try_:
        yield {**base, **{k: v for k, v in entry.items() if k not in TRAINING_HYPERPARAMETERS}}


def _check_outputs(what: str, outputs: object, splits: Splits, spec: SweepSpec) -> None:
    if not isinstance(outputs, torch.Tensor):
        raise RequestError(f"{what} must return a tensor, but it returned a {type(outputs).__name__}.")
    _, target = splits.train[0]
    wanted = (splits.num_outputs,) if splits.task == "classification" else tuple(target.shape)
    if tuple(outputs.shape[1:]) != wanted:
        raise RequestError(
            f"{what} must return {wanted} per example for data {spec.data!r}, "
            f"but it returns {tuple(outputs.shape[1:])}. {TARGETS[splits.task]}"
        )
