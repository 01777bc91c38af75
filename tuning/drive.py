"""One checked request, carried out: puts study, Ray, MLflow and the screen together."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tuning import (
    attempts,
    faults,
    paths,
    records,
    reuse,
    screen,
    unfinished,
)
from tuning.claim import claim
from tuning.data import Splits
from tuning.dispatch import Dispatcher
from tuning.errors import RequestError, SweepError
from tuning.interrupt import Interrupt
from tuning.listener import Listener
from tuning.plan import Plan
from tuning.records import State, TrialRecord
from tuning.run import Clock, SweepResult
from tuning.settle import checked_nodes, make_home, open_study, settle_size, settle_spec, share_of
from tuning.study import Study
from tuning.tracking import client
from tuning.tracking.tracker import Tracker

if TYPE_CHECKING:
    from tuning.schedule.connection import Cluster

INTERRUPTED = "interrupted"
COMPILING = (
    "--compile: each worker compiles the steps that it repeats; the first time on a machine that takes it "
    "up to a minute"
)


def carry_out(planned: Plan, cluster: "Cluster", clock: Clock) -> SweepResult:
    """Run what was planned; an interrupted sweep returns, with `interrupted` set.

    Raises:
        SweepError: when a file of the sweep cannot be written, or its end cannot be told.
    """
    try:
        return _carried_out(planned, cluster, clock)
    except OSError as error:
        raise SweepError(
            f"The sweep {planned.paths.name!r} could not go on: {error}. All that it has told of is kept; "
            f"once that is mended, go on with `tuning resume {planned.paths.name}`."
        ) from error


def _carried_out(planned: Plan, cluster: "Cluster", clock: Clock) -> SweepResult:
    where = planned.paths
    _check_tracking(planned)
    nodes = checked_nodes(planned.spec, cluster)
    make_home(where)
    with claim(where.claim, where.name), screen.everything_to(where.log) as terminal:
        spec = settle_spec(planned.spec, where)
        say = partial(print, file=terminal, flush=True)
        size, most = share_of(spec, where, nodes, cluster, say)
        planned = replace(planned, spec=replace(spec, resources=size))
        study = open_study(planned)
        planned = replace(planned, spec=study.spec)
        with screen.Progress(study.spec, terminal, study.trials()) as progress:
            dispatcher, interrupted, best = _carry_on(planned, study, cluster, most, progress, clock)
        study.add_seconds(clock.elapsed_s())
        return SweepResult(
            name=where.name,
            home=str(where.home),
            trials=[trial.without_driver() for trial in study.trials()],
            best=best,
            total=study.spec.trials,
            wall_s=clock.elapsed_s(),
            halted=None if interrupted else dispatcher.halted,
            interrupted=interrupted,
            startup_s=clock.marks,
        )


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
        print(f"MLflow at {uri} does not answer: records wait in {planned.paths.spool}", file=sys.stderr)


def _carry_on(
    planned: Plan,
    study: Study,
    cluster: "Cluster",
    most_workers: int,
    progress: screen.Progress,
    clock: Clock,
) -> tuple[Dispatcher, bool, TrialRecord | None]:
    """Train what is left, measure the best, and see that MLflow is closed whatever happens."""
    spec = study.spec
    folder = planned.paths.storage(spec.storage, str(spec.id))
    uri = spec.tracking_uri or client.default_uri(planned.paths.home)
    tracker = Tracker(spec, planned.model.name, uri, planned.paths.home, folder)
    dispatcher = Dispatcher(
        spec,
        study,
        folder,
        [tracker, progress],
        workers=most_workers,
        save_best=partial(unfinished.save_best, study, folder, planned.splits),
    )

    def halt() -> None:
        dispatcher.halted = INTERRUPTED
        progress.interrupted()

    status, best, test = "FAILED", None, None
    with Interrupt(halt, tracker.hurry) as interrupt:
        try:
            attempt = attempts.begin(folder)
            unfinished.save_best(study, folder, planned.splits)
            waiting = unfinished.taken_up(study, folder)
            tracker.restore(study.trials(), {trial.number: history for trial, history, _ in waiting})
            dispatcher.resume(waiting)
            if dispatcher.is_done:
                progress.say(f"all {spec.trials} trials have ended; a larger total (--trials) asks for more")
            else:
                progress.phase("starting Ray")
                cluster.nodes()
                clock.mark("Ray up")
                progress.phase("starting workers")
                listener = Listener(study, tracker, progress.say, clock)
                _schedule(planned, dispatcher, attempt, listener, interrupt, progress.say)
            faults.place("before-end")
            cluster.release()
            progress.phase("saving")
            _save(study, dispatcher, planned.splits)
            for number in study.unfinished():
                for recorder in (tracker, progress):
                    recorder.end(number, State.INTERRUPTED, None)
            best = records.best_trial(study.trials(), study.mode)
            test = _measure_best(planned, study, folder, best)
            status = _status(interrupt.asked, study.trials(), dispatcher)
        finally:
            tracker.close(status, best, test)
            progress.phase("")
    return dispatcher, interrupt.asked, best


def _save(study: Study, dispatcher: Dispatcher, splits: Splits) -> None:
    """Write what unfinished trials have come to; where the disk is full, their resume states hold it.

    Those of a sweep that was halted stay: the study in memory may know of ends that its file does not.
    """
    try:
        unfinished.save_best(study, dispatcher.folder, splits)
        if dispatcher.halted is None:
            unfinished.clear(study, dispatcher.folder)
    except OSError as error:
        dispatcher.halted = dispatcher.halted or f"{dispatcher.folder} cannot be written: {error}"


def _status(interrupted: bool, trials: list[TrialRecord], dispatcher: Dispatcher) -> str:
    """Return the parent run's status in MLflow."""
    if interrupted:
        return "KILLED"
    return "FAILED" if dispatcher.halted or not records.has_completed(trials) else "FINISHED"


