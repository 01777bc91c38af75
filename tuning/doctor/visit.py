"""One visit: look at a sweep, mend what can be mended, look again."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tuning import attempts, ledger, notation, paths, remains, streams
from tuning.claim import REPAIRS, claim, undriven
from tuning.doctor import champion, checkpoints, journal, leftovers, runs
from tuning.doctor.difference import Difference
from tuning.errors import CheckpointError, RequestError, SweepError, one_line
from tuning.ledger import Sweep
from tuning.paths import SweepPaths
from tuning.tracking.inventory import Inventory


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found, and what of it was mended."""

    where: SweepPaths
    trials: int | None
    """How many it has; None where that cannot be told."""
    differences: list[Difference]
    """Those that are there when the visit ends."""
    fixed: list[Difference]

    @property
    def is_healthy(self) -> bool:
        return not self.differences


def visit(name: str, home: str | None, *, fix: bool) -> Findings:
    """Compare what study, MLflow and disk hold of a sweep; with `fix`, mend it first.

    Nobody drives the sweep meanwhile. Without `fix` nothing is written.

    Raises:
        RequestError: when there is no such sweep, or somebody drives it.
    """
    where = SweepPaths(paths.home_folder(home), paths.check_name(name))
    if not os.path.exists(where.spec):
        ledger.open_sweep(name, home)  # says which there are
    held, log = (partial(claim, work=REPAIRS), where.log) if fix else (undriven, Path(os.devnull))
    with held(where.claim, name), streams.everything_to(log):
        count, before = _look(where)
        if not fix or not any(found.fixable for found in before):
            return Findings(where, count, before, [])
        trouble = _mend(where)
        count, after = _look(where)
        fixed = [] if count is None else [found for found in before if found not in after]
        return Findings(where, count, [*trouble, *after], fixed)


def outcome(found: Findings) -> tuple[dict[str, Any], str, int]:
    """Return a visit's facts, text and exit code."""
    facts = {
        "sweep": found.where.name,
        "healthy": found.is_healthy,
        "differences": [asdict(one) for one in found.differences],
        "fixed": [asdict(one) for one in found.fixed],
    }
    lines = [f"mended  {one}" for one in found.fixed] + [str(one) for one in found.differences]
    return facts, "\n".join([*lines, _summary(found)]), 0 if found.is_healthy else 1


def _summary(found: Findings) -> str:
    name, mended = found.where.name, f"{_count(len(found.fixed))} mended, " if found.fixed else ""
    if found.is_healthy:
        return f"{name}: {mended}study, MLflow and checkpoints agree on {found.trials} trials"
    fixable = sum(one.fixable for one in found.differences)
    fix, resume = f"`{found.where.command('doctor')} --fix`", f"`{found.where.command('resume')}`"
    way = f"; {fix} mends {fixable} ({resume} also mends what a killed driver has left)" if fixable else ""
    return f"{name}: {mended}{_count(len(found.differences))} left{way}"


def _count(number: int) -> str:
    return f"{number} difference{'' if number == 1 else 's'}"


def _open(where: SweepPaths) -> Sweep:
    """Read the sweep as it is when nobody drives it: here the doctor holds its claim."""
    found = ledger.open_sweep(where.name, str(where.home))
    return replace(found, driver=None, trials=[trial.without_driver() for trial in found.trials])


def _look(where: SweepPaths) -> tuple[int | None, list[Difference]]:
    """Return how many trials the sweep has, and all that does not agree; None where that cannot be told."""
    found: list[Difference] = []
    try:
        found += journal.look(where)
        return _compared(where, found)
    except OSError as error:  # of a disk, of a storage that is away
        return None, [*found, Difference(None, f"not all of it can be read: {one_line(error)}", False)]


def _compared(where: SweepPaths, found: list[Difference]) -> tuple[int | None, list[Difference]]:
    try:
        sweep = _open(where)
        if not where.journal.exists() and remains.words(where):
            raise SweepError(f"The study {where.journal} is gone.")
    except SweepError as error:  # without the study there is nothing to compare with
        return None, [*found, Difference(None, f"{error}{remains.words(where)}", False)]
    try:
        remains.refuse_absent(sweep.folder, sweep.trials)
    except SweepError as error:  # nor without the storage
        return None, [*found, Difference(None, str(error), False)]
    found += leftovers.look(sweep)
    try:
        held = runs.read(sweep)
        found += checkpoints.look(sweep, held) + runs.look(sweep, held) + champion.look(sweep, held)
    except SweepError as error:
        away = f"{error}; once it answers, `{where.command('doctor')} --fix` writes what it lacks"
        found += [*checkpoints.look(sweep, None), *runs.waiting(sweep), Difference(None, away, False)]
    return len(sweep.trials), found


def _mend(where: SweepPaths) -> list[Difference]:
    """Mend what can be, each part whatever becomes of the others; return what stood against it."""
    trouble: list[Difference] = []

    def attempt(step: Callable[[], object]) -> None:
        try:
            step()
        except (SweepError, RequestError, CheckpointError) as error:
            trouble.append(Difference(None, f"not all could be mended: {error}", False))
        except Exception as error:  # of a disk, of the user's data, of whatever stands behind MLflow
            why = f"{type(error).__name__}: {error}"
            trouble.append(Difference(None, f"not all could be mended: {why}", False))

    attempt(lambda: journal.mend(notation.load(where.spec), where))
    sweep = None if trouble else _open(where)
    if sweep is not None and remains.is_there(sweep.folder, sweep.trials):
        attempt(lambda: attempts.begin(sweep.folder))  # workers that a dead driver has left write no more
        attempt(lambda: leftovers.mend(sweep))
        attempt(lambda: checkpoints.mend(sweep, _held(sweep)))
        attempt(lambda: runs.mend(sweep))
        attempt(lambda: champion.mend(sweep))
    return trouble


def _held(sweep: Sweep) -> Inventory | None:
    try:
        return runs.read(sweep)
    except SweepError:
        return None
