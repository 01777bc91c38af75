"""A spec in YAML: in, out, and what changed between two."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from tuning import references
from tuning.errors import RequestError
from tuning.naming import unknown
from tuning.space import Scalar, number, parse_search, to_plain
from tuning.spec import REAL, EarlyStopping, Resources, SweepSpec


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
    if "name" in values:
        values["name"] = str(values["name"])  # YAML takes `2024` for a number
    if "search" in values:
        values["search"] = parse_search(values["search"], REAL)
    if "fixed" in values:
        values["fixed"] = _scalars("fixed", values["fixed"])
    if "try_" in values:
        if not isinstance(values["try_"], list | tuple):
            raise RequestError(f"`try` must be a list of configurations, but got {values['try_']!r}.")
        values["try_"] = tuple(_scalars(f"try[{i}]", entry) for i, entry in enumerate(values["try_"]))
    values["early_stopping"] = _section(EarlyStopping, "early_stopping", values.get("early_stopping", {}))
    values["resources"] = _section(Resources, "resources", values.get("resources", {}))
    return SweepSpec(**values)


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


MAY_CHANGE = (
    "trials",
    "resources",
    "cohort",
    "compile",
    "max_concurrent",
    "max_failures",
    "address",
    "home",
    "id",
)
"""Keys in which a sweep's spec may differ from one invocation to the next."""


def differences(old: SweepSpec, new: SweepSpec) -> list[str]:
    """Return `key: old -> new` for every key in which a sweep may not change."""
    before, after = to_plain_spec(old), to_plain_spec(new)
    keys = [key for key in dict.fromkeys((*before, *after)) if key not in MAY_CHANGE]
    found = []
    for key in keys:
        one, other = before.get(key), after.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            parts = [part for part in dict.fromkeys((*one, *other)) if one.get(part) != other.get(part)]
            found += [f"{key}.{part}: {one.get(part)} -> {other.get(part)}" for part in parts]
        elif one != other:
            found.append(f"{key}: {one} -> {other}")
    return found


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