def _schedule(
    planned: Plan,
    dispatcher: Dispatcher,
    attempt: str,
    listener: Listener,
    interrupt: Interrupt,
    say: Callable[[str], None],
) -> None:
    """Run on the connected cluster until all is done, Ctrl-C, or what cannot go on."""
    from tuning.schedule import searcher

    study = dispatcher.study
    left = max(planned.spec.trials - study.num_ended(), len(study.unfinished()))
    workers = min(dispatcher.workers, left)
    if planned.spec.compile:
        say(COMPILING)
    try:
        with interrupt.at_once():
            searcher.run(
                planned.spec,
                dispatcher,
                attempt=attempt,
                fingerprint=planned.splits.fingerprint,
                scratch=planned.paths.scratch,
                workers=workers,
                listener=listener,
                probe=settle_size(planned, dispatcher, left, workers, say),
            )
    except KeyboardInterrupt:
        dispatcher.halted = INTERRUPTED
    except SweepError as error:
        dispatcher.halted = str(error)


def _measure_best(
    planned: Plan, study: Study, folder: str, best: TrialRecord | None
) -> dict[str, float] | None:
    """Measure the best model on the test split, once per winner.

    Raises:
        SweepError: when that fails, as the test split of a user's data may in any way.
    """
    if best is None:
        return None
    known = study.test(best.number)
    if known is not None:
        return known
    try:
        path = paths.checkpoint_file(folder, best.number)
        loaded = reuse.load_of_sweep(path, planned.spec, best.number)
        metrics = reuse.measure(loaded, "test", planned.splits)
    except Exception as error:  # the user's data and model may raise anything
        reason = str(error).strip().splitlines()[-1:] or [""]  # a loader's worker sends a whole traceback
        raise SweepError(
            f"The best model (trial {best.number}) could not be measured on the test split: "
            f"{type(error).__name__}: {reason[0]}. "
            "All trials are kept; mend it and run the same command again."
        ) from error
    study.set_test(best.number, metrics)
    return metrics
