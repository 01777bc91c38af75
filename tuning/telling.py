"""Who is told what happens to trials, and when: after the study, never before it."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Protocol

from tuning import faults
from tuning.records import Cohort, EpochReport, State, TrialSpec
from tuning.study import Study


class Recorder(Protocol):
    """Whoever is told what happens to trials: MLflow, the screen."""

    def begin(self, trial: TrialSpec, cohort: Cohort) -> None: ...
    def epoch(self, report: EpochReport) -> None: ...
    def end(self, number: int, state: State, cause: str | None) -> None: ...


class Telling:
    """Tells recorders what the study has on its disk.

    The study is the truth: MLflow never knows of an end that a death of the driver undoes.
    """

    def __init__(self, study: Study, recorders: Iterable[Recorder]) -> None:
        self._study, self._recorders = study, tuple(recorders)
        self._untold: list[Callable[[], None]] = []
        self._depth = 0

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Within, what is told reaches the study's disk together at the end, and then the recorders."""
        self._depth += 1
        try:
            with self._study.batch():
                yield
        except BaseException:  # what the study may not have, nobody hears of: the next driver tells it
            self._untold.clear()
            raise
        finally:
            self._depth -= 1
        if not self._depth and self._untold:
            untold, self._untold = self._untold, []
            faults.place("between-study-and-mlflow")
            for tell in untold:
                tell()

    def begin(self, trial: TrialSpec, cohort: Cohort) -> None:
        for recorder in self._recorders:
            recorder.begin(trial, cohort)

    def epoch(self, report: EpochReport) -> None:
        """Tell of an epoch, at the end of the batch."""
        self._untold += [partial(recorder.epoch, report) for recorder in self._recorders]

    def end(self, number: int, state: State, cause: str | None) -> None:
        """Tell of a trial's end, at the end of the batch."""
        self._untold += [partial(recorder.end, number, state, cause) for recorder in self._recorders]
