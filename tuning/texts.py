"""Facts about a sweep (`standing.sweep_facts`) as text for the terminal."""

from collections.abc import Sequence
from typing import Any

from tuning.screen import describe


def status_line(facts: dict[str, Any]) -> str:
    states = ", ".join(f"{count} {state}" for state, count in sorted(facts["states"].items())) or "no trials"
    running = ", running now" if facts["driver"] else ""
    found = ""
    if facts["best"]:
        best = facts["best"]
        how = ", pruned" if best["state"] == "pruned" else ""
        if (confirmed := best.get("confirmed")) is not None:
            how = f", confirmed: {confirmed['mean']:.5g} in the mean"
        found = f"; best {facts['metric']}={best['value']:.5g} (trial {best['trial']}{how})"
    elif facts["top"]:
        first = facts["top"][0]
        found = f"; best so far {facts['metric']}={first['value']:.5g} (trial {first['trial']})"
    return f"{facts['sweep']}: {states} of {facts['total']} in {facts['wall_s']:.0f} s{running}{found}"


def status_text(facts: dict[str, Any]) -> str:
    lines = [status_line(facts)]
    if facts["best"]:
        lines += [best_text(facts["best"]), *ahead_lines(facts)]
    lines += top_lines(facts)
    if facts["unfinished"]:
        word = "running" if facts["driver"] else f"interrupted ({facts['resume']})"
        lines += [f"{word}: {found}" for found in _unfinished(facts)]
    if (last := facts["failure"]) is not None:
        said = f"trial {last['trial']} {last['state']}: {last['cause']}"
        more = f"{facts['inspect']} --trial {last['trial']}"
        lines.append(f"went wrong  {said} (all of it: {more})")
    left = facts["total"] - sum(facts["states"].values())
    if left > 0 and not facts["driver"]:
        lines.append(f"not begun   {left} of {facts['total']} trials ({facts['resume']})")
    lines.append(f"cohort      {facts['sizing']}")
    lines += cost_lines(facts)
    lines += [f"note        {note}" for note in facts["notes"]]
    if facts["driver"]:
        lines.append(f"driver      {facts['driver']}")
    return "\n".join([*lines, f"folder      {facts['folder']}"])


def ahead_lines(facts: dict[str, Any]) -> list[str]:
    """Return that a trial is ahead of the best one that counts as it has not come so far, or nothing."""
    best = facts["best"]
    if not facts["top"] or best.get("confirmed"):
        return []
    first = facts["top"][0]
    if first["state"] == best["state"] or first["value"] == best["value"]:
        return []
    of_which = "of those that completed" if best["state"] == "completed" else "of those that have ended"
    return [f"            ({of_which}; trial {first['trial']}, {first['state']}, has {first['value']:.5g})"]


def top_lines(facts: dict[str, Any]) -> list[str]:
    """Return a line per trial that is best so far, where there are several."""
    lines = [
        f"trial {one['trial']} {one['state']}: best {one['value']:.5g} at epoch {one['epoch']}, "
        f"{describe(one['hyperparameters'])}"
        for one in facts["top"]
    ]
    return [f"{'top' if not index else '':12}{line}" for index, line in enumerate(lines) if len(lines) > 1]


def cost_lines(facts: dict[str, Any]) -> list[str]:
    """Return what the sweep has cost, as no or one line."""
    return [f"cost        {facts['spent']}"] if facts["spent"] else []


def _unfinished(facts: dict[str, Any]) -> list[str]:
    """Return a line per cohort that has trials left."""
    by_place: dict[str, list[int]] = {}
    nowhere = " (wait for a worker)" if facts["driver"] else ""
    for number in facts["unfinished"]:
        where, cohort = facts["where"][str(number)], facts["cohorts"].get(str(number))
        by_place.setdefault(f" ({where}, cohort {cohort})" if where else nowhere, []).append(number)
    return [f"{_numbers(found)}{place}" for place, found in by_place.items()]


def _numbers(found: list[int]) -> str:
    few = ", ".join(map(str, found[:8])) + (", ..." if len(found) > 8 else "")
    return f"{len(found)} trials: {few}" if len(found) > 1 else f"trial {few}"


def best_text(facts: dict[str, Any]) -> str:
    test = "".join(f", {key}={value:.5g}" for key, value in (facts["test"] or {}).items())
    found = f"{facts['metric']}={facts['value']:.5g} at epoch {facts['epoch']}{test}"
    pruned = " (pruned: no trial has completed)" if facts["state"] == "pruned" else ""
    lines = [f"best        trial {facts['trial']}{pruned}: {found}"]
    lines.append(f"            {describe(facts['hyperparameters'])}")
    return "\n".join([*lines, *_confirmed_lines(facts)])


def _ends(interval: Sequence[float] | None) -> str:
    return "" if interval is None else ", 95 % interval {:.5g} to {:.5g}".format(*interval)


def _confirmed_lines(facts: dict[str, Any]) -> list[str]:
    """Return what fresh seeds made of the best trial, if it was confirmed."""
    found = facts.get("confirmed")
    if found is None:
        return []
    diverged = f" ({found['diverged']} diverged)" if found["diverged"] else ""
    seeds = f"in the mean of {found['seeds']} fresh seeds{diverged}{_ends(found['interval'])}"
    lines = [f"confirmed   {facts['metric']} {found['mean']:.5g} {seeds}"]
    if (held_out := found["held_out"]) is not None:
        said = f"{held_out['metric']} {held_out['mean']:.5g}{_ends(held_out['interval'])}"
        lines.append(f"            held out: {said}")
    if hopeless := found["hopeless"]:
        lines.append(f"            diverged with every fresh seed: trial {', '.join(map(str, hopeless))}")
    if (newer := found["not_confirmed"]) is not None:
        better = f"trial {newer['trial']} has {newer['value']:.5g} by the search's figure"
        lines.append(f"            {better}, not confirmed yet: `{newer['confirm']}`")
    return lines
