"""When trials trained where: kept in few records, since a sweep has many trials and each report moves an end.

A trial's spans are written when it has moved on, ended or been left: once per cohort. What takes long is
written in between, each time that it has doubled. So a driver that dies takes half of a long span with it at
most, or half a minute, and never makes one grow over a time for which nobody trained.
"""

from collections.abc import Sequence
from dataclasses import astuple, replace
from typing import Any

from tuning.records import Span

ATTRIBUTE = "spans"
"""The name of the user attribute: per span where, process, begin and end."""

UNWRITTEN_S = 30.0
"""What a death of the driver may always take of a span: more often than that nothing is written."""


class Spans:
    """The spans of trials that train now; each method returns what is to be written, if anything is."""

    def __init__(self) -> None:
        self._open: dict[int, list[Span]] = {}
        """All spans of a trial, the last one being the one that grows."""
        self._written_s: dict[int, float] = {}
        """The last end that was written."""

    def seen(self, number: int, span: Span, earlier: Sequence[Sequence[Any]]) -> list[list[Any]] | None:
        """Take in what a report says of a trial's span.

        Args:
            earlier: the trial's spans as they were written.
        """
        if number not in self._open:
            self._open[number] = read(earlier)
            self._written_s[number] = self._open[number][-1].end_s if earlier else 0.0
        spans, written_s = self._open[number], self._written_s[number]
        has_moved = False
        if spans and (spans[-1].process, spans[-1].begin_s) == (span.process, span.begin_s):
            spans[-1] = replace(spans[-1], end_s=max(spans[-1].end_s, span.end_s))
        else:
            has_moved = bool(spans) and spans[-1].end_s > written_s
            spans.append(span)
        unwritten_s = spans[-1].end_s - max(spans[-1].begin_s, written_s)
        is_due = unwritten_s >= max(UNWRITTEN_S, (spans[-1].end_s - spans[-1].begin_s) / 2)
        return self._write(number) if has_moved or is_due else None

    def left(self, number: int) -> list[list[Any]] | None:
        """The trial trains no more, for now or for ever."""
        if number not in self._open:
            return None
        has_news = self._open[number][-1].end_s > self._written_s[number]
        found = self._write(number) if has_news else None
        del self._open[number], self._written_s[number]
        return found

    def numbers(self) -> list[int]:
        """Return the trials that train."""
        return list(self._open)

    def _write(self, number: int) -> list[list[Any]]:
        spans = self._open[number]
        self._written_s[number] = spans[-1].end_s
        return [list(astuple(span)) for span in spans]


def read(plain: Sequence[Sequence[Any]]) -> list[Span]:
    """Return spans as they were written; none for an older study, which has none."""
    return [Span(str(where), int(process), float(begin), float(end)) for where, process, begin, end in plain]
