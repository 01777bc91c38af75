"""Where trials trained, and when: a Gantt chart of workers, in which one sees devices that stand idle."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import plotly.graph_objects as go

from tuning.records import Span, State, TrialRecord
from tuning.report import palette
from tuning.report.lanes import Lanes, Place, lanes, union
from tuning.report.panel import Panel
from tuning.report.view import View, brief, plain

LANES = 80
"""More workers than these are not drawn, but counted."""

FINE = 1500
"""Of what is shorter than this part of the whole, gaps cannot be seen."""

AT_WORK_BARS = 6_000
"""Where more would tell when workers were at work, longer gaps are left out: a page has to be opened."""


def timeline(view: View) -> Panel:
    """Return a row per worker, with its trials as bars, over the time."""
    title, found = "Who trained when", lanes(view.trials, view.sweep.fleet)
    if not found.busy:
        text = "The study of this sweep does not tell when its trials trained: none has reported yet, or an"
        return Panel("timeline", title, f"{text} earlier version kept it.")
    places = sorted(found.busy, key=lambda place: (not found.busy[place], place))[:LANES]
    begin, end = found.driven[0][0], found.driven[-1][1]
    figure = palette.figure(
        height=130 + max(26, min(60, 1600 // len(places))) * len(places),
        margin={"l": 190, "r": 30, "t": 20, "b": 55},
        barmode="overlay",
        xaxis={
            "title": {"text": "time (UTC)"},
            "type": "date",
            "range": [_date(begin), _date(end)],
            "rangebreaks": [{"bounds": [_date(first), _date(last)]} for first, last in found.pauses],
        },
        yaxis={
            "tickvals": list(range(len(places))),
            "ticktext": [_name(found, place) for place in places],
            "range": [len(places) - 0.4, -0.6],
        },
    )
    rows = {place: row for row, place in enumerate(places)}
    figure.add_trace(_busy(found, rows))
    for state, trials in view.by_state(view.shown).items():
        trace = _bars(view, found, rows, state, trials)
        if trace is not None:
            figure.add_trace(trace)
    more = f" {len(found.busy) - LANES} further workers are not drawn." if len(found.busy) > LANES else ""
    if found.pauses:
        more += f" Pauses between two commands are cut out: {len(found.pauses)}."
    return Panel(
        "timeline",
        _title(found),
        "A row is a worker on a host or GPU, or one to which no trial came; white is idle or not "
        "there, grey is at work, and bars are trials, by what became of them; trials of one cohort "
        f"share the row's height. Between its last report and the next begin a worker counts as idle.{more}",
        figure,
    )


def _title(found: Lanes) -> str:
    count, never = len(found.busy), sum(not busy for busy in found.busy.values())
    share = sum(map(found.share, found.busy)) / count
    trained = f"{count} worker{'s' if count > 1 else ''} trained for {share:.0%} of the time"
    return f"{trained}: {never} of them never did" if never else trained


def _busy(found: Lanes, rows: Mapping[Place, int]) -> go.Bar:
    """Return when each worker trained anything: of all trials, also of those that are not drawn."""
    gap_s = found.driven_s / FINE
    while sum(len(union(found.busy[place], gap_s)) for place in rows) > AT_WORK_BARS:
        gap_s *= 2
    bars = [(row, *one) for place, row in rows.items() for one in union(found.busy[place], gap_s)]
    return go.Bar(
        y=[row for row, _, _ in bars],
        base=[_date(begin) for _, begin, _ in bars],
        x=[1000 * (end - begin) for _, begin, end in bars],
        orientation="h",
        width=0.86,
        name="at work",
        marker={"color": palette.AT_WORK, "line": {"width": 0}},
        hoverinfo="skip",
    )


def _bars(
    view: View, found: Lanes, rows: Mapping[Place, int], state: State, trials: Sequence[TrialRecord]
) -> go.Bar | None:
    """Return a bar per place where each of these trials trained."""
    width = {key: 0.8 / count for key, count in _together(view).items()}
    slots = _slots(view)
    bars = [
        (rows[found.of[span.where, span.process]], slots[trial.number, index], width[_key(span)], span, trial)
        for trial in trials
        for index, span in enumerate(trial.spans)
        if found.of[span.where, span.process] in rows
    ]
    if not bars:
        return None
    return go.Bar(
        y=[row - 0.4 + (slot + 0.5) * thick for row, slot, thick, _, _ in bars],
        base=[_date(span.begin_s) for *_, span, _ in bars],
        x=[1000 * max(0.0, span.end_s - span.begin_s) for *_, span, _ in bars],
        width=[thick * 0.92 for _, _, thick, _, _ in bars],
        text=[
            f"{brief(view, trial)}<br>process {span.process}, {_seconds(span)}" for *_, span, trial in bars
        ],
        textposition="none",
        orientation="h",
        name=state.value,
        marker={"color": palette.COLOURS[state], "line": {"width": 0.5, "color": "white"}},
        hovertemplate="%{text}<extra></extra>",
    )


def _key(span: Span) -> tuple[str, int, float]:
    return span.where, span.process, span.begin_s


def _together(view: View) -> dict[tuple[str, int, float], int]:
    """Return how many trials that are drawn trained together, by where and when they began."""
    counts: dict[tuple[str, int, float], int] = defaultdict(int)
    for trial in view.shown:
        for span in trial.spans:
            counts[_key(span)] += 1
    return counts


def _slots(view: View) -> dict[tuple[int, int], int]:
    """Return the place of each span, by trial and index, among those that trained together."""
    counts: dict[tuple[str, int, float], int] = defaultdict(int)
    found = {}
    for trial in view.shown:
        for index, span in enumerate(trial.spans):
            found[trial.number, index] = counts[_key(span)]
            counts[_key(span)] += 1
    return found


def _name(found: Lanes, place: Place) -> str:
    where, worker = place
    work = f"{found.share(place):.0%} at work" if found.busy[place] else "never at work"
    return f"{plain(where[-40:])}<br>worker {worker}: {work}"


def _seconds(span: Span) -> str:
    return f"{span.end_s - span.begin_s:.3g} s"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
