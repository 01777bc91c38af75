"""The page of an inspection: titled figures with captions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from tuning.pages import document


@dataclass(frozen=True, slots=True)
class Section:
    """A figure under its heading, with what it shows; None where there is nothing to draw."""

    heading: str
    text: str
    figure: Any | None = None
    """A `plotly.graph_objects.Figure`."""


def page(title: str, text: str, sections: Sequence[Section]) -> str:
    """Return an HTML document; all text is taken as text, whatever stands in it."""
    lines = (line for index, section in enumerate(sections) for line in _section(f"figure-{index}", section))
    return document.document(title, (f"<h1>{escape(title)}</h1>", *_paragraphs(text), *lines))


def _section(key: str, section: Section) -> Iterable[str]:
    yield f"<h2>{escape(section.heading)}</h2>"
    yield from _paragraphs(section.text, "quiet")
    if section.figure is not None:
        yield from document.figure(key, section.heading, section.figure)


def _paragraphs(text: str, kind: str = "") -> Iterable[str]:
    for line in text.splitlines():
        yield f'<p class="{kind}">{escape(line)}</p>'
