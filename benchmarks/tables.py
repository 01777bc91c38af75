"""Results as Markdown tables and as plain data for JSON; pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks import command, fairness
from benchmarks.command import Command
from benchmarks.job import Job
from benchmarks.race import Race, Round
from benchmarks.trace import Measured

RACE_NOTES = (
    "Cells: median over the rounds (least - most). A round runs the competitors one after the other, each "
    "as a process of its own, on the same configurations.",
    "start-up: start of the process to the start of the first epoch (imports, ray.init, workers). trials: "
    "from there to the end of the last epoch. tail: from there to the end of the process (last records, "
    "test of the best, shutdown). whole: all three. trials/s counts the trials' time only, all-in/s all but "
    "the start-up.",
    "busy: seconds within epochs (training and validation) over cores x the trials' time. workers: "
    "processes that trained.",
    "Ours: `tuning.sweep` with MLflow, checkpoints and resume state, as always; times of its epochs are "
    "seen in the driver, a few hundredths of a second late at the start and at the end alike. Its workers' "
    "probe of cohort sizes, before the first epoch, counts as start-up.",
    "All start from the same weights and take the same rows in the same order; dropout masks differ (ours "
    "against the others'). differs: final losses against bare, median over the trials; each configuration "
    "was trained for each epoch, once, or until it diverged, which 1 % may, else there is no result.",
    "textbook: Tuner + OptunaSearch + MLflowLoggerCallback over SQLite, defaults otherwise, no checkpoints. "
    "optuna_pool: ask and tell over SQLite, a process pool. bare: a process pool, nothing recorded.",
)

COMMAND_NOTES = (
    "Cells: median over the runs (least - most). Seconds since the command was started, in a fresh home.",
    "Ray starts while torch is imported and the request is checked, so milestones overlap in what they "
    "wait for. The first report comes after the first epochs of a trial and their way to the driver.",
)


MOST_LISTED = 64
"""Trials whose final metrics, and configurations, stand in the JSON."""


def spread(values: Iterable[float], form: str = ".1f") -> str:
    """Return the median, and least and most where there are several values."""
    found = sorted(values)
    middle = format(median(found), form)
    return middle if len(found) == 1 else f"{middle} ({found[0]:{form}} - {found[-1]:{form}})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(head), ["---", *("---:" for _ in head[1:])], *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def race_plain(race: Race, job: Job, rounds: Sequence[Round]) -> dict[str, Any]:
    return {
        "title": race.title,
        "job": {
            **asdict(job),
            "configurations": () if job.is_searched else job.configurations[:MOST_LISTED],
        },
        "rounds": [{name: _measured_plain(one) for name, one in measured.items()} for measured in rounds],
        "targets": [
            {
                "what": target.what,
                "target": str(target),
                "per_round": [target.figure(measured) for measured in rounds],
                "median": median(target.figure(measured) for measured in rounds),
                "met": target.is_met(median(target.figure(measured) for measured in rounds)),
            }
            for target in race.targets
        ],
    }


def _measured_plain(one: Measured) -> dict[str, Any]:
    plain = asdict(one)
    if one.num_trials > MOST_LISTED:
        del plain["finals"]
    return {
        **plain,
        "whole_s": one.whole_s,
        "trials_per_s": one.trials_per_s,
        "all_in_per_s": one.all_in_per_s,
    }


def race_markdown(race: Race, job: Job, rounds: Sequence[Round]) -> str:
    head = (
        "",
        "trials",
        "trials/s",
        "all-in/s",
        "trials s",
        "start-up s",
        "tail s",
        "whole s",
        "busy",
        "workers",
    )
    rows = [
        (name, *_cells([measured[name] for measured in rounds]), *_quality(name, job, rounds))
        for name in rounds[0]
    ]
    size = f"{len(job.configurations)} trials x {job.epochs} epochs, batch size {job.batch_size}"
    if job.is_searched:
        size += ", suggested by Optuna in ours, the same for all"
    goals = [
        (
            target.what,
            spread(values, ".2f"),
            str(target),
            "met" if target.is_met(median(values)) else "missed",
        )
        for target in race.targets
        if (values := [target.figure(measured) for measured in rounds])
    ]
    return "\n\n".join(
        (
            f"# {race.title}",
            f"{size}, rounds: {len(rounds)}.",
            table((*head, f"{job.metric}, median", "differs"), rows),
            table(("", "found", "target", ""), goals),
            _list(RACE_NOTES),
        )
    )


def _cells(runs: Sequence[Measured]) -> tuple[str, ...]:
    return (
        str(runs[0].num_trials),
        spread((one.trials_per_s for one in runs), ".2f"),
        spread((one.all_in_per_s for one in runs), ".2f"),
        spread(one.trials_s for one in runs),
        spread(one.startup_s for one in runs),
        spread(one.tail_s for one in runs),
        spread(one.whole_s for one in runs),
        spread((one.busy for one in runs), ".0%"),
        spread((one.workers for one in runs), ".0f"),
    )


def _quality(name: str, job: Job, rounds: Sequence[Round]) -> tuple[str, str]:
    finals = [median(filter(math.isfinite, measured[name].finals[job.metric])) for measured in rounds]
    differences = [fairness.difference(measured[name], measured["bare"]) for measured in rounds]
    return f"{median(finals):.4g}", f"{median(differences):.1%}"


def command_plain(measured: Command, runs: Sequence[command.Milestones]) -> dict[str, Any]:
    until_s = median(run[measured.until] for run in runs)
    return {
        "title": measured.title,
        "runs": list(runs),
        "milestone": measured.until,
        "median_s": until_s,
        "target_s": measured.bound_s,
        "met": until_s < measured.bound_s,
    }


def command_markdown(measured: Command, runs: Sequence[command.Milestones]) -> str:
    middles = {name: median(run[name] for run in runs) for name in runs[0]}
    rows, before_s = [], 0.0
    for name in sorted(middles, key=lambda name: middles[name]):
        rows.append((name, spread((run[name] for run in runs), ".2f"), f"{middles[name] - before_s:.2f}"))
        before_s = middles[name]
    until_s = middles[measured.until]
    verdict = "met" if until_s < measured.bound_s else "missed"
    return "\n\n".join(
        (
            f"# {measured.title}",
            f"`tuning {' '.join(measured.arguments)}`, runs: {len(runs)}. "
            f"{measured.until.capitalize()} after {until_s:.1f} s "
            f"(target: under {measured.bound_s:g} s, {verdict}).",
            table(("milestone", "at s", "since the one before, s"), rows),
            _list(COMMAND_NOTES),
        )
    )


def circumstances_markdown(found: dict[str, Any]) -> str:
    machine = found["machine"]
    return _list(
        (
            f"{found['date']}, commit {found['commit']}, `{found['command']}`",
            f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB memory, load "
            f"{machine['load_before']} before the start, {machine['system']}",
            ", ".join(f"{name} {number}" for name, number in found["versions"].items()),
        )
    )


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
