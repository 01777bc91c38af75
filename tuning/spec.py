"""SweepSpec: what a sweep is. One frozen value that cannot exist wrong."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from tuning import paths
from tuning.errors import RequestError
from tuning.records import Mode
from tuning.rules import REAL, check_amount, check_count, check_value, check_word
from tuning.space import Dimension, Scalar, ends, parse_search, to_plain

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

LONGEST_S = 1e9
"""Of a timeout: clocks of the system take not much more."""

UUID = r"[0-9A-Za-z-]{1,36}"
"""A sweep's id: it becomes a part of folder names and of MLflow's queries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopping:
    """When a trial that does badly ends before its last epoch."""

    kind: StoppingKind = "asha"
    grace_epochs: int = 1
    """The first rung: no trial is stopped before it has trained so many epochs."""
    reduction: int = 3
    """Rungs are grace_epochs * reduction^n; with asha the best 1/reduction of a rung goes on."""

    def __post_init__(self) -> None:
        check_word("early_stopping.kind", self.kind, get_args(StoppingKind))
        check_count("early_stopping.grace_epochs", self.grace_epochs)
        check_count("early_stopping.reduction", self.reduction, least=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one cohort, that is one worker, takes of the cluster."""

    cpus: float = 1
    gpus: float | None = None
    """A share (0.25) or a whole number of GPUs; None: chosen by what the cluster has."""

    def __post_init__(self) -> None:
        check_amount("resources.cpus", self.cpus)
        if self.gpus is not None:
            check_amount("resources.gpus", self.gpus)
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
        _check_amounts(self)
        _check_texts(self)
        _check_names(self)
        _check_hyperparameters(self)

    @property
    def ranks(self) -> int:
        """How many devices a trial is trained on at the same time."""
        return max(1, int(self.resources.gpus or 0))

    @property
    def is_resolved(self) -> bool:
        return None not in (self.name, self.data, self.epochs, self.batch_size, self.metric, self.mode)


def _check_amounts(spec: SweepSpec) -> None:
    """Refuse what of a spec is counted, measured or switched, where it is not as it must be."""
    for key in ("trials", "max_failures"):
        check_count(key, getattr(spec, key))
    for key in ("epochs", "batch_size", "max_concurrent"):
        if getattr(spec, key) is not None:
            check_count(key, getattr(spec, key))
    if not isinstance(spec.compile, bool):
        raise RequestError(f"`compile` must be true or false, but got {spec.compile!r}.")
    for key, kind in (("early_stopping", EarlyStopping), ("resources", Resources)):
        if not isinstance(getattr(spec, key), kind):
            raise RequestError(f"`{key}` must be of tuning.{kind.__name__}, but got {getattr(spec, key)!r}.")
    if spec.trial_timeout is not None:
        check_amount("trial_timeout", spec.trial_timeout, is_share=False)
        if not spec.trial_timeout:
            raise RequestError("`trial_timeout` must be more than 0 seconds; leave it out for none.")
        if spec.trial_timeout > LONGEST_S:
            raise RequestError(
                f"`trial_timeout` must be at most {LONGEST_S:g} seconds, but got {spec.trial_timeout:g}; "
                "leave it out for none."
            )
    if spec.cohort != "auto":
        check_count("cohort", spec.cohort)
        if spec.cohort > 1 and spec.ranks > 1:
            raise RequestError(
                f"A trial that has several GPUs trains alone, but `cohort` is {spec.cohort} and "
                f"resources.gpus {spec.ranks}; leave one of them out."
            )
    if not isinstance(spec.seed, int) or isinstance(spec.seed, bool) or spec.seed < 0:
        raise RequestError(f"`seed` must be a whole number >= 0, but got {spec.seed!r}.")


def _check_texts(spec: SweepSpec) -> None:
    """Refuse what of a spec is written, where it is no text, or none that is known."""
    for key in ("model", "data", "metric", "address", "tracking_uri", "storage", "home"):
        value = getattr(spec, key)
        if key in ("model", "data") and callable(value):
            name = getattr(value, "__name__", "NAME")
            raise RequestError(
                f"`{key}` must name where workers find it, but got {value!r} itself; write "
                f"'file.py:{name}' or 'package.module:{name}'."
            )
        if value is not None and not (isinstance(value, str) and value.strip()):
            raise RequestError(f"`{key}` must be text, but got {value!r}.")
    check_word("precision", spec.precision, get_args(Precision))
    if spec.mode is not None:
        check_word("mode", spec.mode, get_args(Mode))
    if spec.address is not None and spec.address.startswith("ray://"):
        raise RequestError(
            f"--address must be a cluster that the driver runs on, but got {spec.address!r}: over ray:// "
            "study and records would move to the head unasked. Use `ray job submit -- tuning sweep ...`."
        )


def _check_names(spec: SweepSpec) -> None:
    """Refuse names of sweeps that can be no folder, and ids that are none."""
    if spec.name is not None:
        paths.check_name(str(spec.name))
    if spec.from_ is not None:
        paths.check_name(str(spec.from_))
        if spec.from_ == spec.name:
            where = paths.SweepPaths(paths.home_folder(spec.home), spec.from_)
            raise RequestError(
                f"`from` must name an earlier sweep, but {spec.name!r} is this one's own name; give the "
                f"new one another (--name), or extend it: `{where.command('resume')} --trials TOTAL`."
            )
    if spec.id is not None and not (isinstance(spec.id, str) and re.fullmatch(UUID, spec.id)):
        raise RequestError(f"`id` must be a sweep's UUID, but got {spec.id!r}; leave it out: it is given.")


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
