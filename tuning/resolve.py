"""Fills in what a spec leaves open, and refuses hyperparameters that nothing takes."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from tuning.errors import RequestError
from tuning.naming import unknown
from tuning.records import Mode
from tuning.references import ModelReference, is_callable_reference
from tuning.rules import REAL
from tuning.space import Choice, Dimension, parse_search
from tuning.spec import TRAINING_HYPERPARAMETERS, SweepSpec

Task = Literal["classification", "regression"]

METRICS: dict[Task, tuple[str, ...]] = {
    "classification": ("val_accuracy", "val_loss"),
    "regression": ("val_loss",),
}
"""Metrics that can steer a search, the default first."""

OWN_MODEL_SEARCH: dict[str, dict[str, Any]] = {
    "lr": {"low": 1e-4, "high": 0.3, "log": True},
    "momentum": {"low": 0.0, "high": 0.99},
    "dropout": {"low": 0.0, "high": 0.6},
    "bn_momentum": {"low": 0.01, "high": 0.9},
}
"""Default search of a user's own model: of these, what training or its constructor takes."""

OWN_MODEL_EPOCHS = 5
OWN_MODEL_BATCH_SIZE = 64

OWNERS = {"alpha": ("rmsprop",), "beta2": ("adam",), "momentum": ("sgd", "rmsprop", "adam")}
"""Hyperparameters that only some optimizers have."""

DEFAULT_LR = {"sgd": 1e-2, "rmsprop": 1e-2, "adagrad": 1e-2, "adam": 1e-3}


def optimizer_defaults(optimizer: str) -> dict[str, float]:
    """Return what an optimizer takes where nothing is given, as in torch.optim; Adam's momentum: beta 1."""
    momentum = 0.9 if optimizer == "adam" else 0.0
    lr = DEFAULT_LR[optimizer]
    return {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "alpha": 0.99, "beta2": 0.999}


def defaults(model: ModelReference, optimizer: str) -> dict[str, Any]:
    """Return the value of each hyperparameter that a trial of this optimizer has where none is given."""
    parameters = inspect.signature(model.build).parameters.values()
    own = {one.name: one.default for one in parameters if one.default is not one.empty}
    return {**own, **training_defaults(optimizer)}


def training_defaults(optimizer: str) -> dict[str, Any]:
    """Return those of them that are no matter of the model."""
    return {**optimizer_defaults(optimizer), "augment": False}


def applies(hyperparameter: str, optimizer: object) -> bool:
    """Whether an optimizer has this hyperparameter."""
    return optimizer in OWNERS.get(hyperparameter, (optimizer,))


def data_reference(spec: SweepSpec, model: ModelReference) -> str:
    """Return the sweep's data, which only a catalog model can leave open."""
    import models

    if spec.data is not None:
        return spec.data
    if is_callable_reference(spec.model):
        raise RequestError(
            f"Your own model {model.name!r} needs `data` (--data): a catalog name or `file.py:callable`."
        )
    return models.CATALOG[spec.model].data


def resolve(spec: SweepSpec, model: ModelReference, task: Task) -> SweepSpec:
    """Return the spec with every open field filled in, as it is kept in the sweep's folder."""
    import models

    card = models.CATALOG.get(spec.model)
    metric = spec.metric or METRICS[task][0]
    if metric not in METRICS[task]:
        raise unknown(f"metric of a {task} sweep", metric, METRICS[task])
    _check_names(spec, model)
    fixed = dict(spec.fixed)
    if "optimizer" not in {*fixed, *(spec.search or {})}:
        fixed["optimizer"] = "sgd"
    _check_optimizer(replace(spec, fixed=fixed))
    search = spec.search
    if search is None:
        search = default_search(spec.model, model, fixed)
    if not search and not spec.try_ and spec.trials > 1:
        raise RequestError(
            f"`search` leaves nothing to search, but `trials` is {spec.trials}; "
            "search a hyperparameter (--search KEY=LOW:HIGH) or ask for one trial (--trials 1)."
        )
    return replace(
        spec,
        name=spec.name or model.name,
        data=data_reference(spec, model),
        epochs=spec.epochs or (card.epochs if card else OWN_MODEL_EPOCHS),
        batch_size=spec.batch_size or (card.batch_size if card else OWN_MODEL_BATCH_SIZE),
        metric=metric,
        mode=spec.mode or default_mode(metric),
        search=search,
        fixed=fixed,
    )


def default_mode(metric: str) -> Mode:
    return "max" if metric.endswith("accuracy") else "min"


def default_search(
    reference: str, model: ModelReference, fixed: Mapping[str, object]
) -> dict[str, Dimension]:
    """Return the model's default ranges without what is fixed or what the optimizer does not have."""
    import models

    card = models.CATALOG.get(reference)
    known = {*TRAINING_HYPERPARAMETERS, *model.arguments}
    ranges = card.search if card else OWN_MODEL_SEARCH
    return parse_search(
        {
            key: value
            for key, value in ranges.items()
            if key in known and key not in fixed and applies(key, fixed.get("optimizer", "sgd"))
        },
        REAL,
    )


def _given(spec: SweepSpec) -> Iterable[str]:
    yield from spec.fixed
    yield from spec.search or {}
    for entry in spec.try_:
        yield from entry


def _check_names(spec: SweepSpec, model: ModelReference) -> None:
    known = (*TRAINING_HYPERPARAMETERS, *model.arguments)
    for key in _given(spec):
        if key not in known:
            raise unknown(f"hyperparameter of model {model.name!r}", key, known)


def _check_optimizer(spec: SweepSpec) -> None:
    """Refuse what no trial of the sweep could use, as momentum with AdaGrad."""
    searched = (spec.search or {}).get("optimizer")
    optimizers = {spec.fixed.get("optimizer")} - {None}
    if isinstance(searched, Choice):
        optimizers |= set(searched.choices)
    optimizers |= {entry["optimizer"] for entry in spec.try_ if "optimizer" in entry}
    for key in _given(spec):
        if key in OWNERS and not optimizers & set(OWNERS[key]):
            owners = " or ".join(OWNERS[key])
            chosen = " or ".join(sorted(map(str, optimizers)))
            raise RequestError(
                f"`{key}` belongs to {owners}, but the optimizer is {chosen}; "
                f"leave `{key}` out or choose another optimizer."
            )
