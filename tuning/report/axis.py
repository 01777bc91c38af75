"""An axis for a hyperparameter of any kind: numbers, names, and nothing at all where a trial has none."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tuning.report.view import identity, short
from tuning.space import Choice, Dimension

MISSING = "none"
"""What stands at a trial without the hyperparameter, as one whose optimizer has no momentum."""

NAME = 24
"""Characters of a choice's name."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Places values on a line, from 0 to 1; `missing` stand below."""

    dimension: Dimension
    has_missing: bool = False

    def place(self, value: Any) -> float:
        if value is None:
            return -0.15
        if isinstance(self.dimension, Choice):
            known = list(map(identity, self.dimension.choices))
            return known.index(identity(value)) / (len(known) - 1) if len(known) > 1 else 0.5
        low, high = self._scaled(self.dimension.low), self._scaled(self.dimension.high)
        return round((self._scaled(value) - low) / (high - low), 5) if high > low else 0.5

    def ticks(self) -> tuple[list[float], list[str]]:
        """Return places and what is written there."""
        values = list(self._values())
        places = [self.place(value) for value in values]
        names = [short(value)[:NAME] for value in values]
        return ([-0.15, *places], [MISSING, *names]) if self.has_missing else (places, names)

    def range(self, room: float = 0.0) -> list[float]:
        """Return the ends, with this much beyond them."""
        return [(-0.15 if self.has_missing else 0.0) - room, 1.0 + room]

    def _values(self) -> Iterable[Any]:
        """Return the values that have a tick."""
        if isinstance(self.dimension, Choice):
            choices = self.dimension.choices
            return choices[:: math.ceil(len(choices) / 20)]
        low, high = self.dimension.low, self.dimension.high
        if self.dimension.log:
            first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
            decades = [10.0**power for power in range(first, last + 1, max(1, (last - first) // 5))]
            found = decades if len(decades) > 1 else [low * (high / low) ** (step / 3) for step in range(4)]
        else:
            found = _round_steps(low, high)
        if isinstance(low, int) and isinstance(high, int):
            return dict.fromkeys(round(value) for value in found)
        return found

    def _scaled(self, value: float) -> float:
        return math.log10(value) if not isinstance(self.dimension, Choice) and self.dimension.log else value


def _round_steps(low: float, high: float) -> list[float]:
    """Return round numbers between two ends, some five of them."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.8)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12 - math.floor(math.log10(step))) for number in range(first, last + 1)]


def axis_of(dimension: Dimension, values: Iterable[Any]) -> Axis:
    """Return the axis on which these values of a hyperparameter stand; None for trials without it."""
    return Axis(dimension, any(value is None for value in values))
