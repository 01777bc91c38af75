"""What is recorded of a training against the same training done again: epoch by epoch, and its weights."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Metrics = Mapping[str, float]
Alike = Callable[[float, float], bool]

TOLERANCE = 0.02
"""What two figures may differ by, relative to the larger one, where rounding may differ.

Rounding makes 1e-7 of a step, and training amplifies it from step to step: so much is left of it after epochs
of a training that is not chaotic, while another seed or learning rate makes tens of percent.
"""

LEAST = 1e-6
"""Figures below are as good as zero."""


def same(one: float, other: float) -> bool:
    """Whether two figures are the same to the last bit; so are two NaN."""
    return one == other or (math.isnan(one) and math.isnan(other))


def near(one: float, other: float) -> bool:
    """Whether two figures are the same but for rounding."""
    return same(one, other) or math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=LEAST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One epoch."""

    epoch: int
    recorded: Metrics
    """As the checkpoint has them."""
    replayed: Metrics | None
    """None: the training did not come so far again."""
    told: float | None
    """The sweep's metric as the study has it; None at an epoch of which it has none."""
    metric: str
    is_repeated: bool = False
    """Whether the study may have its value from another training of this epoch, before a death."""

    @property
    def is_equal(self) -> bool:
        """Whether all that is recorded came again to the last bit."""
        return self._agree(same) and (
            self.told is None or same(self.told, self.recorded.get(self.metric, math.nan))
        )

    def holds(self, *, exactly: bool) -> bool:
        """Whether what is recorded came again: to the last bit, or but for rounding."""
        alike = near if self.is_repeated or not exactly else same
        is_told = self.told is None or alike(self.told, self.recorded.get(self.metric, math.nan))
        return self._agree(same if exactly else near) and is_told

    def _agree(self, alike: Alike) -> bool:
        if self.replayed is None or self.recorded.keys() != self.replayed.keys():
            return False
        return all(alike(value, self.replayed[key]) for key, value in self.recorded.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The best epoch's tensors."""

    epoch: int
    is_equal: bool
    distance: float
    """Norm of what differs, relative to the norm of what is recorded; infinite where tensors are missing."""

    def holds(self, *, exactly: bool) -> bool:
        return self.is_equal if exactly else self.distance <= TOLERANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A training and its replay."""

    rows: Sequence[Row]
    weights: Weights | None
    """None: the training did not come again to that epoch."""
    loosely: Sequence[str] = ()
    """Why no equal bits are to be expected; nothing: they are."""
    others: Sequence[str] = ()
    """What else of the record does not agree with itself."""

    @property
    def exactly(self) -> bool:
        return not self.loosely

    @property
    def differing(self) -> list[Row]:
        return [row for row in self.rows if not row.holds(exactly=self.exactly)]

    @property
    def is_equal(self) -> bool:
        """Whether all came again to the last bit, whether that was to be expected or not."""
        is_same = self.weights is not None and self.weights.is_equal
        return is_same and not self.others and all(row.is_equal for row in self.rows)

    @property
    def holds(self) -> bool:
        has_weights = self.weights is not None and self.weights.holds(exactly=self.exactly)
        return has_weights and not self.differing and not self.others
