"""Watching a sweep that another process runs, until it ends: on a terminal, in lines, or as JSON Lines.

Writes nothing and asks neither Ray nor MLflow: all that is shown stands in the sweep's folder.
"""

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tuning import gpus, ledger, paths, standing
from tuning.paths import SweepPaths
from tuning.records import State
from tuning.screen import bar, describe

Facts = dict[str, Any]
Show = Callable[[Facts], None]

READING_SHARE = 0.1
"""The part of the time that reading a large study may take."""

PATIENCE_S = 30.0
"""How long one waits for a driver: its command checks the request before it takes the sweep."""

LOOK_S = 1.0
"""Between two looks for it."""

MOST_WORKERS = 16
"""Rows of the table of workers."""

MOST_GPUS = 8
"""Of which each has a line."""


def watch(name: str, home: str | None, interval_s: float, *, as_json: bool) -> Facts:
    """Show how a sweep stands, until it ends or Ctrl-C; return how it stands then.

    Raises:
        RequestError: when the home has no such sweep, and none begins within half a minute.
    """
    _await(SweepPaths(paths.home_folder(home), paths.check_name(name)))
    found = _facts(name, home)
    facts = next(found)
    took_s = 0.0
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError), _display(as_json) as show:
        facts = _once_driven(facts, found)
        while facts["is_running"]:
            show(facts)
            time.sleep(max(interval_s, took_s / READING_SHARE))
            start_s = time.monotonic()
            facts = next(found)
            took_s = time.monotonic() - start_s
    return facts


def _await(where: SweepPaths) -> None:
    """Wait for a sweep whose command may have been given just now."""
    if not os.path.exists(where.spec):
        wait = f"waiting {PATIENCE_S:g} s for its command to begin it ..."
        print(f"no sweep {where.name} in {where.home}: {wait}", file=sys.stderr)
        for _ in _looks():
            if os.path.exists(where.spec):
                return


def _looks() -> Iterator[None]:
    """Yield now and then, for as long as one waits for a driver."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        time.sleep(LOOK_S)
        yield


def _once_driven(facts: Facts, found: Iterator[Facts]) -> Facts:
    """Return how a sweep stands once it is driven, or has nothing left to do, or nobody takes it."""
    if facts["is_running"] or _num_ended(facts) >= facts["total"]:
        return facts
    print(f"nobody drives {facts['sweep']}: waiting {PATIENCE_S:g} s for who does ...", file=sys.stderr)
    for _ in _looks():
        facts = next(found)
        if facts["is_running"]:
            break
    return facts


def _facts(name: str, home: str | None) -> Iterator[Facts]:
    """Yield how a sweep stands now, without what there is of each of ten thousand trials that have ended."""
    for sweep in ledger.readings(name, home):
        facts = standing.sweep_facts(sweep)
        unfinished = map(str, facts["unfinished"])
        cohorts = {number: facts["cohorts"][number] for number in unfinished if number in facts["cohorts"]}
        yield {**facts, "cohorts": cohorts, "gpus": _gpus(sweep, facts)}


def _gpus(sweep: ledger.Sweep, facts: Facts) -> list[dict[str, Any]]:
    """Return how busy GPUs are: those of this host now, others as their workers last told."""
    here = f"{socket.gethostname()}, GPU "
    where = {one["where"] for one in facts["workers"]}
    elsewhere = {one for one in where if not one.startswith(here)}
    own = gpus.use() if elsewhere != where else []
    return [*own, *gpus.told(sweep.paths.gpu_use, elsewhere)]


@contextlib.contextmanager
def _display(as_json: bool) -> Iterator[Show]:
    if as_json:
        yield _changes(lambda facts: json.dumps({**facts, "gpus": [], "wall_s": None}), json.dumps)
    elif sys.stdout.isatty():
        with Live(console=Console(), auto_refresh=False, transient=True) as live:
            yield lambda facts: live.update(rendered(facts), refresh=True)
    else:
        yield _changes(_line, _line)


def _changes(key: Callable[[Facts], str], line: Callable[[Facts], str]) -> Show:
    """Print a line where the key differs from that of the look before."""
    before = ""

    def show(facts: Facts) -> None:
        nonlocal before
        if key(facts) != before:
            print(line(facts), flush=True)
        before = key(facts)

    return show


def _line(facts: Facts) -> str:
    return f"{summary(facts)}; {_best(facts)}"


def summary(facts: Facts) -> str:
    """Return as a line how many trials have ended, and how."""
    states = facts["states"]
    counts = ", ".join(f"{states[state]} {state}" for state in State if state.has_ended and states.get(state))
    running = f", {states[State.RUNNING]} running" if states.get(State.RUNNING) else ""
    line = f"{facts['sweep']}: {_num_ended(facts)}/{facts['total']} trials ended"
    return line + (f" ({counts})" if counts else "") + running


def _num_ended(facts: Facts) -> int:
    return sum(count for state, count in facts["states"].items() if State(state).has_ended)


def _best(facts: Facts) -> str:
    if not facts["top"]:
        return "no result yet"
    first = facts["top"][0]
    return f"best so far: {first['value']:.5g} (trial {first['trial']}, epoch {first['epoch']})"


def rendered(facts: Facts) -> Group:
    """Return a sweep as a terminal shows it."""
    lines = [f"cohorts in training: {len(facts['workers'])}"]
    lines += [f"spent so far: {facts['spent']}"] if facts["spent"] else []
    lines += gpu_lines(facts["gpus"])
    lines += [f"driven by {facts['driver']}; Ctrl-C ends the watching, not the sweep"]
    return Group(
        Text(summary(facts)),
        bar(facts["total"], _num_ended(facts)),
        Text(""),
        _top(facts),
        Text(""),
        _workers(facts),
        *map(Text, lines),
    )


def gpu_lines(found: list[dict[str, Any]]) -> Iterator[str]:
    yield from map(gpus.describe, found[:MOST_GPUS])
    more = [one["busy"] for one in found[MOST_GPUS:]]
    known = [busy for busy in more if busy is not None]
    average = f": {sum(known) / len(known):.0f} % busy on average" if known else ""
    if more:
        yield f"{len(more)} more GPUs{average}"


def _top(facts: Facts) -> Table:
    table = _table("top trials", "state", facts["metric"], "epoch", "hyperparameters")
    for one in facts["top"]:
        value, found = f"{one['value']:.5g}", describe(one["hyperparameters"])
        table.add_row(str(one["trial"]), one["state"], value, str(one["epoch"]), found)
    return table


def _workers(facts: Facts) -> Table:
    table = _table("workers", "cohort", "epoch", "trials")
    for one in facts["workers"][:MOST_WORKERS]:
        few = ", ".join(map(str, one["trials"][:8])) + (", ..." if len(one["trials"]) > 8 else "")
        epoch = f"{one['epoch']} of {facts['epochs']}"
        table.add_row(one["where"], one["cohort"], epoch, f"{len(one['trials'])}: {few}")
    more = len(facts["workers"]) - MOST_WORKERS
    if more > 0:
        table.add_row(f"and {more} more")
    between = len(facts["unfinished"]) - sum(len(one["trials"]) for one in facts["workers"])
    if between:
        table.add_row("in none now", "", "", f"{between} waiting for one, or yet to report an epoch")
    return table


def _table(*columns: str) -> Table:
    """Return a table of which only the last column is cut where the terminal is narrow."""
    table = Table(box=None, pad_edge=False, expand=True)
    for column in columns:
        ratio = 1 if column == columns[-1] else None
        table.add_column(column, no_wrap=True, overflow="ellipsis", ratio=ratio)
    return table
