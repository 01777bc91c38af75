"""Who is told what happens to trials, and when: after the study, never before it."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
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
        self._metric = str(study.spec.metric)
        self._heard: dict[int, int] = {}
        """Last epoch that the recorders were told of, by trial."""
        self.unended: set[int] = set()
        """Trials whose begin the recorders have heard of, and no end."""
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
        self.unended.add(trial.number)
        for recorder in self._recorders:
            recorder.begin(trial, cohort)

    def epoch(self, report: EpochReport) -> bool:
        """Tell of an epoch, once each; return whether its value is news to the study.

        The recorders hear of it at the end of the batch. What the study knows from an earlier driver, which
        may have died before MLflow heard of it, is trained again where no resume state holds it, and told
        with the study's value.
        """
        if report.epoch <= self.last_epoch(report.trial):
            return False
        self._heard[report.trial] = report.epoch
        is_news = False
        if report.state is State.RUNNING:
            is_news = self._study.report(report.trial, report.epoch, report.metrics[self._metric])
            if not is_news:
                known = self._study.value(report.trial, report.epoch)
                report = replace(report, metrics={**report.metrics, self._metric: known})
        self._untold += [partial(recorder.epoch, report) for recorder in self._recorders]
        return is_news

    def last_epoch(self, number: int) -> int:
        """Return the last epoch of a trial that the recorders have heard of, 0 before the first."""
        return self._heard.get(number, 0)

    def passes_over(self, number: int, epoch: int) -> None:
        """Note that the recorders need not hear of a trial's epochs up to this one."""
        self._heard[number] = epoch

    def end(self, number: int, state: State, cause: str | None) -> None:
        """Tell of a trial's end, at the end of the batch."""
        self._untold += [partial(recorder.end, number, state, cause) for recorder in self._recorders]
        self._untold.append(partial(self.unended.discard, number))
