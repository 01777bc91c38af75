"""One checked request, carried out: puts study, Ray, MLflow and the screen together."""

import contextlib
import math
import signal
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING

from tuning import notation, paths, plan, records, reuse, screen, storage
from tuning.claim import claim
from tuning.dispatch import Dispatcher
from tuning.engine import checkpoint
from tuning.engine.solo import Training
from tuning.errors import SweepError
from tuning.plan import Plan
from tuning.records import State, TrialRecord, TrialSpec
from tuning.references import is_callable_reference
from tuning.run import Clock, SweepResult
from tuning.spec import Resources, SweepSpec
from tuning.study import Study
from tuning.tracking import client
from tuning.tracking.writer import Tracker

if TYPE_CHECKING:
    from tuning.schedule.connection import Node


def carry_out(planned: Plan, cluster: "Future[list[Node]]", clock: Clock) -> SweepResult:
    """Run what was planned; an interrupted sweep returns, with `interrupted` set."""
    where = planned.paths
    if planned.spec.tracking_uri:
        client.check(planned.spec.tracking_uri)
    size, workers = _sized(planned.spec, cluster)
    _make_home(where)
    with claim(where.claim, where.name), screen.everything_to(where.log) as terminal:
        spec = replace(_settle(planned.spec, where), resources=size)
        folder = where.storage(spec.storage, str(spec.id))
        study = Study(spec, where.journal, write=True)
        study.enqueue(tuple(spec.try_))
        uri = spec.tracking_uri or client.default_uri(where.home)
        tracker = Tracker(spec, planned.model.name, uri, where.home, folder)
        with screen.Progress(spec, terminal, Counter(trial.state for trial in study.trials())) as progress:
            dispatcher = Dispatcher(spec, study, folder, [tracker, progress], size=spec.cohort_size)
            dispatcher.resume(_unfinished(study, folder))
            interrupted = False
            if dispatcher.is_done:
                progress.say(f"all {spec.trials} trials have ended; --trials TOTAL asks for more")
            else:
                progress.phase("starting Ray")
                cluster.result()
                clock.mark("Ray up")
                progress.phase("starting workers")
                interrupted = _schedule(spec, dispatcher, folder, workers, tracker, clock)
            progress.phase("saving")
            _save_interrupted(planned, study, folder, tracker)
            best = records.best_trial(study.trials(), study.mode)
            test = _measure_best(planned, study, folder, best)
            tracker.close(_status(interrupted, best, dispatcher), best, test)
            study.add_seconds(clock.elapsed_s())
            progress.phase("")
        return SweepResult(
            name=where.name,
            home=str(where.home),
            trials=study.trials(),
            best=best,
            total=spec.trials,
            wall_s=clock.elapsed_s(),
            halted=None if interrupted else dispatcher.halted,
            interrupted=interrupted,
            startup_s=clock.marks,
        )


def _status(interrupted: bool, best: TrialRecord | None, dispatcher: Dispatcher) -> str:
    """Return the parent run's status in MLflow."""
    if interrupted:
        return "KILLED"
    return "FAILED" if best is None or dispatcher.halted else "FINISHED"


def _sized(spec: SweepSpec, cluster: "Future[list[Node]]") -> tuple[Resources, int]:
    """Return a worker's share of the cluster, and how many workers there will be."""
    from tuning.schedule import resources

    # A local cluster is still on its way up, but what it will have is known.
    nodes = cluster.result() if spec.address or cluster.done() else [resources.local_node()]
    size = resources.chosen(spec.resources, nodes)
    workers = resources.num_workers(size, nodes)
    cohorts = math.ceil(spec.trials / spec.cohort_size)
    return size, min(workers, spec.max_concurrent or workers, cohorts)


def _make_home(where: paths.SweepPaths) -> None:
    try:
        where.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise plan.unwritable(where.home) from error


def _settle(spec: SweepSpec, where: paths.SweepPaths) -> SweepSpec:
    """Give a new sweep its id, and keep the spec in the sweep's folder."""
    spec = spec if spec.id else replace(spec, id=str(uuid.uuid4()))
    storage.write(str(where.spec), notation.dump(replace(spec, home=None)).encode())
    return spec


def _unfinished(study: Study, folder: str) -> list[tuple[TrialSpec, list[dict[str, float]], str | None]]:
    """Return unfinished trials with their history and the resume file that is furthest."""
    numbers = study.unfinished()
    found: dict[int, tuple[list[dict[str, float]], str | None]] = {number: ([], None) for number in numbers}
    for name in storage.names(paths.resume_folder(folder)):
        for number, state in checkpoint.load_resume(paths.resume_file(folder, name)).items():
            if number in found and state["epoch"] > len(found[number][0]):
                found[number] = (state["history"], name)
    return [(study.take_up(number), *found[number]) for number in numbers]


def _schedule(
    spec: SweepSpec,
    dispatcher: Dispatcher,
    folder: str,
    workers: int,
    tracker: Tracker,
    clock: Clock,
) -> bool:
    """Run on the connected cluster; return whether Ctrl-C ended it."""
    from tuning.schedule import searcher

    def listener(worker: dict[str, object], reports: list[records.EpochReport]) -> None:
        if "first report" not in clock.marks:
            clock.mark("first report")
            tracker.start()  # not before: importing mlflow would take the cores from the workers' start
        tracker.placed(worker, reports)

    with _halt_on_interrupt(dispatcher) as interrupted:
        try:
            searcher.run(spec, dispatcher, folder, workers=workers, listener=listener)
        except KeyboardInterrupt:
            interrupted.set()
            dispatcher.halted = "interrupted"
        except SweepError as error:
            dispatcher.halted = str(error)
    return interrupted.is_set()


@contextlib.contextmanager
def _halt_on_interrupt(dispatcher: Dispatcher) -> Iterator[threading.Event]:
    """On the first Ctrl-C let running epochs end; on the second end at once."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def handle(signum: int, frame: FrameType | None) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()
        dispatcher.halted = "interrupted"

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _save_interrupted(planned: Plan, study: Study, folder: str, tracker: Tracker) -> None:
    """Write the best state so far of trials that wait to be taken up again."""
    for number in study.unfinished():
        tracker.end(number, State.INTERRUPTED, None)
    trials = {number: study.take_up(number) for number in study.unfinished()}
    for name in storage.names(paths.resume_folder(folder)) if trials else []:
        for number, state in checkpoint.load_resume(paths.resume_file(folder, name)).items():
            if number in trials:
                checkpoint.save_best(folder, Training(**state), trials[number], study.spec, planned.splits)


def _measure_best(
    planned: Plan, study: Study, folder: str, best: TrialRecord | None
) -> dict[str, float] | None:
    """Measure the best model on the test split, once per winner."""
    if best is None:
        return None
    known = study.test(best.number)
    if known is not None:
        return known
    is_own = is_callable_reference(planned.model.reference)
    path = paths.checkpoint_file(folder, best.number)
    loaded = reuse.load_checkpoint(path, planned.model.build if is_own else None)
    metrics = reuse.measure(loaded, "test", planned.splits)
    study.set_test(best.number, metrics)
    return metrics
