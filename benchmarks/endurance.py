"""The parts of the soak: each runs sweeps of the regression net, one short epoch a trial, and judges them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks import children, command, holdings, samples, tables
from benchmarks.children import Ended, Site, Started
from benchmarks.findings import Check, Findings
from benchmarks.holdings import Holdings
from tuning.paths import SweepPaths

COHORT = 16
OPTIONS = ("--epochs", "1", "--cohort", str(COHORT), "--early-stopping", "none", "--gpus-per-trial", "0")

SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
WARM = SHARES.index(0.2)
MOST_FILES, MOST_KB, MOST_RESUME_S = 5, 30.0, 10.0

FEW = 16
"""Trials of the sweep whose resume shows what a start takes anyway."""
REPEATS = 3
ADDED = 2
"""Trials that each resume of many adds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """One per part."""

    load: int = 5_000
    resume: int = 10_000
    litter: int = 20
    side_by_side: int = 512
    outage: int = 12
    broken: int = 1_000


Part = Callable[[Sizes, Site], Findings]


def load(sizes: Sizes, site: Site) -> Findings:
    total = sizes.load
    sweep = _start(site, "load", total)
    seen = samples.watch(sweep, SweepPaths(site.home, "load").journal)
    sweep.end()
    stages = [samples.at_share(seen, total, share) for share in SHARES]
    warm, end = stages[WARM], stages[-1]
    return Findings(
        title=f"One sweep of {total:,} trials",
        text=f"Its driver, looked at every {samples.INTERVAL_S:g} s while trials ran; each line is the "
        f"median of {samples.WINDOW} looks. Cohorts of {COHORT}.",
        head=("trials ended", "s", "open files", "memory, MB", "threads"),
        rows=[_stage_row(stage) for stage in stages],
        checks=[
            Check(
                "open files, from a fifth of the trials to the end", abs(end.files - warm.files), MOST_FILES
            ),
            Check("memory per trial, likewise, kB", samples.kb_per_trial(warm, end), MOST_KB),
            *_complete(site, {"load": total}),
        ],
        raw={"stages": [asdict(stage) for stage in stages]},
    )


def _stage_row(stage: samples.Sample) -> tuple[str, ...]:
    return (
        f"{stage.ended:,.0f}",
        f"{stage.seconds:.1f}",
        f"{stage.files:.0f}",
        f"{stage.kb / 1e3:.1f}",
        f"{stage.threads:.0f}",
    )


def resume(sizes: Sizes, site: Site) -> Findings:
    totals = {"few": FEW, "many": sizes.resume}
    sites = {name: Site(site.folder, name) for name in totals}
    runs: dict[str, list[command.Milestones]] = {name: [] for name in totals}
    for name in totals:
        _start(sites[name], name, totals[name]).end()
    for name in [*totals] * REPEATS:  # by turns, so that what else the machine does falls on both
        totals[name] += COHORT
        runs[name].append(_resumed(sites[name], name, totals[name]))
    few, many = runs["few"], runs["many"]
    report_s = median(run[command.FIRST_REPORT] for run in many)
    looked = {name: sites[name].start("doctor", name, "--json").end() for name in totals}
    return Findings(
        title=f"Resuming a sweep of {sizes.resume:,} trials",
        text=f"`tuning resume NAME --trials TOTAL`, {REPEATS} times by turns, {COHORT} more trials each; "
        "seconds since the process was started. All earlier trials have ended, so the first report is one "
        "of new work. The study is read once before the first milestone.",
        head=("milestone", f"{FEW} trials, s", f"{sizes.resume:,} trials, s"),
        rows=[
            (key, *(tables.spread((run[key] for run in found), ".2f") for found in (few, many)))
            for key in sorted(many[0], key=many[0].__getitem__)
        ]
        + [("`tuning doctor NAME` after that, once", *(f"{one.seconds:.2f}" for one in looked.values()))],
        checks=[
            Check("from the command to the first report of a new trial, s", report_s, MOST_RESUME_S),
            *_complete(sites["many"], {"many": totals["many"]}),
        ],
        raw={"runs": runs},
    )


def _resumed(site: Site, name: str, total: int) -> command.Milestones:
    """Resume a sweep to a new total, and return when it came to what, since the start of its process."""
    note = site.folder / f"clock-{name}-{total}"
    arguments = (str(note), "resume", name, "--trials", str(total), "--json")
    ended = site.start(*arguments, module="benchmarks.launch").end()
    clock_s = float(note.read_text(encoding="utf-8")) - ended.launched_s
    found = {key: clock_s + seconds for key, seconds in ended.facts["startup_s"].items()}
    return {command.CLOCK_STARTS: clock_s, **found, command.PROCESS_ENDS: ended.seconds}


