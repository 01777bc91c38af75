"""What the doctor finds: one difference, in words."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that does not agree with the rest of a sweep."""

    trial: int | None
    """Number of the trial that it is about; None: about the sweep as a whole."""
    text: str
    fixable: bool = True

    def __str__(self) -> str:
        return self.text if self.trial is None else f"trial {self.trial}: {self.text}"


def few(found: Iterable[object]) -> str:
    """Return the first few of many, as words."""
    words = [str(one) for one in found]
    return ", ".join(words[:4]) + (f" and {len(words) - 4} more" if len(words) > 4 else "")
