"""Search dimensions as values, and their two notations: a YAML mapping and `LOW:HIGH[:log]`."""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from tuning.errors import RequestError
from tuning.naming import unknown

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Float:
    """A real number in [low, high], uniform or log-uniform."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high, self.log)

    def __contains__(self, value: object) -> bool:
        return _is_number(value) and self.low <= float(str(value)) <= self.high


@dataclass(frozen=True, slots=True)
class Int:
    """A whole number in [low, high], both ends included."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high, self.log)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a list of names or numbers."""

    choices: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        if not self.choices:
            raise RequestError("A choice needs at least one value, but got none.")
        if len(set(map(repr, self.choices))) != len(self.choices):
            raise RequestError(f"Choices must differ, but got {list(self.choices)}.")

    def __contains__(self, value: object) -> bool:
        return value in self.choices


Dimension = Float | Int | Choice


def parse_search(plain: object, real: Collection[str]) -> dict[str, Dimension]:
    """Read `search:`; hyperparameters in `real` are real-valued whatever their bounds look like."""
    if not isinstance(plain, Mapping):
        raise RequestError(f"`search` must map hyperparameters to ranges, but got {plain!r}.")
    return {str(key): parse_dimension(str(key), value, real=key in real) for key, value in plain.items()}


def parse_dimension(key: str, value: Any, *, real: bool) -> Dimension:
    """Read one entry of `search:`; `real` makes a range of whole numbers a real one."""
    if isinstance(value, Float | Int | Choice):
        return value
    try:
        if isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value)):
            low, high = sorted(value)
            kind = "Float" if real or not all(isinstance(one, int) for one in value) else "Int"
            raise RequestError(
                f"a pair of numbers may mean a range or two choices, but got {value!r}; write "
                f"tuning.{kind}({low}, {high}) or tuning.Choice({value!r})."
            )
        if isinstance(value, list | tuple):
            return Choice(tuple(number(item) for item in value))
        if isinstance(value, Mapping) and "choices" in value:
            _only(value, {"choices"})
            if not isinstance(value["choices"], list | tuple):
                raise RequestError(f"`choices` must be a list, but got {value['choices']!r}.")
            return Choice(tuple(number(item) for item in value["choices"]))
        if isinstance(value, Mapping) and {"low", "high"} <= set(value):
            _only(value, {"low", "high", "log"})
            return _range(value["low"], value["high"], value.get("log", False), real)
    except RequestError as error:
        raise RequestError(f"search.{key}: {error}") from None
    if isinstance(value, Mapping):
        for name in value:
            if name not in ("low", "high", "log", "choices"):
                raise unknown(f"key in search.{key}", name, ("low", "high", "log", "choices"))
    raise RequestError(
        f"search.{key} must be {{low: L, high: H[, log: true]}} or {{choices: [A, B]}}, but got {value!r}."
    )


def parse_option(text: str) -> tuple[str, Any]:
    """Read `KEY=LOW:HIGH[:log]` or `KEY=A,B,C` into a key and its YAML notation."""
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise RequestError(f"--search must be KEY=LOW:HIGH[:log] or KEY=A,B,C, but got {text!r}.")
    if looks := re.fullmatch(r"(\d[\d.]*)(?:-|\.\.)(\d[\d.]*)", value):
        low, high = looks.groups()
        raise RequestError(
            f"--search {key}: a range is LOW:HIGH[:log], but got {value!r}; write {key}={low}:{high}."
        )
    if ":" not in value:
        return key, {"choices": [number(item) for item in value.split(",")]}
    parts = value.split(":")
    if len(parts) > 3 or (len(parts) == 3 and parts[2] != "log"):
        raise RequestError(f"--search {key}: a range is LOW:HIGH or LOW:HIGH:log, but got {value!r}.")
    return key, {"low": number(parts[0]), "high": number(parts[1]), "log": len(parts) == 3}


def to_option(plain: Mapping[str, Any]) -> str:
    """Return a dimension's YAML notation as the command line has it: LOW:HIGH[:log] or A,B,C."""
    if "choices" in plain:
        return ",".join(map(str, plain["choices"]))
    return f"{plain['low']:g}:{plain['high']:g}" + (":log" if plain.get("log") else "")


def ends(dimension: Dimension) -> tuple[Scalar, ...]:
    """Return the values that bound a dimension: both ends of a range, every choice."""
    return dimension.choices if isinstance(dimension, Choice) else (dimension.low, dimension.high)


def to_plain(dimension: Dimension) -> dict[str, Any]:
    """Return the YAML notation of a dimension."""
    if isinstance(dimension, Choice):
        return {"choices": list(dimension.choices)}
    plain: dict[str, Any] = {"low": dimension.low, "high": dimension.high}
    return plain | ({"log": True} if dimension.log else {})


def number(value: Any) -> Scalar:
    """Read a scalar; YAML 1.1 takes `1e-4` (no dot) for text, so numbers are read once more here."""
    if isinstance(value, bool | int | float):
        return value
    text = str(value).strip()
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def is_finite(value: object) -> TypeGuard[int | float]:
    """Whether this is a number that a float can hold."""
    try:
        return _is_number(value) and math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _range(low: Any, high: Any, log: Any, real: bool) -> Float | Int:
    low, high = number(low), number(high)
    for name, bound in (("low", low), ("high", high)):
        if not _is_number(bound):
            raise RequestError(f"`{name}` must be a number, but got {bound!r}.")
    if not isinstance(log, bool):
        raise RequestError(f"`log` must be true or false, but got {log!r}.")
    _check_bounds(low, high, log)  # as given: a float may not hold them
    if isinstance(low, int) and isinstance(high, int) and not real:
        return Int(low, high, log)
    return Float(float(low), float(high), log)


def _check_bounds(low: float, high: float, log: bool) -> None:
    if not (is_finite(low) and is_finite(high)):
        raise RequestError(f"`low` and `high` must be finite, but got low={low}, high={high}.")
    if low >= high:
        raise RequestError(
            f"`low < high` must hold, but got low={low}, high={high}; "
            "to fix the value, put it under `fixed` (on the command line --set KEY=VALUE)."
        )
    if log and low <= 0:
        raise RequestError(f"`low > 0` must hold on a log scale, but got low={low}.")


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _only(value: Mapping[str, Any], known: set[str]) -> None:
    for key in value:
        if key not in known:
            raise unknown("key", key, known)
