"""Preflight: what will run where. Refuses the impossible before anything is started or written."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tuning import notation, paths, places, references, resolve, storage
from tuning.data import CATALOG as DATA
from tuning.data import Splits
from tuning.engine import batches, solo
from tuning.errors import RequestError
from tuning.naming import unknown
from tuning.records import TrialSpec
from tuning.references import ModelReference, is_callable_reference
from tuning.space import Choice, Int, ends
from tuning.spec import TRAINING_HYPERPARAMETERS, SweepSpec

PROBE_ROWS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A request that can be carried out."""

    spec: SweepSpec
    """Complete; as it will stand in the sweep's folder, but for the id of a new sweep."""
    paths: paths.SweepPaths
    model: ModelReference
    splits: Splits
    num_parameters: int


def prepare(spec: SweepSpec) -> Plan:
    """Check a request as a whole.

    Raises:
        RequestError: when it cannot be carried out.
    """
    model = references.load_model(spec.model)
    data = resolve.data_reference(spec, model)
    _check_tasks(spec.model, data)
    home = paths.home_folder(spec.home)
    where = paths.SweepPaths(home, paths.check_name(spec.name or model.name))
    _check_writable(home)
    early = places.settled(replace(spec, name=where.name), where)
    early = replace(early, storage=_storage(early.storage))
    splits = references.load_data(data, seed=spec.seed)
    complete = as_it_was(resolve.resolve(early, model, splits.task), where)
    parameters = _try_model(complete, splits)
    return Plan(spec=complete, paths=where, model=model, splits=splits, num_parameters=parameters)


def _storage(option: str | None) -> str | None:
    """Return the storage so that it means the same from any folder."""
    if option is None:
        return None
    try:
        storage.check(option)
        return option if "://" in option else str(Path(option).expanduser().absolute())
    except RequestError:
        raise
    except Exception as error:  # whatever stands behind a URI may raise anything while it is opened
        raise RequestError(
            f"The storage {option!r} cannot be opened: {type(error).__name__}: {error}"
        ) from error


def _check_writable(home: Path) -> None:
    try:
        exists = next(folder for folder in (home, *home.parents) if folder.exists())
    except OSError as error:  # as for a name that is too long
        raise unwritable(home) from error
    if not (exists.is_dir() and os.access(exists, os.W_OK | os.X_OK)):
        raise unwritable(home)


def _check_tasks(model: str, data: str) -> None:
    """Refuse a classifier on a regression set and the reverse, before either is loaded."""
    import models

    if is_callable_reference(model) or is_callable_reference(data):
        return
    if data not in DATA:
        raise unknown("data", data, DATA)
    wants, is_ = models.CATALOG[model].task, DATA[data].task
    if wants != is_:
        fitting = ", ".join(sorted(name for name, card in DATA.items() if card.task == wants))
        raise RequestError(
            f"Model {model!r} is for {wants}, but data {data!r} is for {is_}; choose one of: {fitting}."
        )


def as_it_was(spec: SweepSpec, where: paths.SweepPaths) -> SweepSpec:
    """Return the spec, or if the sweep exists already its own with what may change taken over.

    A sweep that does not exist has no id, also where the spec is a copy of another sweep's.
    """
    if where.spec.exists():
        old = notation.load(where.spec)
        changed = notation.differences(old, spec)
        if changed:
            raise RequestError(
                f"The sweep {spec.name!r} exists with a different spec ({'; '.join(changed)}); "
                "give this search another name (--name, in Python `name=`), or leave what differs as it was."
            )
        return notation.continued(old, spec)
    begun = {where.claim.name, where.log.name}  # all that a driver leaves which dies at its start
    found = {path.name for path in where.folder.iterdir()} if where.folder.is_dir() else set()
    if any(name not in begun and not storage.ASIDE.fullmatch(name) for name in found):
        raise RequestError(
            f"The folder {where.folder} exists and is no sweep's; choose another --name or --home."
        )
    if where.folder.exists() and not where.folder.is_dir():
        raise RequestError(f"{where.folder} is a file; choose another --name or --home.")
    return replace(spec, id=None)


def _try_model(spec: SweepSpec, splits: Splits) -> int:
    """Build the model at every choice it is given and run it once; return its parameter count.

    Raises:
        RequestError: when it cannot be built, is no model, or cannot take the data's shape.
    """
    inputs, _ = batches.head(splits, PROBE_ROWS)
    count = 0
    for hyperparameters in _probes(spec):
        chosen = ", ".join(f"{key}={value}" for key, value in hyperparameters.items())
        what = f"Model {spec.model!r}" + (f" with {chosen}" if chosen else "")
        try:
            model = _build(what, spec, splits, hyperparameters)
            outputs, _ = solo.predict(model, inputs, None, carry=False)
        except RequestError:
            raise
        except Exception as error:  # a user's model may raise anything
            raise RequestError(
                f"{what} cannot take data {spec.data!r} of shape {tuple(splits.input_shape)}: "
                f"{type(error).__name__}: {error}"
            ) from error
        _check_outputs(what, outputs, splits, spec)
        count = count or sum(parameter.numel() for parameter in model.parameters())
    return count


def _build(what: str, spec: SweepSpec, splits: Splits, hyperparameters: dict[str, Any]) -> nn.Module:
    arguments = solo.model_arguments(TrialSpec(number=0, hyperparameters=hyperparameters), spec, splits)
    try:
        with torch.random.fork_rng(devices=[]):
            model = references.load_model(spec.model).build(**arguments)
    except Exception as error:  # a user's model may raise anything
        raise RequestError(f"{what} cannot be built: {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise RequestError(
            f"{spec.model!r} must return a torch.nn.Module, but it returned a {type(model).__name__}."
        )
    return model


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
            f"but it returns {tuple(outputs.shape[1:])}."
        )


def unwritable(home: Path) -> RequestError:
    return RequestError(f"The home {home} cannot be written; set --home or TUNING_HOME to a folder that can.")
