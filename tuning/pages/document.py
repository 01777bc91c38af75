"""One HTML file that loads nothing from anywhere.

All that comes from a sweep is escaped, in the text and in the scripts, and a policy in the page's head
forbids the browser to fetch anything, whatever the page may hold.
"""

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:"
)
"""For the browser: what stands in the page, and nothing else."""


def document(title: str, body: Iterable[str], script: str = "") -> str:
    """Return an HTML document in which Plotly draws the figures of the body.

    Args:
        body: lines of HTML.
        script: JavaScript, run once the figures are drawn.
    """
    from plotly.offline import get_plotlyjs  # half a second, for commands that draw nothing

    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{_beside('style.css')}</style>",
            f"<script>{get_plotlyjs()}</script></head><body>",
            *body,
            f"<script>{_beside('figures.js')}{script}</script></body></html>",
            "",
        )
    )


def figure(key: str, title: str, drawn: Any) -> Iterable[str]:
    """Yield the place of a `plotly.graph_objects.Figure`, and its data.

    Args:
        key: an element id of the page's own.
        title: what it shows, for whoever cannot see it.
    """
    yield f'<div role="img" aria-label="{escape(title, quote=True)}" data-figure="{key}-data"></div>'
    yield data(f"{key}-data", str(drawn.to_json()))


def data(key: str, text: str) -> str:
    """Return JSON as an element that is not run, out of which nothing in it can break."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f'<script type="application/json" id="{key}">{text}</script>'


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
