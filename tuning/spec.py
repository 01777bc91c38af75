"""SweepSpec: what a sweep is. One frozen value that cannot exist wrong; YAML in and out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from tuning import paths, references
from tuning.errors import RequestError
from tuning.naming import unknown
from tuning.records import Mode
from tuning.space import Dimension, Scalar, ends, number, parse_dimension, to_plain

Optimizer = Literal["sgd", "rmsprop", "adagrad", "adam"]
StoppingKind = Literal["asha", "median", "none"]

TRAINING_HYPERPARAMETERS = (
    "lr",
    "momentum",
    "weight_decay",
    "optimizer",
    "batch_size",
    "alpha",
    "beta2",
    "augment",
)
"""Hyperparameters that belong to training; all others go to the model's constructor."""

REAL = {
    "lr": "0 < lr",
    "momentum": "0 <= momentum < 1",
    "weight_decay": "0 <= weight_decay",
    "alpha": "0 <= alpha < 1",
    "beta2": "0 <= beta2 < 1",
    "dropout": "0 <= dropout < 1",
    "bn_momentum": "0 < bn_momentum <= 1",
}
"""Real-valued hyperparameters and the rule that each value keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopping:
    """When a trial that does badly ends before its last epoch."""

    kind: StoppingKind = "asha"
    grace_epochs: int = 1
    """The first rung: no trial is stopped before it has trained so many epochs."""
    reduction: int = 3
    """Rungs are grace_epochs * reduction^n; with asha the best 1/reduction of a rung goes on."""

    def __post_init__(self) -> None:
        _check_word("early_stopping.kind", self.kind, get_args(StoppingKind))
        _check_count("early_stopping.grace_epochs", self.grace_epochs)
        _check_count("early_stopping.reduction", self.reduction, least=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one cohort, that is one worker, takes of the cluster."""

    cpus: float = 1
    gpus: float | None = None
    """A share (0.25) or a whole number of GPUs; None: chosen by what the cluster has."""

    def __post_init__(self) -> None:
        _check_amount("resources.cpus", self.cpus)
        if self.gpus is not None:
            _check_amount("resources.gpus", self.gpus)
        if not self.cpus and not self.gpus:
            raise RequestError("A worker needs a CPU or a GPU share, but got resources cpus=0, gpus=0.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSpec:
    """One search over one model on one data set. Fields left None are filled in by `resolve`."""

    model: str
    """Catalog name, `package.module:callable` or `file.py:callable`."""
    data: str | None = None
    """The same for data; None: the model's default."""
    name: str | None = None
    trials: int = 32
    """The TOTAL that the sweep shall come to, over all invocations."""
    epochs: int | None = None
    batch_size: int | None = None
    metric: str | None = None
    mode: Mode | None = None
    search: Mapping[str, Dimension] | None = None
    """None: the model's default search; a mapping: exactly that."""
    fixed: Mapping[str, Scalar] = field(default_factory=dict)
    try_: Sequence[Mapping[str, Scalar]] = ()
    """Configurations to run first; what they leave out is suggested."""
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    resources: Resources = field(default_factory=Resources)
    cohort: int | Literal["auto"] = "auto"
    seed: int = 0
    max_concurrent: int | None = None
    """Cohorts at the same time; None: as many as the cluster holds."""
    max_failures: int = 5
    """So many failed trials in a row end the sweep."""
    address: str | None = None
    tracking_uri: str | None = None
    storage: str | None = None
    home: str | None = None
    id: str | None = None
    """The sweep's UUID; given when its folder is made."""

    def __post_init__(self) -> None:
        if self.search is not None:  # Python callers may give ranges in the YAML notation
            object.__setattr__(self, "search", parse_search(self.search))
        for key in ("trials", "max_failures"):
            _check_count(key, getattr(self, key))
        for key in ("epochs", "batch_size", "max_concurrent"):
            if getattr(self, key) is not None:
                _check_count(key, getattr(self, key))
        if self.cohort != "auto":
            _check_count("cohort", self.cohort)
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed < 0:
            raise RequestError(f"`seed` must be a whole number >= 0, but got {self.seed!r}.")
        for key in ("model", "data", "metric", "address", "tracking_uri", "storage", "home"):
            value = getattr(self, key)
            if value is not None and not (isinstance(value, str) and value.strip()):
                raise RequestError(f"`{key}` must be text, but got {value!r}.")
        if self.mode is not None:
            _check_word("mode", self.mode, get_args(Mode))
        if self.name is not None:
            paths.check_name(str(self.name))
        if self.address is not None and self.address.startswith("ray://"):
            raise RequestError(
                f"--address must be a cluster that the driver runs on, but got {self.address!r}: over ray:// "
                "study and records would move to the head unasked. Use `ray job submit -- tuning sweep ...`."
            )
        _check_hyperparameters(self)

    @property
    def is_resolved(self) -> bool:
        return None not in (self.name, self.data, self.epochs, self.batch_size, self.metric, self.mode)


def _check_hyperparameters(spec: SweepSpec) -> None:
    search = spec.search or {}
    for key, value in spec.fixed.items():
        check_value(key, value)
    for key, dimension in search.items():
        if key in spec.fixed:
            raise RequestError(
                "A hyperparameter is searched or fixed, not both, "
                f"but {key!r} stands under `search` and `fixed`."
            )
        for value in ends(dimension):
            check_value(key, value, where=f"search.{key}")
    for index, entry in enumerate(spec.try_):
        for key, value in entry.items():
            where = f"try[{index}].{key}"
            check_value(key, value, where=where)
            if key in search and value not in search[key]:
                raise RequestError(
                    f"{where} must lie in the search range {to_plain(search[key])}, but got {value!r}; "
                    "widen the range or change the value."
                )


def check_value(key: str, value: object, where: str | None = None) -> None:
    """Refuse a hyperparameter value that no trial could train with."""
    where = where or f"fixed.{key}"
    if key == "optimizer":
        _check_word(where, value, get_args(Optimizer))
    elif key == "batch_size":
        _check_count(where, value)
    elif key == "augment":
        if not isinstance(value, bool):
            raise RequestError(f"{where} must be true or false, but got {value!r}.")
    elif key in REAL and not (value is None and key == "bn_momentum"):
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise RequestError(f"{where} must be a finite number, but got {value!r}.")
        upper_open = value < 1 if key != "bn_momentum" else value <= 1
        lower = value > 0 if key in ("lr", "bn_momentum") else value >= 0
        if not (lower and (upper_open or key in ("lr", "weight_decay"))):
            raise RequestError(f"`{REAL[key]}` must hold, but got {where}={value}.")


def from_plain(plain: object, *, folder: Path) -> SweepSpec:
    """Build a spec from what a YAML file holds; `file.py:callable` is resolved against `folder`."""
    if not isinstance(plain, Mapping):
        raise RequestError(f"A spec must be a mapping of keys to values, but got {type(plain).__name__}.")
    known = {key.name.rstrip("_"): key.name for key in fields(SweepSpec)}
    values: dict[str, Any] = {}
    for key, value in plain.items():
        if key not in known:
            raise unknown("key in the spec", key, known)
        if value is not None:
            values[known[key]] = value
    if "model" not in values:
        raise RequestError(
            "A spec needs `model`: a catalog name (see `tuning models`) or `file.py:callable`."
        )
    for key in ("model", "data"):
        if isinstance(values.get(key), str):
            values[key] = references.absolute(values[key], folder)
    if "search" in values:
        values["search"] = parse_search(values["search"])
    if "fixed" in values:
        values["fixed"] = _scalars("fixed", values["fixed"])
    if "try_" in values:
        if not isinstance(values["try_"], list | tuple):
            raise RequestError(f"`try` must be a list of configurations, but got {values['try_']!r}.")
        values["try_"] = tuple(_scalars(f"try[{i}]", entry) for i, entry in enumerate(values["try_"]))
    values["early_stopping"] = _section(EarlyStopping, "early_stopping", values.get("early_stopping", {}))
    values["resources"] = _section(Resources, "resources", values.get("resources", {}))
    return SweepSpec(**values)


def parse_search(plain: object) -> dict[str, Dimension]:
    if not isinstance(plain, Mapping):
        raise RequestError(f"`search` must map hyperparameters to ranges, but got {plain!r}.")
    return {str(key): parse_dimension(str(key), value, real=key in REAL) for key, value in plain.items()}


def to_plain_spec(spec: SweepSpec) -> dict[str, Any]:
    """Return the YAML notation of a spec, without the keys that are None."""
    plain: dict[str, Any] = {}
    for key in fields(SweepSpec):
        value = getattr(spec, key.name)
        if key.name == "search" and value is not None:
            value = {name: to_plain(dimension) for name, dimension in value.items()}
        elif key.name == "fixed":
            value = dict(value)
        elif key.name == "try_":
            value = [dict(entry) for entry in value]
        elif isinstance(value, EarlyStopping | Resources):
            value = {part.name: getattr(value, part.name) for part in fields(value)}
        if value is not None and value != [] and not (key.name == "fixed" and not value):
            plain[key.name.rstrip("_")] = value
    return plain


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a spec file holds.

    Raises:
        RequestError: when the file is missing, unreadable, no YAML, or no mapping.
    """
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RequestError(f"There is no spec file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"The spec file {path} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise RequestError(f"A spec must be YAML, but {path}{line} is not: {problem}.") from error
    if not isinstance(plain, dict):
        raise RequestError(f"A spec must be a mapping of keys to values, but {path} holds {plain!r:.60}.")
    return plain


def load(path: Path) -> SweepSpec:
    """Read a spec file."""
    return from_plain(read_yaml(path), folder=path.resolve().parent)


def dump(spec: SweepSpec) -> str:
    return yaml.safe_dump(to_plain_spec(spec), sort_keys=False, allow_unicode=True)


MAY_CHANGE = ("trials", "resources", "cohort", "max_concurrent", "max_failures", "address", "home", "id")
"""Keys in which a sweep's spec may differ from one invocation to the next."""


def differences(old: SweepSpec, new: SweepSpec) -> list[str]:
    """Return `key: old -> new` for every key in which a sweep may not change."""
    before, after = to_plain_spec(old), to_plain_spec(new)
    keys = [key for key in dict.fromkeys((*before, *after)) if key not in MAY_CHANGE]
    return [
        f"{key}: {before.get(key)} -> {after.get(key)}" for key in keys if before.get(key) != after.get(key)
    ]


def continued(old: SweepSpec, new: SweepSpec) -> SweepSpec:
    """Return `old` with what may change taken from `new`."""
    return replace(old, **{key: getattr(new, key) for key in MAY_CHANGE if key != "id"})


def _section(kind: type[Any], name: str, plain: object) -> Any:
    if isinstance(plain, kind):
        return plain
    if not isinstance(plain, Mapping):
        raise RequestError(f"`{name}` must be a mapping, but got {plain!r}.")
    known = [part.name for part in fields(kind)]
    for key in plain:
        if key not in known:
            raise unknown(f"key in `{name}`", key, known)
    return kind(**{key: number(v) if v is not None else None for key, v in plain.items()})


def _scalars(name: str, plain: object) -> dict[str, Scalar]:
    if not isinstance(plain, Mapping):
        raise RequestError(f"`{name}` must map hyperparameters to values, but got {plain!r}.")
    for key, value in plain.items():
        if isinstance(value, list | tuple | Mapping):
            raise RequestError(
                f"{name}.{key} must be one value, but got {value!r}; ranges go under `search`."
            )
    return {str(key): number(value) if value is not None else None for key, value in plain.items()}  # type: ignore[misc]


def _check_word(key: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise unknown(f"`{key}`", value, known)


def _check_count(key: str, value: object, least: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise RequestError(f"`{key}` must be a whole number >= {least}, but got {value!r}.")


def _check_amount(key: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        raise RequestError(f"`{key}` must be a number >= 0, but got {value!r}.")
    if value > 1 and value != int(value):
        raise RequestError(
            f"`{key}` must be a share below 1 or a whole number, but got {value}: "
            "Ray gives shares of one unit only."
        )
