"""What a part of a benchmark has found: a table, and what was found beside what is asked; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import tables


@dataclass(frozen=True, slots=True)
class Check:
    """A figure and the most that it may be."""

    what: str
    found: float
    most: float
    counted: Sequence[str] = ()
    """What the figure is the number of, for the JSON."""

    @classmethod
    def none(cls, what: str, counted: Sequence[str]) -> "Check":
        """Return the check that there is nothing of a kind."""
        return cls(what, len(counted), 0, counted)

    @property
    def is_met(self) -> bool:
        return self.found <= self.most


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    title: str
    text: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    checks: Sequence[Check]
    raw: Mapping[str, Any] = field(default_factory=dict)
    """What stands in the JSON alone."""


def plain(found: Findings) -> dict[str, Any]:
    return {**asdict(found), "checks": [{**asdict(check), "met": check.is_met} for check in found.checks]}


def document(title: str, parts: Iterable[Mapping[str, Any]]) -> str:
    return "\n\n".join([f"# {title}", *map(section, parts)]) + "\n"


def section(part: Mapping[str, Any]) -> str:
    """Return a part as text, from what `plain` has made of it and the circumstances beside that."""
    judged = [
        (check["what"], _number(check["found"]), f"at most {check['most']:,g}", _verdict(check["met"]))
        for check in part["checks"]
    ]
    return "\n\n".join(
        (
            f"## {part['title']}",
            part["text"],
            tables.table(part["head"], part["rows"]),
            tables.table(("", "found", "target", ""), judged),
            tables.circumstances_markdown(dict(part)),
        )
    )


def _verdict(is_met: bool) -> str:
    return "met" if is_met else "missed"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
