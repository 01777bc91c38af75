"""A sweep from request to result: puts the parts together."""

import contextlib
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import FrameType

from tuning import paths, plan, records, reuse, screen, storage, tracking
from tuning import spec as specs
from tuning.claim import claim
from tuning.dispatch import Dispatcher
from tuning.engine import checkpoint
from tuning.engine.solo import Training
from tuning.errors import SweepError
from tuning.plan import Plan
from tuning.records import State, TrialRecord, TrialSpec
from tuning.references import is_callable_reference
from tuning.spec import SweepSpec
from tuning.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """How a sweep stands when its command ends."""

    name: str
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
        SweepError: when the sweep could not go on; what it has is kept.
        KeyboardInterrupt: on Ctrl-C, after running epochs have ended and were saved.
    """
    result = carry_out(plan.prepare(spec))
    if result.interrupted:
        raise KeyboardInterrupt(f"interrupted; resume with `tuning resume {result.name}`")
    return result


def carry_out(planned: Plan) -> SweepResult:
    """Run what was planned; an interrupted sweep returns, with `interrupted` set."""
    from tuning.schedule import connection, resources

    spec, where = planned.spec, planned.paths
    clock = _Clock()
    if spec.tracking_uri:
        tracking.check(spec.tracking_uri)
    local = resources.local_node()
    if spec.address is None:
        spec = _sized(spec, [local])
    with contextlib.ExitStack() as stack:
        _make_home(where)
        stack.enter_context(claim(where.claim, where.name))
        terminal = stack.enter_context(screen.everything_to(where.log))
        nodes = None
        if spec.address is not None:  # its size is part of the request: refused before a file is written
            nodes = stack.enter_context(connection.connect(spec.address, local))
            spec = _sized(spec, nodes)
        spec = _settle(spec, where)
        folder = where.storage(spec.storage, str(spec.id))
        study = Study(spec, where.journal, write=True)
        study.enqueue(tuple(spec.try_))
        counts = Counter(trial.state for trial in study.trials())
        progress = stack.enter_context(screen.Progress(spec, terminal, counts))
        uri = spec.tracking_uri or tracking.default_uri(where.home)
        tracker = tracking.Tracker(spec, planned.model.name, uri, where.home, folder)
        dispatcher = Dispatcher(spec, study, folder, [tracker, progress])
        dispatcher.resume(_unfinished(study, folder))
        tracker.start()
        interrupted = False
        if not dispatcher.is_done:
            progress.phase("starting Ray")
            if nodes is None:
                nodes = stack.enter_context(connection.connect(None, local))
            clock.mark("ray")
            progress.phase("starting workers")
            interrupted = _schedule(spec, dispatcher, folder, nodes, tracker, clock)
        progress.phase("saving")
        _save_interrupted(planned, study, folder, tracker)
        study.add_seconds(clock.elapsed_s())
        best = records.best_trial(study.trials(), study.mode)
        test = _measure_best(planned, study, folder, best)
        status = "KILLED" if interrupted else "FINISHED"
        if not interrupted and (best is None or dispatcher.halted):
            status = "FAILED"
        tracker.close(status, best, test)
        progress.phase("")
    return SweepResult(
        name=where.name,
        trials=study.trials(),
        best=best,
        total=spec.trials,
        wall_s=clock.elapsed_s(),
        halted=None if interrupted else dispatcher.halted,
        interrupted=interrupted,
        startup_s=clock.marks,
    )


class _Clock:
    """Seconds since the start, and at milestones."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()
        self.marks: dict[str, float] = {}

    def elapsed_s(self) -> float:
        return time.monotonic() - self._start_s

    def mark(self, name: str) -> None:
        self.marks.setdefault(name, self.elapsed_s())


def _sized(spec: SweepSpec, nodes: list["connection.Node"]) -> SweepSpec:  # type: ignore[name-defined]  # noqa: F821
    from tuning.schedule import resources

    spec = replace(spec, resources=resources.chosen(spec.resources, nodes))
    resources.num_workers(spec.resources, nodes)
    return spec


def _make_home(where: paths.SweepPaths) -> None:
    try:
        where.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise plan.unwritable(where.home) from error


def _settle(spec: SweepSpec, where: paths.SweepPaths) -> SweepSpec:
    """Give a new sweep its id, and keep the spec in the sweep's folder."""
    spec = spec if spec.id else replace(spec, id=str(uuid.uuid4()))
    storage.write(str(where.spec), specs.dump(spec).encode())
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
    nodes: list["connection.Node"],  # type: ignore[name-defined]  # noqa: F821
    tracker: tracking.Tracker,
    clock: _Clock,
) -> bool:
    """Run on the connected cluster; return whether Ctrl-C ended it."""
    from tuning.schedule import resources, searcher

    workers = resources.num_workers(spec.resources, nodes)
    workers = min(workers, spec.max_concurrent or workers, spec.trials)

    def listener(worker: dict[str, object], reports: list[records.EpochReport]) -> None:
        clock.mark("first report")
        tracker.placed(worker, reports)

    with _halt_on_interrupt(dispatcher) as interrupted:
        try:
            searcher.run(spec, dispatcher, folder, workers=workers, listener=listener)
        except KeyboardInterrupt:
            interrupted.set()
            dispatcher.halted = "interrupted"
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


def _save_interrupted(planned: Plan, study: Study, folder: str, tracker: tracking.Tracker) -> None:
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


def fault(result: SweepResult) -> SweepError | None:
    """Return why a sweep that ended counts as failed; None if it does not."""
    if result.interrupted:
        return None
    if result.halted:
        return SweepError(f"The sweep {result.name!r} stopped early: {result.halted}.")
    if result.best is None:
        return SweepError(f"The sweep {result.name!r} ended without one completed trial.")
    return None
