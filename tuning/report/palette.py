"""What every figure looks like: a colour and a symbol per state, the same everywhere."""

from typing import Any

import plotly.graph_objects as go

from tuning.records import State

COLOURS = {
    State.COMPLETED: "#0072B2",
    State.PRUNED: "#E69F00",
    State.DIVERGED: "#CC79A7",
    State.FAILED: "#000000",
    State.RUNNING: "#009E73",
    State.INTERRUPTED: "#56B4E9",
}
"""Of Okabe and Ito, which people with any colour vision tell apart."""

SYMBOLS = {
    State.COMPLETED: "circle",
    State.PRUNED: "triangle-down",
    State.DIVERGED: "x",
    State.FAILED: "square",
    State.RUNNING: "diamond",
    State.INTERRUPTED: "diamond-open",
}

BEST = "#D55E00"
"""Of what is best; no state's."""

NEUTRAL = "#5A6470"
"""Of what is of no state."""

AT_WORK = "#C9D1D9"
"""Of a worker that trains, whatever it trains."""

LINES = ("#332288", "#117733", "#882255", "#999933", "#44AA99", "#AA4499", "#6699CC", "#661100")
"""Of single trials, where they are few; Paul Tol's muted scheme without what is like a state's."""

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def figure(height: int = 420, **layout: Any) -> go.Figure:
    """Return an empty figure in the page's style."""
    return go.Figure(layout=style(height, **layout))


def style(height: int = 420, **layout: Any) -> dict[str, Any]:
    """Return the layout of a figure, for those that are made otherwise."""
    return {
        "template": "plotly_white",
        "height": height,
        "margin": {"l": 70, "r": 30, "t": 20, "b": 55},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0.0},
        "hoverlabel": {"align": "left"},
        "font": {"family": "system-ui, sans-serif", "size": 13},
        **layout,
    }
