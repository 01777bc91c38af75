"""A sweep from request to result. Imports nothing heavy: while Ray starts, torch is imported."""

import contextlib
import gc
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tuning import references
from tuning.endings import Ending
from tuning.errors import RequestError, SweepError
from tuning.paths import SweepPaths
from tuning.records import TrialRecord, has_completed
from tuning.spec import SweepSpec

CHECKING = "checking the request ..."
"""Said at once: importing torch takes seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """How a sweep stands when its command ends."""

    name: str
    home: str
    trials: list[TrialRecord] = field(repr=False)
    best: TrialRecord | None
    total: int
    wall_s: float
    halted: str | None = None
    """Why it ended before its total; None if it did not."""
    ending: Ending | None = None
    """How it was ended before its total; None if nobody asked for that."""
    startup_s: dict[str, float] = field(default_factory=dict, repr=False)
    """Seconds from the call to each milestone of the start."""

    @property
    def paths(self) -> SweepPaths:
        return SweepPaths(Path(self.home), self.name)

    @property
    def states(self) -> dict[str, int]:
        return dict(Counter(trial.state.value for trial in self.trials))

    @property
    def interrupted(self) -> bool:
        """Whether trials were to end where they stood, by Ctrl-C or `tuning cancel`."""
        return self.ending is not None and self.ending.is_at_once


Ended = SweepResult | SweepError | RequestError
"""What becomes of a sweep: how it stands, or what stood against it."""


def sweep(spec: SweepSpec) -> SweepResult:
    """Run a sweep, or go on with it, until its study holds `spec.trials` ended trials.

    Raises:
        RequestError: when the request is wrong; nothing was started or written.
        SweepError: when its best model or MLflow could not be written at the end; all else is kept.
        KeyboardInterrupt: on Ctrl-C or `tuning cancel`, after running epochs have ended and were saved.
    """
    if not isinstance(spec, SweepSpec):
        raise RequestError(
            f"tuning.sweep must get a SweepSpec, but got {spec!r}; write "
            f"tuning.sweep(tuning.SweepSpec(model={spec if isinstance(spec, str) else 'cnn'!r}))."
        )
    if sys.stderr.isatty():
        print(CHECKING, file=sys.stderr, flush=True)
    (result,) = sweep_all([spec])
    if isinstance(result, Exception):
        raise result
    if result.interrupted:
        raise KeyboardInterrupt(f"{result.ending}; resume with `{result.paths.command('resume')}`")
    return result


def sweep_all(specs_: Sequence[SweepSpec]) -> list[Ended]:
    """Check every request, then carry out one after the other on one Ray cluster.

    Returns what has become of each; after one that Ctrl-C has ended comes no other.

    Raises:
        RequestError: when a request is wrong, and nothing was started or written.
    """
    from tuning import places
    from tuning.schedule import connection, shipping

    clock = Clock()
    specs_ = [_absolute(spec) for spec in specs_]
    address = places.address(specs_[0].address)
    own_files = None if address is None else shipping.of(specs_)
    with connection.connect(address, len(specs_), own_files) as cluster:
        from tuning import drive, plan

        clock.mark("torch imported")
        planned = [plan.prepare(spec) for spec in specs_]
        clock.mark("request checked")
        from tuning.schedule import searcher  # noqa: F401  (a second of imports, while Ray starts)

        results: list[Ended] = []
        with _imports_out_of_collections():
            for one in planned:
                try:
                    result: Ended = drive.carry_out(one, cluster, clock)
                except (SweepError, RequestError) as error:
                    if isinstance(error, RequestError) and not results:
                        raise
                    result = error  # the others may fare better
                results.append(result)
                if isinstance(result, SweepResult) and result.ending is Ending.INTERRUPTED:
                    break  # the other endings end one of several
                clock = Clock()
    return results


def _absolute(spec: SweepSpec) -> SweepSpec:
    """Resolve files that a Python caller names against the current folder, as the command line does."""
    here = Path.cwd()
    data = None if spec.data is None else references.absolute(spec.data, here)
    found = replace(spec, model=references.absolute(spec.model, here), data=data)
    for reference in filter(None, (found.model, found.data)):
        references.check_file(reference)
    return found


@contextlib.contextmanager
def _imports_out_of_collections() -> Iterator[None]:
    """Keep Python from looking for garbage among a million objects of libraries, again and again."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()  # a notebook's own garbage is among them, and libraries that complain of leaks at exit


def fault(result: SweepResult) -> SweepError | None:
    """Return why a sweep that ended counts as failed; None if it does not."""
    if result.interrupted:
        return None
    if result.halted:
        return SweepError(
            f"The sweep {result.name!r} stopped early: {result.halted}. "
            f"Once that is mended, go on with `{result.paths.command('resume')}`."
        )
    if not has_completed(result.trials):
        diverged = result.states.get("diverged") == len(result.trials)
        hint = _of_diverged(result) if diverged else ""
        if result.states.get("failed"):
            hint = f" Why one failed: `{result.paths.command('inspect')} --trial N`, or MLflow (cause.txt)."
        return SweepError(f"The sweep {result.name!r} ended without one completed trial.{hint}")
    return None


def _of_diverged(result: SweepResult) -> str:
    """Return what may be done where all trials have diverged."""
    rates = [trial.hyperparameters.get("lr") for trial in result.trials]
    tried = [rate for rate in rates if isinstance(rate, int | float)]
    known = f", with lr from {min(tried):.2g} to {max(tried):.2g}" if tried else ""
    return (
        f" All diverged{known}: scale inputs and targets that are large, see that no data is NaN or "
        "infinite, or search lower learning rates (--search lr=LOW:HIGH:log) under another --name."
    )


class Clock:
    """Seconds since the start, and at milestones."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()
        self._start_at = time.time()
        self.marks: dict[str, float] = {}

    def elapsed_s(self) -> float:
        return time.monotonic() - self._start_s

    def mark(self, name: str, at: float | None = None) -> None:
        """Note a milestone: now, or `at` by the wall clock of another process."""
        self.marks.setdefault(name, self.elapsed_s() if at is None else at - self._start_at)
