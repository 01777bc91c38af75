"""From the options of `tuning sweep` to a spec: the file's keys, and over them the command line's."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from tuning import notation, resolve
from tuning.errors import RequestError
from tuning.naming import unknown
from tuning.references import absolute, check_file, load_model
from tuning.space import number, parse_option, to_plain
from tuning.spec import SweepSpec

PLAIN = (
    "data",
    "trials",
    "epochs",
    "batch_size",
    "seed",
    "metric",
    "mode",
    "compile",
    "precision",
    "max_concurrent",
    "max_failures",
    "trial_timeout",
    "address",
    "tracking_uri",
    "storage",
    "home",
    "name",
)
"""Options that are keys of a spec under the same name."""


def requested(options: Namespace, model: str, name: str | None = None) -> SweepSpec:
    """Return the spec that a command line asks for.

    Args:
        model: a catalog name, a callable, or a spec file.
        name: the sweep's name, over the option's.

    Raises:
        RequestError: when the file or an option is wrong.
    """
    plain: dict[str, Any] = {"model": absolute(model, Path.cwd())}
    if model.endswith((".yaml", ".yml")):
        plain = notation.read_yaml(Path(model))
    folder = Path(model).resolve().parent if model.endswith((".yaml", ".yml")) else Path.cwd()
    for key in ("model", "data"):
        if isinstance(plain.get(key), str):
            plain[key] = absolute(plain[key], folder)
    plain |= {key: getattr(options, key) for key in PLAIN if getattr(options, key) is not None}
    for key in ("model", "data"):
        if isinstance(plain.get(key), str):
            check_file(absolute(plain[key], Path.cwd()))
    if name is not None:
        plain["name"] = name
    if options.from_ is not None:
        plain["from"] = options.from_
    if options.cohort is not None:
        plain["cohort"] = number(options.cohort)
    stopping = {"kind": options.early_stopping, "grace_epochs": options.grace_epochs}
    _over(plain, "early_stopping", {**stopping, "reduction": options.reduction})
    _over(plain, "resources", {"cpus": options.cpus_per_trial, "gpus": options.gpus_per_trial})
    _fix(plain, options.set)
    _search(plain, options.search, options.no_search)
    return notation.from_plain(plain, folder=Path.cwd())


def _section(plain: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a copy of a section of the file; a wrong one is refused as it is in a file alone."""
    section = plain.get(key)
    if section is None:
        return {}
    if not isinstance(section, dict):
        notation.from_plain({"model": "any", key: section}, folder=Path.cwd())
    return dict(section)


def _over(plain: dict[str, Any], key: str, values: dict[str, Any]) -> None:
    given = {name: value for name, value in values.items() if value is not None}
    if given:
        plain[key] = _section(plain, key) | given


def _fix(plain: dict[str, Any], texts: list[str]) -> None:
    """Apply --set: what is fixed is no longer searched."""
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise RequestError(f"--set must be KEY=VALUE, but got {text!r}.")
        plain["fixed"] = _section(plain, "fixed") | {key: number(value)}
        if plain.get("search") is not None:
            plain["search"] = _section(plain, "search")
            plain["search"].pop(key, None)


def _search(plain: dict[str, Any], texts: list[str], dropped: list[str]) -> None:
    """Apply --search and --no-search to the file's search, or to the model's default."""
    if not (texts or dropped):
        return
    search = _section(plain, "search")
    if plain.get("search") is None:
        search = _default_search(plain)
    for text in texts:
        key, dimension = parse_option(text)
        search[key] = dimension
    for key in dropped:
        if key not in search and key not in _section(plain, "fixed"):  # that is not searched, as asked
            raise unknown("searched hyperparameter", key, search)
        search.pop(key, None)
    plain["search"] = search


def _default_search(plain: dict[str, Any]) -> dict[str, Any]:
    spec = notation.from_plain(plain, folder=Path.cwd())  # refuses what is wrong with the file
    defaults = resolve.default_search(spec.model, load_model(spec.model), spec.fixed)
    return {key: to_plain(dimension) for key, dimension in defaults.items()}
