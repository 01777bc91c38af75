"""One checked request, carried out: puts study, Ray, MLflow and the screen together."""

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from tuning import (
    attempts,
    closing,
    endings,
    faults,
    remains,
    screen,
    settle,
    streams,
    unfinished,
)
from tuning.claim import claim
from tuning.dispatch import Dispatcher
from tuning.endings import Ending
from tuning.errors import RequestError, SweepError, one_line
from tuning.interrupt import Interrupt
from tuning.listener import Listener
from tuning.plan import Plan
from tuning.records import TrialRecord
from tuning.run import Clock, SweepResult
from tuning.settle import checked_nodes, keep_spec, make_home, open_study, settle_size, settle_spec, share_of
from tuning.study import Study
from tuning.tracking import client
from tuning.tracking.tracker import Tracker

if TYPE_CHECKING:
    from tuning.schedule.connection import Cluster, Node

COMPILING = (
    "--compile: each worker compiles the steps that it repeats; the first time on a machine that takes it "
    "up to a minute"
)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What carries out one sweep: who has its trials trained, who records them, the screen."""

    planned: Plan
    dispatcher: Dispatcher
    tracker: Tracker
    progress: screen.Progress
    clock: Clock
    driver: str
    """Host and process."""
    asked: set[Ending] = field(default_factory=set)
    """How the sweep was to end early."""

    def end_early(self, ending: Ending) -> None:
        self.asked.add(ending)
        if ending is Ending.STOPPED:
            self.dispatcher.closing = True
        else:
            self.dispatcher.halted = self.dispatcher.halted or closing.INTERRUPTED
        self.progress.ends_early(ending)


def carry_out(planned: Plan, cluster: "Cluster", clock: Clock) -> SweepResult:
    """Run what was planned; one that was asked to end early returns, with `ending` set.

    Raises:
        SweepError: when a file of the sweep cannot be written, or its end cannot be told.
    """
    try:
        return _carried_out(planned, cluster, clock)
    except OSError as error:
        raise SweepError(
            f"The sweep {planned.paths.name!r} could not go on: {error}. All that it has told of is kept; "
            f"once that is mended, go on with `{planned.paths.command('resume')}`."
        ) from error


def _carried_out(planned: Plan, cluster: "Cluster", clock: Clock) -> SweepResult:
    where = planned.paths
    _check_tracking(planned)
    nodes = checked_nodes(planned, cluster)
    make_home(where)
    with claim(where.claim, where.name) as driver, streams.everything_to(where.log) as terminal:
        spec = settle_spec(planned.spec, where)
        say = partial(print, file=terminal, flush=True)
        size, most = share_of(planned, spec, nodes, cluster, say)
        planned = replace(planned, spec=replace(spec, resources=size))
        study = open_study(planned)
        keep_spec(replace(spec, trials=study.spec.trials), where)
        if study.spec.trials > spec.trials:
            say(f"--trials {spec.trials}: {study.spec.trials} trials have begun, which stay and count")
        planned = replace(planned, spec=study.spec)
        if planned.earlier is not None:
            say(planned.earlier.note)
        for doubt in filter(None, (planned.doubt, settle.source_doubt(study, planned))):
            say(f"warning: {doubt}")
            study.facts.add_note(doubt)
        with _timed(study, clock), screen.Progress(study.spec, terminal, study.trials()) as progress:
            parts = _parts(planned, study, most, progress, clock, driver)
            ending, best = _carry_on(parts, cluster)
        halted = parts.dispatcher.halted
        return SweepResult(
            name=where.name,
            home=str(where.home),
            trials=[trial.without_driver() for trial in study.trials()],
            best=best,
            total=study.spec.trials,
            wall_s=clock.elapsed_s(),
            halted=None if halted == closing.INTERRUPTED else halted,
            ending=ending,
            startup_s=clock.marks,
        )


@contextlib.contextmanager
def _timed(study: Study, clock: Clock) -> Iterator[None]:
    """Have the study keep what the sweep has taken, also where its end cannot be told.

    A command that finds all trials ended takes nothing.
    """
    if study.num_ended() >= study.spec.trials:
        yield
        return
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # as of the disk that is full: what is on its way says so
            study.facts.add_seconds(clock.elapsed_s())
        raise
    study.facts.add_seconds(clock.elapsed_s())


def _check_tracking(planned: Plan) -> None:
    """Refuse a new sweep whose tracking server does not answer; one that has begun goes on without."""
    uri = planned.spec.tracking_uri
    if uri is None:
        return
    try:
        client.check(uri)
    except RequestError:
        if not planned.paths.spec.exists():
            raise
        said = f"MLflow at {uri} does not answer: records wait in {planned.paths.spool}"
        print(one_line(said), file=sys.stderr)


def _parts(
    planned: Plan, study: Study, most_workers: int, progress: screen.Progress, clock: Clock, driver: str
) -> _Parts:
    spec = study.spec
    folder = planned.paths.storage(spec.storage, str(spec.id))
    uri = client.uri_of(spec, planned.paths.home)
    tracker = Tracker(spec, planned.model.name, uri, planned.paths.home, folder)
    dispatcher = Dispatcher(
        spec,
        study,
        folder,
        [tracker, progress],
        workers=most_workers,
        save_best=partial(unfinished.save_best, study, folder, planned.splits),
        driver=driver,
    )
    return _Parts(planned, dispatcher, tracker, progress, clock, driver)


def _carry_on(parts: _Parts, cluster: "Cluster") -> tuple[Ending | None, TrialRecord | None]:
    """Train what is left, then end the sweep; MLflow is closed whatever happens."""
    planned, dispatcher, tracker, progress = parts.planned, parts.dispatcher, parts.tracker, parts.progress
    study, folder = dispatcher.study, dispatcher.folder
    remains.refuse_absent(folder, study.trials())
    attempt = attempts.begin(folder)
    shutil.rmtree(planned.paths.scratch, ignore_errors=True)  # of a driver that died
    unfinished.save_best(study, folder, planned.splits)
    waiting = unfinished.taken_up(study, folder)
    with (
        Interrupt(partial(parts.end_early, Ending.INTERRUPTED), tracker.hurry) as interrupt,
        closing.closed(tracker, dispatcher, progress, parts.asked) as end,
    ):
        tracker.restore(study.trials(), {trial.number: history for trial, history, _ in waiting})
        dispatcher.resume(waiting)
        if dispatcher.is_done and dispatcher.halted is None:
            more = "a larger total (--trials) asks for more, another --name begins anew"
            progress.say(f"all {study.spec.trials} trials have ended; {more}")
        elif (nodes := _nodes(cluster, interrupt, progress)) is not None:
            _train(parts, nodes, attempt, interrupt)
        faults.place("before-end")
        cluster.release()
        closing.fill(end, planned, dispatcher, progress, parts.asked, interrupt, parts.clock)
    return closing.ending(parts.asked, study), end.best  # Ctrl-C may have come since


def _nodes(cluster: "Cluster", interrupt: Interrupt, progress: screen.Progress) -> "list[Node] | None":
    """Wait for Ray; return None if Ctrl-C comes first, since nothing runs yet that could be saved."""
    progress.phase("starting Ray")
    try:
        with interrupt.at_once(press=1):
            return cluster.nodes()
    except KeyboardInterrupt:
        return None


def _train(parts: _Parts, nodes: "list[Node]", attempt: str, interrupt: Interrupt) -> None:
    """Have trials trained, and keep for how long they were and what they took."""
    dispatcher, study = parts.dispatcher, parts.dispatcher.study
    parts.clock.mark("Ray up")
    settle.begin_drive(study, nodes, dispatcher.workers)
    parts.progress.phase("starting workers")
    listener = Listener(study, parts.tracker, parts.progress, parts.clock, parts.planned.paths.gpu_use)
    with endings.listening(parts.planned.paths.request, parts.driver, parts.end_early):
        _schedule(parts, attempt, listener, interrupt)
    if dispatcher.halted in (None, closing.INTERRUPTED):
        listener.keep()
        study.places.leave_all()
        study.facts.end_drive(time.time())


def _schedule(parts: _Parts, attempt: str, listener: Listener, interrupt: Interrupt) -> None:
    """Run on the connected cluster until all is done, Ctrl-C, or what cannot go on."""
    from tuning.schedule import resources, searcher

    planned, dispatcher, progress = parts.planned, parts.dispatcher, parts.progress
    study = dispatcher.study
    left = max(planned.spec.trials - study.num_ended(), len(study.unfinished()))
    workers = min(dispatcher.workers, left)
    if planned.spec.compile:
        progress.say(COMPILING)
    try:
        with interrupt.at_once():
            searcher.run(
                planned.spec,
                dispatcher,
                attempt=attempt,
                splits=planned.splits,
                scratch=planned.paths.scratch,
                workers=workers,
                room=resources.room(planned.spec),
                listener=listener,
                phase=progress.phase,
                say=progress.say,
                probe=settle_size(planned, dispatcher, left, workers, progress.say),
            )
    except KeyboardInterrupt:
        dispatcher.halted = dispatcher.halted or closing.INTERRUPTED
    except SweepError as error:
        dispatcher.halted = str(error)
