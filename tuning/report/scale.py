"""The axis of the sweep's metric: one for all figures, and readable whatever diverged."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

from tuning.records import Mode

LOG_FROM = 30.0
"""Losses that span more than this factor stand on a log axis."""

FAR = 1e4
"""Times the median: worse losses stand at the edge of a log axis."""


WIDE = 10.0
"""Times what nine tenths of the values span: what is worse by more stands at the edge of a linear axis."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What an axis shows of a metric: from `low` to `high`; what lies beyond stands at the edge."""

    metric: str
    mode: Mode
    low: float
    high: float
    log: bool

    @property
    def worst(self) -> float:
        return self.high if self.mode == "min" else self.low

    def clip(self, value: float | None) -> float:
        """Return where a value stands; one that is no finite number stands at the bad edge."""
        if value is None or not math.isfinite(value):
            return self.worst
        place = min(max(value, self.low), self.high)
        return rounded(place) if self.log else round(place, self._digits)

    @property
    def _digits(self) -> int:
        """Return the decimals that can be seen on a linear axis: a page holds thousands of places."""
        return 4 - math.floor(math.log10(self.high - self.low)) if self.high > self.low else 8

    def axis(self) -> dict[str, Any]:
        """Return Plotly's axis, with a little room at both ends."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        room = 0.04 * (high - low)
        more = {"dtick": 1} if self.log and high - low > 2 else {}
        better = "less" if self.mode == "min" else "more"
        return {
            "title": {"text": f"{self.metric} ({better} is better)"},
            "type": "log" if self.log else "linear",
            "range": [low - room, high + room],
            **more,
        }


def rounded(value: float) -> float:
    """Return a number with as many digits as are read."""
    return float(f"{value:.5g}")


def fit(metric: str, mode: Mode, values: Iterable[float]) -> Scale:
    """Return the scale that shows these values; a few that are far worse than all others are cut off."""
    found = sorted(value for value in values if math.isfinite(value))
    if not found:
        return Scale(metric, mode, 0.0, 1.0, False)
    low, high = found[0], found[-1]
    if mode == "min" and low > 0 and high / low > LOG_FROM:
        high = min(high, FAR * found[len(found) // 2])
        return Scale(metric, mode, low, high, high / low > LOG_FROM)
    if len(found) >= 10:
        tenths = quantiles(found, n=10, method="inclusive")
        if mode == "min":
            high = min(high, tenths[-1] + WIDE * (tenths[-1] - low))
        else:
            low = max(low, tenths[0] - WIDE * (high - tenths[0]))
    if low == high:
        half = abs(low) * 0.05 or 0.5
        low, high = low - half, high + half
    return Scale(metric, mode, low, high, False)
