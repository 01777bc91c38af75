"""What runs next, and what becomes of it: every decision of a sweep, taken in the driver.

One operation does everything: pack trials of the same epoch, from their resume state, into a cohort
that runs to the next rung. Starting, going on after a rung, and resuming after a death are this.
Knows neither Ray nor MLflow: the scheduler pulls cohorts and pushes reports, a recorder is told.
"""

import itertools
import math
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from tuning import attempts, halving, packing, paths, resume_files
from tuning.records import Cohort, EpochReport, Member, State, TrialSpec, begun_by
from tuning.spec import SweepSpec
from tuning.study import Study
from tuning.telling import Recorder, Telling
from tuning.tolerance import Deaths, Failures, death_cause


class Dispatcher:
    """Hands out cohorts until the study holds the sweep's total of ended trials.

    Args:
        folder: path or URI of the sweep's checkpoints and resume states.
        size: trials of a cohort, at most; may be set while the sweep runs.
        workers: cohorts at the same time, at most.
        save_best: writes the best states so far of unfinished trials, from their resume states.
        driver: id of the claim, which no other driver of the sweep has.
    """

    def __init__(
        self,
        spec: SweepSpec,
        study: Study,
        folder: str,
        recorders: Iterable[Recorder],
        *,
        size: int = 1,
        workers: int = 1,
        save_best: Callable[[Collection[int]], None] = lambda numbers: None,
        driver: str | None = None,
    ) -> None:
        assert spec.epochs is not None and spec.metric is not None and spec.mode is not None
        self.spec = spec
        self.epochs, self.metric, self.mode = spec.epochs, spec.metric, spec.mode
        self.study = study
        self.folder = folder
        self._telling = Telling(study, recorders)
        self.size = size
        self.is_stacked = True
        """Whether a cohort's members train as one program; may be set while the sweep runs, too."""
        self.workers = workers
        self._save_best = save_best
        self._ids = map(f"{begun_by(driver or uuid.uuid4().hex)}{{}}".format, itertools.count(1))
        self._stopper = halving.Stopper(spec.early_stopping, self.epochs, self.mode, study.values())
        self.stops = self._stopper.rungs
        self.waiting: list[Member] = []
        self.running: dict[str, Cohort] = {}
        self.again: list[Cohort] = []
        """Cohorts whose worker died: each finds its own resume state."""
        self._deaths = Deaths()
        self._begun: set[str] = set()
        self.halted: str | None = None
        """Why no further cohort is handed out; None while all is well."""
        self.closing = False
        """Whether no further trial is begun; those that have begun train on."""
        self._over: set[int] = set()
        """Trials that ended by themselves, in cohorts that may still run."""
        self._failures = Failures(spec.max_failures)
        self._num_ended = study.num_ended()

    def resume(self, trials: Iterable[tuple[TrialSpec, list[dict[str, float]], str | None]]) -> None:
        """Take up unfinished trials, each with its metrics per epoch and its resume file.

        Epochs that were trained but not yet told are told now, all before trials that had come to a rung
        without a decision are decided upon, together as at the end of a cohort. Resume files that a death
        left behind are removed.
        """
        at_rung: dict[int, list[Member]] = {}
        with self._telling.batch():
            for trial, history, file in trials:
                for epoch, metrics in enumerate(history, start=1):
                    if self.study.has_value(trial.number, epoch):
                        self._telling.passes_over(trial.number, epoch)
                        continue  # of these MLflow is told by whoever restores it
                    self._told(EpochReport(trial=trial.number, epoch=epoch, metrics=metrics))
                member = Member(trial=trial, epoch=len(history), resume=file)
                if member.epoch in self.stops:
                    at_rung.setdefault(member.epoch, []).append(member)
                else:
                    self.waiting.append(member)
            for rung in sorted(at_rung):
                self._at_rung(at_rung[rung])
        resume_files.keep_only(self.folder, {member.resume for member in self.waiting})

    def next_cohort(self) -> Cohort | None:
        """Return what to run now; None when nothing can be started before something ends."""
        if self.halted is not None:
            return None
        if self.again:
            return self._started(self.again.pop())
        in_flight = sum(len(self._left(cohort)) for cohort in self.running.values()) + len(self.waiting)
        fresh = 0 if self.closing else self.spec.trials - self._num_ended - in_flight
        # Trials that train in turn go on one by one: none waits behind another while a worker is idle.
        members = packing.pack(self.waiting, self.size if self.is_stacked else 1, more_fresh=fresh > 0)
        if members:
            chosen = {member.trial.number for member in members}
            self.waiting = [member for member in self.waiting if member.trial.number not in chosen]
        elif fresh > 0:
            idle = max(1, self.workers - len(self.running))
            count = min(self.size, math.ceil(fresh / idle))  # the last trials are shared out evenly
            members = tuple(Member(trial=trial) for trial in self.study.ask_many(count))
        else:
            return None
        until = halving.next_stop(members[0].epoch, self.stops, self.epochs)
        cohort = Cohort(id=next(self._ids), members=members, until=until, is_stacked=self.is_stacked)
        return self._started(cohort)

    def _started(self, cohort: Cohort) -> Cohort:
        self.running[cohort.id] = cohort
        if cohort.id not in self._begun:
            self._begun.add(cohort.id)
            for member in cohort.members:
                self._telling.begin(member.trial, cohort)
        return cohort

    @property
    def unended(self) -> set[int]:
        """Return the trials whose begin recorders have heard of, and no end."""
        return self._telling.unended

    @property
    def is_done(self) -> bool:
        """Whether nothing runs and nothing more will."""
        if self.running:
            return False
        left = self.waiting or self.again
        is_enough = self.closing or self._num_ended >= self.spec.trials
        return self.halted is not None or (not left and is_enough)

    def report(self, reports: Iterable[EpochReport]) -> None:
        """Take in what a worker reports; what was reported before (a retry repeats it) counts once.

        A trial that ends by itself ends here, not with its cohort: its checkpoint is written, and a death
        before the cohort's end does not have it trained again.
        """
        with self._telling.batch():
            for report in map(self._complete, reports):
                if report.trial in self._over:
                    continue
                if report.state is not State.FAILED:
                    self._told(report)
                if report.state in (State.DIVERGED, State.FAILED):
                    self._over.add(report.trial)
                    self._end(report.trial, report.state, report.error or _divergence(report))

    def _complete(self, report: EpochReport) -> EpochReport:
        """Return the report; of a trial without the sweep's metric, that it has failed."""
        if report.state is State.FAILED or self.metric in report.metrics:
            return report
        found = ", ".join(report.metrics) or "none"
        error = f"epoch {report.epoch} has no metric {self.metric!r}, only: {found}"
        return replace(report, state=State.FAILED, error=error)

    def _left(self, cohort: Cohort) -> tuple[Member, ...]:
        return tuple(member for member in cohort.members if member.trial.number not in self._over)

    def died(self, cohort_id: str, reason: str | None = None) -> None:
        """A cohort's worker or node has died: it runs again, then in halves, down to single trials.

        So what kills its worker is found, be it one of its trials or the memory that so many take. A
        single trial runs again a few times, then it has failed; one whose worker left word why it ended
        itself, as where it hung, fails at once. After a new epoch deaths count anew: nodes may come and go.

        Args:
            reason: what Ray knows of the death.
        """
        cohort = self.running[cohort_id]
        left, cause = self._left(cohort), resume_files.last_words(self.folder, cohort_id)
        deaths = self._deaths.add(cohort_id, self._epoch(left))
        cohort = attempts.next_turn(self.folder, cohort)
        if not left:
            self.end(cohort_id)
        elif (cause or deaths > 1) and len(left) > 1:
            self._split(cohort, deaths=0 if cause else 1)
        elif cause:
            self.end(cohort_id, cause)
        elif deaths > self._failures.retries(is_all=not self.study.values()):
            self.end(cohort_id, death_cause(deaths, reason))
        else:
            del self.running[cohort_id]
            self.again.append(replace(cohort, members=left))
            self.study.places.wait(member.trial.number for member in left)

    def _epoch(self, members: Iterable[Member]) -> int:
        """Return the last epoch that any of these was heard of with."""
        return max((self._telling.last_epoch(member.trial.number) for member in members), default=0)

    def out_of_memory(self, cohort_id: str) -> None:
        """A cohort was too large for its device: it runs again in halves, as do all that come."""
        cohort = self.running[cohort_id]
        self.size = max(1, min(self.size, len(self._left(cohort)) // 2))
        self._split(cohort, deaths=0)

    def _split(self, cohort: Cohort, *, deaths: int) -> None:
        """Let the halves of a cohort run, from its own resume state if it has one."""
        del self.running[cohort.id]
        own = paths.resume_name(cohort.id)
        has_own = resume_files.exists(self.folder, own)
        left = [replace(m, resume=own) if has_own else m for m in self._left(cohort)]
        self.study.places.wait(member.trial.number for member in left)
        for half in (left[: len(left) // 2], left[len(left) // 2 :]):
            if half:
                new = replace(cohort, id=next(self._ids), members=tuple(half), turn=0)
                self._deaths.set(new.id, self._epoch(half), deaths)
                self.again.append(new)
        self._discard({own, *(member.resume for member in cohort.members)})

    def end(self, cohort_id: str, error: str | None = None) -> None:
        """A cohort has ended; `error` says why, if its worker died more often than is retried."""
        cohort = self.running.pop(cohort_id)
        file = paths.resume_name(cohort.id)
        left, at_rung = self._left(cohort), []
        if error is not None:
            self._save_best({member.trial.number for member in left})
        with self._telling.batch():
            for member in left:
                number = member.trial.number
                if error is not None:
                    self._end(number, State.FAILED, error)
                elif (
                    self._telling.last_epoch(number) < cohort.until
                ):  # the study may know it of a driver before
                    self.waiting.append(member)  # stopped on the way: it goes on from its resume state
                elif cohort.until >= self.epochs:
                    self._end(number, State.COMPLETED)
                else:
                    at_rung.append(Member(trial=member.trial, epoch=cohort.until, resume=file))
            self._at_rung(at_rung)
        if self.halted is None:
            self._discard({file, *(member.resume for member in cohort.members)})

    def _told(self, report: EpochReport) -> None:
        if self._telling.epoch(report):
            self._stopper.told(report.trial, report.epoch, report.metrics[self.metric])

    def _at_rung(self, members: Sequence[Member]) -> None:
        """Decide upon members that have come to the same rung, those that were let go on before excepted."""
        rung = members[0].epoch if members else 0
        numbers = [member.trial.number for member in members]
        undecided = {number for number in numbers if self.study.rung(number) < rung}
        stopped = undecided - self._stopper.going_on(undecided, rung)
        for number, member in zip(numbers, members, strict=True):
            if number in stopped:
                self._end(number, State.PRUNED)
            else:
                self.study.set_rung(number, rung)
                self.waiting.append(member)

    def _end(self, number: int, state: State, cause: str | None = None) -> None:
        self.study.tell(number, state, cause)
        self._num_ended += 1
        self._telling.end(number, state, cause)
        if state is State.FAILED:
            why = self._failures.add(number, cause)
            self.halted = self.halted or why

    def _discard(self, names: set[str | None]) -> None:
        """Remove those of these resume files that no cohort needs any more."""
        needed = {member.resume for member in self.waiting}
        for other in (*self.running.values(), *self.again):
            needed |= {member.resume for member in other.members}
        resume_files.remove(self.folder, names - needed)


def _divergence(report: EpochReport) -> str:
    """Return which metric was no finite number, and when."""
    found = [f"{key} is {value}" for key, value in report.metrics.items() if not math.isfinite(value)]
    return f"{' and '.join(found)} after epoch {report.epoch}"
