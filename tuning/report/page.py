"""The page of a report: figures, table and facts."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from tuning import notation
from tuning.confirmed import Confirmed, HeldOut, interval_in_words
from tuning.errors import without_passwords
from tuning.pages import document
from tuning.records import TrialRecord
from tuning.report.palette import COLOURS
from tuning.report.panel import Panel
from tuning.report.sample import sample
from tuning.report.table import BYTES, ROWS, table
from tuning.report.view import View, label


def page(view: View, panels: Sequence[Panel], facts: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        facts: what else there is to say of the sweep, by its name.
    """
    name = str(view.sweep.spec.name)
    body = (
        *_head(view),
        *(line for panel in panels for line in _section(panel)),
        *_table(view),
        "<h2>The sweep</h2>",
        _facts(facts),
        "<h2>Its spec</h2>",
        f"<pre>{escape(without_passwords(notation.dump(view.sweep.spec)))}</pre>",
    )
    table_script = Path(__file__).with_name("table.js").read_text(encoding="utf-8")
    return document.document(f"{name}: report", body, table_script)


def _head(view: View) -> Iterable[str]:
    sweep, spec = view.sweep, view.sweep.spec
    yield f"<h1>{escape(str(spec.name))}</h1>"
    what = f"{spec.model} on {spec.data}: {len(view.trials):,} of {spec.trials:,} trials"
    yield f"<p>{escape(what)}</p>"
    states = view.by_state(view.trials)
    if states:
        yield '<ul class="states">'
        for state, trials in states.items():
            swatch = f'<span class="swatch" style="background:{COLOURS[state]}"></span>'
            yield f"<li>{swatch}{len(trials)} {state.value}</li>"
        yield "</ul>"
    yield f"<p>{_best(view)}</p>"
    if sweep.is_running:
        yield '<p class="notice">The sweep was running when this page was made.</p>'
    if len(view.shown) < len(view.trials):
        yield (
            f'<p class="notice">Figures draw {len(view.shown):,} of the {len(view.trials):,} trials: '
            "the best, and a random draw of the others, always the same. Counts, the best so far and the "
            "times at work are of all trials.</p>"
        )


def _best(view: View) -> str:
    best = view.sweep.best
    if best is None:
        return "No trial has ended with a result." if view.trials else "The sweep has no trial."
    pruned = "" if best.state == "completed" else " (stopped early: none has completed)"
    test = "".join(f", {key} {value:.5g}" for key, value in (view.sweep.test or {}).items())
    configuration = label(view, best)
    return (
        f"<strong>The best is trial {best.number}{pruned}</strong>: {escape(view.metric)} {best.value:.5g} "
        f"at epoch {best.epoch}{escape(test)}"
        + (f"<br>{escape(configuration)}" if configuration else "")
        + _confirmed(view, best)
    )


def _confirmed(view: View, best: TrialRecord) -> str:
    """Return what fresh seeds made of the best trial, by which it is the best."""
    found = view.sweep.confirmation
    one = None if found is None else found.of(best.number)
    if found is None or one is None:
        return ""
    held_out = ""
    if one.held_out is not None:
        held = one.held_out
        held_out = f"; held out, {escape(held.metric)} {held.mean:.5g}{_interval(held)}"
    mean = f"{one.mean:.5g} in the mean of {found.seeds} fresh seeds{_interval(one)}"
    return (
        f"<br>Confirmed: {mean}, by which it is preferred, whatever other trials came to in the "
        f"search{held_out}."
    )


def _interval(one: Confirmed | HeldOut) -> str:
    return "" if one.low is None else f" (95 % interval {interval_in_words(one)})"


def _section(panel: Panel) -> Iterable[str]:
    yield f'<section id="{panel.key}"><h2>{escape(panel.title)}</h2>'
    yield f'<p class="quiet">{escape(panel.text)}</p>'
    if panel.figure is not None:
        yield from document.figure(panel.key, panel.title, panel.figure)
    yield "</section>"


def _table(view: View) -> Iterable[str]:
    trials, rows = _rows(view)
    every = len(trials) == len(view.trials)
    of = (
        "All trials" if every else f"{len(trials):,} of {len(view.trials):,} trials, drawn as for the figures"
    )
    yield '<section id="table"><h2>The trials</h2>'
    yield f'<p class="quiet">{of}. A click on a column sorts by it, another one the other way round.</p>'
    yield '<div class="scroll" tabindex="0"><table id="trials">'
    yield "<thead><tr></tr></thead><tbody></tbody></table></div>"
    yield '<p><button type="button" id="more" hidden></button></p>'
    yield document.data("table-data", rows)
    yield "</section>"


def _rows(view: View) -> tuple[list[TrialRecord], str]:
    """Return the trials that the table holds, and their rows as JSON: as many as the page has room for."""
    trials = sample(view.trials, ROWS, view.mode)
    while len(text := json.dumps(table(view, trials), separators=(",", ":"), allow_nan=False)) > BYTES:
        trials = sample(view.trials, int(0.98 * len(trials) * BYTES / len(text)), view.mode)
    return trials, text


def _facts(facts: Mapping[str, str]) -> str:
    return (
        "<dl>"
        + "".join(
            f"<dt>{escape(key)}</dt><dd>{escape(without_passwords(value))}</dd>"
            for key, value in facts.items()
        )
        + "</dl>"
    )
