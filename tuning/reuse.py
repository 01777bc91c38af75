"""A sweep's models back: load, measure. Needs neither Ray nor, for local sweeps, MLflow."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import models
from tuning import data, ledger, paths
from tuning.data import Splits
from tuning.engine import checkpoint, solo
from tuning.engine.batches import Batches
from tuning.errors import CheckpointError, RequestError, one_line
from tuning.records import State, TrialRecord
from tuning.references import load_callable, load_data
from tuning.spec import SweepSpec

MAX_REASON = 200
"""Characters of why a checkpoint does not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A trained model and what is known of it."""

    model: nn.Module
    """In `eval()` mode, on the CPU."""
    trial: TrialRecord
    transform: Callable[[Any], Tensor] = field(repr=False)
    """Raw input (an image, an array) -> batch of model inputs."""
    card: dict[str, Any] = field(repr=False)
    """All else that the checkpoint holds: metrics, history, seed, data, versions."""


def load_checkpoint(path: str | Path, model: Callable[..., nn.Module] | None = None) -> LoadedModel:
    """Build a checkpoint's model with its best weights.

    Args:
        path: a file or URI.
        model: what builds the model, if it is not one of the catalog: a name that stands in a file
            is never imported.

    Raises:
        CheckpointError: when the file is missing, torn, or its weights do not fit the model.
    """
    content = checkpoint.load(str(path))
    name = content.get("model")
    if model is None and not (isinstance(name, str) and name in models.CATALOG):
        raise CheckpointError(
            f"{path} holds a model that is not in the catalog ({name!r}); "
            "give what builds it: load_checkpoint(path, model=YourModel)."
        )
    return _loaded(content, model or models.CATALOG[str(name)].build, str(path))


def load_best(
    name: str,
    *,
    home: str | None = None,
    tracking_uri: str | None = None,
    trial: int | None = None,
    model: Callable[..., nn.Module] | None = None,
) -> LoadedModel:
    """Return the best model of a sweep, or that of one of its trials.

    Unless `model` is given, the sweep's own spec names what builds a model that is not of the catalog, and
    that is imported: read sweeps that you trust.

    Args:
        home: where the sweep's folder is (default: TUNING_HOME, else `runs`).
        tracking_uri: read the sweep from this MLflow server instead of a home.
        model: what builds the model, as where the sweep's own files are not on this machine.

    Raises:
        RequestError: when there is no such sweep or trial.
        SweepError: when the sweep has no completed trial yet.
        CheckpointError: when the trial has no checkpoint, or the file is another's.
    """
    paths.check_name(name)
    if tracking_uri is not None:
        from tuning.tracking import client

        with client.downloaded_checkpoint(tracking_uri, name, trial) as (path, spec):
            return load_of_sweep(path, spec, trial, model)
    sweep = ledger.open_sweep(name, home)
    record = sweep.trial(trial) if trial is not None else sweep.best_or_raise()
    path = paths.checkpoint_file(sweep.folder, record.number)
    return replace(load_of_sweep(path, sweep.spec, record.number, model), trial=record)


def load_of_sweep(
    path: str, spec: SweepSpec, number: int | None, model: Callable[..., nn.Module] | None = None
) -> LoadedModel:
    """Load a checkpoint of this sweep, of this trial if one is given.

    Without `model` what the sweep's own spec names is imported, which is trusted to; a name in a checkpoint
    is not.

    Raises:
        CheckpointError: when it is missing, torn, or another's.
    """
    loaded = load_checkpoint(path, model or _builder(spec))
    sweep, sweep_id, found = loaded.card["sweep"], loaded.card["sweep_id"], loaded.trial.number
    if sweep_id != spec.id or number not in (None, found):
        of = "" if number is None else f"trial {number} of "
        raise CheckpointError(
            f"{path} must be of {of}the sweep {spec.name!r} ({spec.id}), but it is of trial {found} of "
            f"{sweep!r} ({sweep_id}); put the sweep's own file back."
        )
    return loaded


def _builder(spec: SweepSpec) -> Callable[..., nn.Module]:
    """Return what builds a sweep's model.

    Raises:
        RequestError: when it is no longer where it was, or cannot be imported.
    """
    if spec.model in models.CATALOG:
        return models.CATALOG[spec.model].build
    try:
        return load_callable(spec.model)
    except RequestError as error:
        raise RequestError(
            f"The sweep {spec.name!r} has its model from {spec.model}. {error} Put it back as it was, "
            "or in Python give what builds the model: load_best(name, model=YourModel)."
        ) from error


def measure(loaded: LoadedModel, split: str = "test", splits: Splits | None = None) -> dict[str, float]:
    """Measure a loaded model on a split of its own data (`train`, `validation` or `test`).

    Raises:
        CheckpointError: when the data is no longer what the model was trained on.
    """
    splits = splits or load_data(loaded.card["data"], seed=loaded.card["seed"])
    check_data(loaded, splits)
    rows = getattr(splits, split)
    batches = Batches(rows, int(loaded.card["batch_size"]), torch.device("cpu"), ordered=splits.ordered)
    prefix = "val" if split == "validation" else split
    return solo.evaluate(loaded.model, batches.in_order(), splits, prefix)


def check_data(loaded: LoadedModel, splits: Splits) -> None:
    """Refuse data that is no longer what a model was trained on."""
    if splits.fingerprint != loaded.card["fingerprint"]:
        raise CheckpointError(
            f"Data {loaded.card['data']!r} is not what trial {loaded.trial.number} was trained on: "
            "its fingerprint differs."
        )


def _loaded(content: dict[str, Any], build: Callable[..., nn.Module], path: str) -> LoadedModel:
    checkpoint.require(content, checkpoint.FIELDS, path)
    try:
        model = build(**content["arguments"])
        model.load_state_dict(content["state_dict"])
        return LoadedModel(
            model=model.eval(),
            trial=TrialRecord(
                number=content["trial"],
                state=State(content["state"]),
                hyperparameters=content["hyperparameters"],
                values={i + 1: metrics[content["metric"]] for i, metrics in enumerate(content["history"])},
                value=content["value"],
                epoch=content["epoch"],
            ),
            transform=data.preprocessor(content["preprocess"]),
            card={key: value for key, value in content.items() if key != "state_dict"},
        )
    except Exception as error:  # a user's model, and what stands in a file, may raise anything
        name = getattr(build, "__name__", content["model"])
        said = one_line(error)
        short = said if len(said) <= MAX_REASON else f"{said[:MAX_REASON]} ..."
        raise CheckpointError(
            f"{path} does not fit {name}: {type(error).__name__}: {short}; has the code changed "
            "since, or is it another model's?"
        ) from error
