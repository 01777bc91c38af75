"""One checked request, carried out: puts study, Ray, MLflow and the screen together."""

import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tuning import (
    attempts,
    faults,
    notation,
    paths,
    plan,
    records,
    reuse,
    screen,
    sizing,
    storage,
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
from tuning.references import is_callable_reference
from tuning.run import Clock, SweepResult
from tuning.spec import Resources, SweepSpec
from tuning.study import Study
from tuning.tracking import client
from tuning.tracking.tracker import Tracker

if TYPE_CHECKING:
    from tuning.schedule.connection import Cluster, Node
    from tuning.schedule.probing import Probe

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
    if planned.spec.tracking_uri:
        client.check(planned.spec.tracking_uri)
    nodes = _checked_nodes(planned.spec, cluster)
    _make_home(where)
    with claim(where.claim, where.name), screen.everything_to(where.log) as terminal:
        spec = _settle(planned.spec, where)
        size, most = _share(spec, where, nodes, cluster, lambda text: print(text, file=terminal, flush=True))
        planned = replace(planned, spec=replace(spec, resources=size))
        study = _open_study(planned)
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
    dispatcher = Dispatcher(spec, study, folder, [tracker, progress], workers=most_workers)

    def halt() -> None:
        dispatcher.halted = INTERRUPTED
        progress.interrupted()

    status, best, test = "FAILED", None, None
    with Interrupt(halt) as interrupt:
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
                for recorder in dispatcher.recorders:
                    recorder.end(number, State.INTERRUPTED, None)
            best = records.best_trial(study.trials(), study.mode)
            test = _measure_best(planned, study, folder, best)
            status = _status(interrupt.asked, study.trials(), dispatcher)
        finally:
            tracker.close(status, best, test)
            progress.phase("")
    return dispatcher, interrupt.asked, best


def _save(study: Study, dispatcher: Dispatcher, splits: Splits) -> None:
    """Write what unfinished trials have come to; where the disk is full, their resume states hold it."""
    try:
        unfinished.save_best(study, dispatcher.folder, splits)
        unfinished.clear(study, dispatcher.folder)
    except OSError as error:
        dispatcher.halted = dispatcher.halted or f"{dispatcher.folder} cannot be written: {error}"


def _status(interrupted: bool, trials: list[TrialRecord], dispatcher: Dispatcher) -> str:
    """Return the parent run's status in MLflow."""
    if interrupted:
        return "KILLED"
    return "FAILED" if dispatcher.halted or not records.has_completed(trials) else "FINISHED"


def _checked_nodes(spec: SweepSpec, cluster: "Cluster") -> "Sequence[Node]":
    """Return the cluster's nodes; refuse a sweep of which they hold no worker.

    A local one is still on its way up, but what it will have is known.
    """
    from tuning.schedule import resources

    nodes = cluster.nodes() if spec.address or cluster.is_up else [resources.local_node()]
    resources.share(spec, nodes)
    return nodes


def _share(
    spec: SweepSpec,
    where: paths.SweepPaths,
    nodes: "Sequence[Node]",
    cluster: "Cluster",
    say: Callable[[str], None],
) -> tuple[Resources, int]:
    """Return a worker's share of the cluster, measured if need be, and how many workers there may be."""
    from tuning.schedule import resources, sharing

    kept = sizing.Sizing.load(where.sizing)
    if sharing.is_open(spec, nodes, kept):
        kept = sharing.measure_shares(spec, cluster.nodes(), say)
        kept.keep(where.sizing)
    return resources.share(sharing.with_share(spec, kept), nodes)


def _make_home(where: paths.SweepPaths) -> None:
    try:
        where.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(where.folder, os.W_OK):
            raise PermissionError(where.folder)
    except OSError as error:
        raise plan.unwritable(where.home) from error


def _settle(spec: SweepSpec, where: paths.SweepPaths) -> SweepSpec:
    """Give a new sweep its id, and keep the spec in the sweep's folder.

    Holding the claim, look again whether it is new: of two commands that start at once, one waits here.
    """
    spec = plan.as_it_was(spec, where)
    spec = spec if spec.id else replace(spec, id=str(uuid.uuid4()))
    _keep(spec, where)
    return spec


def _keep(spec: SweepSpec, where: paths.SweepPaths) -> None:
    storage.write(str(where.spec), notation.dump(replace(spec, home=None)).encode())


def _open_study(planned: Plan) -> Study:
    """Open the study; refuse to go on with data that is not what its trials were trained on."""
    study = Study(planned.spec, planned.paths.journal, write=True)
    fingerprint = planned.splits.fingerprint
    if study.fingerprint() not in (None, fingerprint):
        raise RequestError(
            f"Data {planned.spec.data!r} must be what the sweep {planned.paths.name!r} began with, but its "
            "fingerprint differs: it was changed, or it is drawn without a fixed seed. Use another --name."
        )
    study.set_fingerprint(fingerprint)
    if study.num_ended() > planned.spec.trials:  # a total is never less than what there is
        study.spec = replace(study.spec, trials=study.num_ended())
        _keep(replace(notation.load(planned.paths.spec), trials=study.spec.trials), planned.paths)
    study.enqueue(tuple(planned.spec.try_))
    return study


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
                probe=_settle_size(planned, dispatcher, left, workers, say),
            )
    except KeyboardInterrupt:
        dispatcher.halted = INTERRUPTED
    except SweepError as error:
        dispatcher.halted = str(error)


def _settle_size(
    planned: Plan, dispatcher: Dispatcher, left: int, workers: int, say: Callable[[str], None]
) -> "Probe | None":
    """Give the dispatcher its cohort size for the trials that are left, or return what will measure it."""
    from tuning.schedule.probing import Probe

    file = planned.paths.sizing
    kept = sizing.Sizing.load(file)

    def settle(found: sizing.Sizing) -> None:
        dispatcher.size = found.size
        if found.measured or kept is None:  # what was measured is not forgotten for a few last trials
            replace(found, gpus=kept.gpus if kept is not None else found.gpus).keep(file)
        say(found.describe())

    known = sizing.without_measuring(planned.spec.cohort, left, workers, kept)
    if known is None:
        return Probe(
            sizing.wanted_sizes(left, workers),
            lambda found: settle(sizing.from_workers(found, left, workers)),
        )
    settle(known)
    return None


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
    is_own = is_callable_reference(planned.model.reference)
    path = paths.checkpoint_file(folder, best.number)
    try:
        loaded = reuse.load_checkpoint(path, planned.model.build if is_own else None)
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
