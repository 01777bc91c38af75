"""A sweep in miniature: a real study, real resume files, no Ray and nothing to train."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypothesis import settings

from tuning import paths, storage
from tuning.dispatch import Dispatcher
from tuning.records import Cohort, EpochReport, State, TrialRecord, TrialSpec
from tuning.space import Float
from tuning.spec import EarlyStopping, SweepSpec
from tuning.study import Study

repeatable = settings(derandomize=True, deadline=None)

SPEC = SweepSpec(
    model="net",
    data="noisy_square",
    name="demo",
    trials=9,
    epochs=5,
    batch_size=64,
    metric="val_loss",
    mode="min",
    search={"lr": Float(1e-4, 1.0, log=True)},
    early_stopping=EarlyStopping(kind="asha", grace_epochs=1, reduction=3),  # rungs 1 and 3
)

Loss = Callable[[int, int], float | State]
"""(trial, epoch) -> its loss; NaN: it diverges there; FAILED: the model raises there."""


def by_number(number: int, epoch: int) -> float:
    """Each trial is better than all before it, so every one goes on at every rung."""
    return 100.0 - number


def all_alike(number: int, epoch: int) -> float:
    """Equal values share a fate, so every trial goes on at every rung, also in one cohort."""
    return 1.0


def by_number_reversed(number: int, epoch: int) -> float:
    """Each trial is worse than all before it, so only the first goes on."""
    return float(number)


@dataclass
class Log:
    """A recorder that keeps what it is told."""

    begun: list[tuple[int, str]] = field(default_factory=list)
    epochs: list[tuple[int, int]] = field(default_factory=list)
    ended: list[tuple[int, State, str | None]] = field(default_factory=list)

    def begin(self, trial: TrialSpec, cohort: Cohort) -> None:
        self.begun.append((trial.number, cohort.id))

    def epoch(self, report: EpochReport) -> None:
        self.epochs.append((report.trial, report.epoch))

    def end(self, number: int, state: State, cause: str | None) -> None:
        self.ended.append((number, state, cause))

    @property
    def states(self) -> dict[int, State]:
        return {number: state for number, state, _ in self.ended}


class Sweep:
    """A driver in miniature: opens the study on disk, resumes as a real one, and feeds a dispatcher."""

    def __init__(self, folder: Path, loss: Loss, spec: SweepSpec = SPEC, size: int = 1) -> None:
        self.folder, self.loss, self.spec = folder, loss, spec
        self.log = Log()
        self.study = Study(spec, folder / "study.journal", write=True)
        self.saved: list[set[int]] = []
        """Trials whose best states were to be saved."""
        self.dispatcher = Dispatcher(
            spec,
            self.study,
            str(folder),
            [self.log],
            size=size,
            save_best=lambda found: self.saved.append(set(found)),
        )
        self.dispatcher.resume(self._unfinished())

    def _unfinished(self) -> list[tuple[TrialSpec, list[dict[str, float]], str | None]]:
        found: dict[int, tuple[list[dict[str, float]], str | None]]
        found = {number: ([], None) for number in self.study.unfinished()}
        for name in self.resume_files():
            for number, history in resume_state(self.folder, name).items():
                if number in found and len(history) > len(found[number][0]):
                    found[number] = (history, name)
        return [(self.study.take_up(number), *found[number]) for number in found]

    def resume_files(self) -> list[str]:
        return storage.names(paths.resume_folder(str(self.folder)))

    def next(self) -> Cohort:
        cohort = self.dispatcher.next_cohort()
        assert cohort is not None
        return cohort

    def train(self, cohort: Cohort) -> None:
        """Run one cohort to its end."""
        for reports in epochs_of(cohort, self.loss, self.folder, self.spec):
            self.dispatcher.report(reports)
        self.dispatcher.end(cohort.id)

    def run(self, workers: int = 1, dies_after: int | None = None) -> None:
        """Keep `workers` cohorts in flight, a turn an epoch each, till all is done or the driver dies."""
        flying: dict[str, Iterator[list[EpochReport]]] = {}
        for _ in range(dies_after if dies_after is not None else 10_000):
            while len(flying) < workers and (cohort := self.dispatcher.next_cohort()) is not None:
                flying[cohort.id] = epochs_of(cohort, self.loss, self.folder, self.spec)
            if not flying:
                break
            cohort_id, reports = next(iter(flying.items()))
            del flying[cohort_id]
            if (news := next(reports, None)) is None:
                self.dispatcher.end(cohort_id)
            else:
                self.dispatcher.report(news)
                flying[cohort_id] = reports  # it is the last in the queue now

    @property
    def trials(self) -> list[TrialRecord]:
        return self.study.trials()

    @property
    def states(self) -> list[str]:
        return [trial.state.value for trial in self.trials]


def resume_state(folder: Path, name: str) -> dict[int, list[dict[str, float]]]:
    plain = json.loads(storage.read(paths.resume_file(str(folder), name)))
    return {int(number): history for number, history in plain.items()}


def epochs_of(cohort: Cohort, loss: Loss, folder: Path, spec: SweepSpec) -> Iterator[list[EpochReport]]:
    """Train a cohort as a worker does: from its members' resume files, leaving one of its own."""
    cohort = Cohort.from_json(cohort.to_json())  # a worker gets one string and nothing else
    history: dict[int, list[dict[str, float]]] = {}
    for member in cohort.members:
        number = member.trial.number
        history[number] = resume_state(folder, member.resume)[number] if member.resume else []
        assert len(history[number]) >= member.epoch, f"trial {number} comes from the wrong file"
    done = min(map(len, history.values()))  # ahead of the cohort's epoch if it is half of one that died
    for epoch in range(done + 1, cohort.until + 1):
        reports = [report(number, epoch, loss(number, epoch)) for number in history]
        for one in reports:
            history[one.trial].append(one.metrics)
            if one.state is not State.RUNNING:
                del history[one.trial]
        if history and epoch < (spec.epochs or 0):
            name = paths.resume_name(cohort.id)
            storage.write(paths.resume_file(str(folder), name), json.dumps(history).encode())
        yield reports
        if not history:
            return


def report(number: int, epoch: int, value: float | State) -> EpochReport:
    if isinstance(value, State):
        error = f"Traceback ...\nRuntimeError: trial {number} broke"
        return EpochReport(trial=number, epoch=epoch, metrics={}, state=value, error=error)
    state = State.RUNNING if math.isfinite(value) else State.DIVERGED
    return EpochReport(trial=number, epoch=epoch, metrics={"val_loss": value}, state=state)


def changed(**keys: Any) -> SweepSpec:
    return replace(SPEC, **keys)


Make = Callable[..., Sweep]
"""The fixture `make`."""
