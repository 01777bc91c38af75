"""A sweep from request to result. Imports nothing heavy: while Ray starts, torch is imported."""

import contextlib
import gc
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tuning.errors import SweepError
from tuning.records import TrialRecord, has_completed
from tuning.spec import SweepSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """How a sweep stands when its command ends."""

    name: str
    home: str
    trials: list[TrialRecord]
    best: TrialRecord | None
    total: int
    wall_s: float
    halted: str | None = None
    """Why it ended before its total; None if it did not."""
    interrupted: bool = False
    startup_s: dict[str, float] = field(default_factory=dict)
    """Seconds from the call to each milestone of the start."""

    @property
    def states(self) -> dict[str, int]:
        return dict(Counter(trial.state.value for trial in self.trials))


def sweep(spec: SweepSpec) -> SweepResult:
    """Run a sweep, or go on with it, until its study holds `spec.trials` ended trials.

    Raises:
        RequestError: when the request is wrong; nothing was started or written.
        SweepError: when its best model or MLflow could not be written at the end; all else is kept.
        KeyboardInterrupt: on Ctrl-C, after running epochs have ended and were saved.
    """
    (result,) = sweep_all([spec])
    if result.interrupted:
        raise KeyboardInterrupt(f"interrupted; resume with `tuning resume {result.name}`")
    return result


def sweep_all(specs_: Sequence[SweepSpec]) -> list[SweepResult]:
    """Check every request, then carry out one after the other on one Ray cluster."""
    from tuning import places
    from tuning.schedule import connection

    clock = Clock()
    with connection.connect(places.address(specs_[0].address), uses=len(specs_)) as cluster:
        from tuning import drive, plan

        clock.mark("torch imported")
        planned = [plan.prepare(spec) for spec in specs_]
        clock.mark("request checked")
        from tuning.schedule import searcher  # noqa: F401  (a second of imports, while Ray starts)

        results: list[SweepResult] = []
        with _imports_out_of_collections():
            for one in planned:
                results.append(drive.carry_out(one, cluster, clock))
                if results[-1].interrupted:
                    break
                clock = Clock()
    return results


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
            f"Once that is mended, go on with `tuning resume {result.name}`."
        )
    if not has_completed(result.trials):
        return SweepError(f"The sweep {result.name!r} ended without one completed trial.")
    return None


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