def litter(sizes: Sizes, site: Site) -> Findings:
    total, left = ADDED, list[str]()
    ended = [_start(site, "litter", total).end()]
    first = _remains(site)
    for _ in range(sizes.litter):
        total += ADDED
        ended.append(site.start("resume", "litter", "--trials", str(total), "--json").end())
        left += children.left()
    last = _remains(site)
    seconds = ("the command, s", *(f"{one.seconds:.1f}" for one in (ended[0], ended[-1])))
    return Findings(
        title=f"{sizes.litter} resumes in a row",
        text=f"Of a sweep of {ADDED} trials, each to {ADDED} more. They have a temporary folder of their "
        "own; what Ray keeps in it, a folder per session that it never removes, is counted apart.",
        head=("what there is", "after the sweep", f"after {sizes.litter} resumes"),
        rows=[*((key, f"{first[key]:,.0f}", f"{last[key]:,.0f}") for key in first), seconds],
        checks=[
            Check.none("left in the temporary folder, Ray's and torch's own aside", _temporary(site)),
            Check.none("processes left", left),
            *_complete(site, {"litter": total}),
        ],
        raw={"seconds": [one.seconds for one in ended]},
    )


def _remains(site: Site) -> dict[str, float]:
    """Return how much there is of what may grow."""
    where = SweepPaths(site.home, "litter")
    sessions = [path for path in (site.temporary / "ray").glob("session_*") if not path.is_symlink()]
    return {
        "files in the sweep's folder, trials' aside": sum(path.is_file() for path in where.folder.iterdir()),
        "`sweep.log`, kB": _kb([where.log]),
        "`study.journal`, kB": _kb([where.journal]),
        "Ray's session folders": len(sessions),
        "Ray's session folders, kB": _kb(path for one in sessions for path in one.rglob("*")),
    }


def _kb(paths: Iterable[Path]) -> float:
    return sum(path.lstat().st_size for path in paths if path.is_file()) / 1e3


def _temporary(site: Site) -> list[str]:
    """Return what lies in the temporary folder beside what Ray and torch keep there from run to run."""
    kept = ("ray", "torchinductor_")
    return sorted(path.name for path in site.temporary.iterdir() if not path.name.startswith(kept))


def side_by_side(sizes: Sizes, site: Site) -> Findings:
    totals = dict.fromkeys(("left", "right"), sizes.side_by_side)
    alone = Site(site.folder, "alone")
    one_worker = ("--max-concurrent", "1")
    turns = [_start(alone, name, totals[name], *one_worker).end() for name in totals]
    started = [_start(site, name, totals[name], *one_worker) for name in totals]
    together = [one.end() for one in started]
    found = [holdings.read(site.home, name) for name in totals]
    rows = [_sweep_row(*one) for one in zip(found, together, turns, strict=True)]
    return Findings(
        title=f"Two sweeps of {sizes.side_by_side:,} trials side by side",
        text="Started at once in one home, with one worker each; beside that the same two one after the "
        "other in another home. All four end with exit code 0, else there is no result.",
        head=("sweep", "ended", "MLflow runs", "checkpoints", "side by side, s", "one after the other, s"),
        rows=[*rows, ("both, processes", "", "", "", f"{_span_s(together):.1f}", f"{_span_s(turns):.1f}")],
        checks=holdings.judge(found, totals),
    )


def _sweep_row(found: Holdings, beside: Ended, turn: Ended) -> tuple[str, ...]:
    counts = (len(found.ended), len(found.runs), len(found.checkpoints))
    seconds = (one.facts["wall_s"] for one in (beside, turn))
    return (found.name, *(f"{count:,}" for count in counts), *(f"{s:.1f}" for s in seconds))


def _span_s(ended: Sequence[Ended]) -> float:
    """Return the time from the start of the first process to the end of the last one."""
    return max(one.launched_s + one.seconds for one in ended) - min(one.launched_s for one in ended)


def _start(site: Site, name: str, total: int, *more: str) -> Started:
    return site.start("sweep", "net", "--name", name, "--trials", str(total), *OPTIONS, *more, "--json")


def _complete(site: Site, totals: Mapping[str, int]) -> list[Check]:
    """Judge all sweeps of a home by what it holds of them."""
    return holdings.judge([holdings.read(site.home, name) for name in totals], totals)
