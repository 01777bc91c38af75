"""SweepSpec: what a sweep is. One frozen value that cannot exist wrong."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from tuning import paths
from tuning.errors import RequestError
from tuning.naming import unknown
from tuning.records import Mode
from tuning.space import Dimension, Scalar, ends, is_finite, parse_search, to_plain

Optimizer = Literal["sgd", "rmsprop", "adagrad", "adam"]
StoppingKind = Literal["asha", "median", "none"]
Precision = Literal["fp32", "bf16"]

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

LEAST_SHARE = 0.0001

UUID = r"[0-9A-Za-z-]{1,36}"
"""A sweep's id: it becomes a part of folder names and of MLflow's queries."""

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
    from_: str | None = None
    """An earlier sweep of the same home, on whose trials the search looks back."""
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    resources: Resources = field(default_factory=Resources)
    cohort: int | Literal["auto"] = "auto"
    compile: bool = False
    """Whether cohorts compile the steps that they repeat often (torch.compile)."""
    precision: Precision = "fp32"
    """bf16: automatic mixed precision while training."""
    seed: int = 0
    max_concurrent: int | None = None
    """Cohorts at the same time; None: as many as the cluster holds."""
    max_failures: int = 5
    """So many failed trials in a row end the sweep."""
    trial_timeout: float | None = None
    """Seconds without a report after which a cohort's worker is taken to hang; None: for ever."""
    address: str | None = None
    tracking_uri: str | None = None
    storage: str | None = None
    home: str | None = None
    id: str | None = None
    """The sweep's UUID; given when its folder is made."""

    def __post_init__(self) -> None:
        if self.search is not None:  # Python callers may give ranges in the YAML notation
            object.__setattr__(self, "search", parse_search(self.search, REAL))
        for key in ("trials", "max_failures"):
            _check_count(key, getattr(self, key))
        for key in ("epochs", "batch_size", "max_concurrent"):
            if getattr(self, key) is not None:
                _check_count(key, getattr(self, key))
        if not isinstance(self.compile, bool):
            raise RequestError(f"`compile` must be true or false, but got {self.compile!r}.")
        for key, kind in (("early_stopping", EarlyStopping), ("resources", Resources)):
            if not isinstance(getattr(self, key), kind):
                raise RequestError(
                    f"`{key}` must be of tuning.{kind.__name__}, but got {getattr(self, key)!r}."
                )
        _check_word("precision", self.precision, get_args(Precision))
        if self.trial_timeout is not None:
            _check_amount("trial_timeout", self.trial_timeout, is_share=False)
            if not self.trial_timeout:
                raise RequestError("`trial_timeout` must be more than 0 seconds; leave it out for none.")
        if self.cohort != "auto":
            _check_count("cohort", self.cohort)
            if self.cohort > 1 and self.ranks > 1:
                raise RequestError(
                    f"A trial that has several GPUs trains alone, but `cohort` is {self.cohort} and "
                    f"resources.gpus {self.ranks}; leave one of them out."
                )
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed < 0:
            raise RequestError(f"`seed` must be a whole number >= 0, but got {self.seed!r}.")
        for key in ("model", "data", "metric", "address", "tracking_uri", "storage", "home"):
            value = getattr(self, key)
            if key in ("model", "data") and callable(value):
                name = getattr(value, "__name__", "NAME")
                raise RequestError(
                    f"`{key}` must name where workers find it, but got {value!r} itself; write "
                    f"'file.py:{name}' or 'package.module:{name}'."
                )
            if value is not None and not (isinstance(value, str) and value.strip()):
                raise RequestError(f"`{key}` must be text, but got {value!r}.")
        if self.mode is not None:
            _check_word("mode", self.mode, get_args(Mode))
        if self.name is not None:
            paths.check_name(str(self.name))
        if self.from_ is not None:
            paths.check_name(str(self.from_))
            if self.from_ == self.name:
                raise RequestError(
                    f"`from` must name an earlier sweep, but {self.name!r} is this one's own name; give the "
                    f"new one another (--name), or extend it: `tuning resume {self.name} --trials TOTAL`."
                )
        if self.id is not None and not (isinstance(self.id, str) and re.fullmatch(UUID, self.id)):
            raise RequestError(
                f"`id` must be a sweep's UUID, but got {self.id!r}; leave it out: it is given."
            )
        if self.address is not None and self.address.startswith("ray://"):
            raise RequestError(
                f"--address must be a cluster that the driver runs on, but got {self.address!r}: over ray:// "
                "study and records would move to the head unasked. Use `ray job submit -- tuning sweep ...`."
            )
        _check_hyperparameters(self)

    @property
    def ranks(self) -> int:
        """How many devices a trial is trained on at the same time."""
        return max(1, int(self.resources.gpus or 0))

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
        if not is_finite(value):
            hint = "; a range is LOW:HIGH or LOW:HIGH:log" if where.startswith("search.") else ""
            raise RequestError(f"{where} must be a finite number, but got {value!r}{hint}.")
        upper_open = value < 1 if key != "bn_momentum" else value <= 1
        lower = value > 0 if key in ("lr", "bn_momentum") else value >= 0
        if not (lower and (upper_open or key in ("lr", "weight_decay"))):
            raise RequestError(f"`{REAL[key]}` must hold, but got {where}={value}.")


def _check_word(key: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise unknown(f"`{key}`", value, known)


def _check_count(key: str, value: object, least: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise RequestError(f"`{key}` must be a whole number >= {least}, but got {value!r}.")


def _check_amount(key: str, value: object, *, is_share: bool = True) -> None:
    if not is_finite(value) or value < 0:
        raise RequestError(f"`{key}` must be a number >= 0, but got {value!r}.")
    if is_share and 0 < value < LEAST_SHARE:
        raise RequestError(
            f"`{key}` must be 0 or at least {LEAST_SHARE}, Ray's least share, but got {value!r}."
        )
    if is_share and value > 1 and value != int(value):
        raise RequestError(
            f"`{key}` must be a share below 1 or a whole number, but got {value}: "
            "Ray gives shares of one unit only."
        )
