"""A figure with what it says in words."""

from dataclasses import dataclass

import plotly.graph_objects as go


@dataclass(frozen=True, slots=True)
class Panel:
    """One part of the page."""

    key: str
    title: str
    """What is to be seen, as a sentence."""
    text: str
    """How to read it."""
    figure: go.Figure | None = None
    """None where there is nothing to draw; `text` says why."""
