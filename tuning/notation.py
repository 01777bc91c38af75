"""A spec in YAML: in, out, and what changed between two."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from tuning import references
from tuning.errors import RequestError
from tuning.naming import unknown
from tuning.rules import REAL
from tuning.space import Scalar, is_finite, number, parse_search, to_option, to_plain
from tuning.spec import EarlyStopping, Resources, SweepSpec

MAX_VALUES, MAX_DEPTH, MAX_DIGITS = 100_000, 20, 300
"""Of a spec file. Ours need a few dozen values, four deep; what is beyond was made to fill the memory."""


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
    if "from_" in values:
        values["from_"] = str(values["from_"])
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
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RequestError(f"There is no spec file {path}.") from None
    except (OSError, ValueError) as error:
        raise RequestError(f"The spec file {path} cannot be read: {error}.") from error
    try:
        plain = _parsed(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise RequestError(f"A spec must be YAML, but {path}{line} is not: {problem}.") from error
    if not isinstance(plain, dict):
        raise RequestError(f"A spec must be a mapping of keys to values, but {path} holds {plain!r:.60}.")
    return plain


def _parsed(text: str) -> object:
    """Return what a text holds: plain values only, tags of anything else are refused.

    Raises:
        YAMLError: also for what would grow beyond all bounds, as aliases of aliases do.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        _check_size(node)
        return None if node is None else loader.construct_document(node)
    except yaml.YAMLError:
        raise
    except Exception as error:  # a tag on a value that is not of its kind; a nesting too deep to read
        raise yaml.MarkedYAMLError(problem=f"{type(error).__name__}: {error}") from error


def _check_size(root: yaml.Node | None) -> None:
    """Walk all values with aliases spelt out, before they are built."""
    left, seen = [] if root is None else [(root, 1)], 0
    while left:
        node, depth = left.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_VALUES:
            problem = f"it holds more than {MAX_VALUES} values, or they are nested more than {MAX_DEPTH} deep"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        if isinstance(node.value, list):  # of nodes, or of pairs of them
            for child in node.value:
                left += [(one, depth + 1) for one in (child if isinstance(child, tuple) else (child,))]
        elif node.tag.endswith(":int") and len(node.value) > MAX_DIGITS:
            problem = f"a number has more than {MAX_DIGITS} digits"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def load(path: Path) -> SweepSpec:
    """Read a spec file."""
    return from_plain(read_yaml(path), folder=path.resolve().parent)


class _Dumper(yaml.SafeDumper):
    """Writes all text so that it is read back as it is."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # A line break of Unicode's own, which PyYAML leaves bare, is read back as a blank.
    style = '"' if any(found in text for found in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)


def dump(spec: SweepSpec) -> str:
    return yaml.dump(to_plain_spec(spec), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


MAY_CHANGE = (
    "trials",
    "resources",
    "cohort",
    "compile",
    "max_concurrent",
    "max_failures",
    "trial_timeout",
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
            found += [f"{key}.{part}: {_change(one.get(part), other.get(part))}" for part in parts]
        elif one != other:
            found.append(f"{key}: {_change(one, other)}")
    return found


def _change(one: object, other: object) -> str:
    said, said_other = _said(one), _said(other)
    return f"{one!r} -> {other!r}" if said == said_other else f"{said} -> {said_other}"


def _said(value: object) -> str:
    """Return a value of a spec as the command line has it."""
    if isinstance(value, dict) and (
        isinstance(value.get("choices"), list)
        or (is_finite(value.get("low")) and is_finite(value.get("high")))
    ):
        return to_option(value)
    if isinstance(value, dict):
        return " ".join(f"{key}={_said(one)}" for key, one in value.items())
    return "none" if value is None else str(value)


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
