"""Ray Tune over a dispatcher: one Tune trial is one cohort, named by one opaque string."""

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Set
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.air._internal import usage
from ray.exceptions import RayError
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tuning.data import Splits
from tuning.dispatch import Dispatcher
from tuning.errors import SweepError, last_line
from tuning.interrupt import held_back
from tuning.schedule import datasets, deaths, survey
from tuning.schedule.awaiting import Awaiting
from tuning.schedule.gate import Gate
from tuning.schedule.given_up import GivenUp
from tuning.schedule.messages import KEY, Message, decode
from tuning.schedule.probing import Probe, Probing
from tuning.schedule.stopping import StopWhenHalted
from tuning.schedule.trainable import run_cohort
from tuning.schedule.work import Work
from tuning.spec import SweepSpec

# Tune reads back, after the last trial, result files that nobody wrote, and lists each that is missing.
logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)

logger = logging.getLogger(__name__)

Listener = Callable[[Message], None]
"""Told every message of a worker."""


class CohortSearcher(Searcher):
    """Hands cohorts to Tune and what Tune hears of them to the dispatcher.

    Tune takes an exception in here for a fault of the trial and starts that again: the first one is
    kept in `failure` instead, nothing more is started, and `run` raises it.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        room: Callable[[], int],
        listener: Listener,
        probing: Probing | None,
    ) -> None:
        super().__init__()
        self.failure: Exception | None = None
        self._dispatcher = dispatcher
        self._room = room
        self._listener = listener
        self._probing = probing
        self._cohorts: dict[str, str] = {}
        """Cohort id by Tune's trial id."""
        self.deaths: dict[str, str] = {}
        """What Ray knows of the death of a worker, by Tune's trial id."""

    def suggest(self, trial_id: str) -> Any:
        if self.failure is not None or self._dispatcher.is_done:
            if self._probing is not None:
                self._probing.release()  # no cohort comes any more
            return Searcher.FINISHED
        if self._probing is not None and not self._probing.is_done:
            return self._probing.suggest(trial_id)
        cohort = None
        with self._kept():
            self._dispatcher.workers = self._room()
            if len(self._cohorts) < self._dispatcher.workers:
                cohort = self._dispatcher.next_cohort()
        if cohort is not None:
            self._cohorts[trial_id] = cohort.id
        if self._probing is not None and (cohort is None or len(self._cohorts) >= self._dispatcher.workers):
            self._probing.release()  # all cohorts that may wait do
        if self.failure is not None:
            return Searcher.FINISHED
        return None if cohort is None else {"cohort": cohort.to_json()}

    @property
    def in_flight(self) -> Set[str]:
        """Return Tune's ids of the trials that were handed a cohort, or a measurement, and have not ended."""
        measuring = self._probing.running if self._probing is not None else set()
        return self._cohorts.keys() | measuring

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if KEY not in result:
            return
        with self._kept():
            message = decode(result[KEY])
            if message.fault is not None:
                self._dispatcher.halted = self._dispatcher.halted or message.fault
            if self._probing is not None and self._probing.has(trial_id):
                self._probing.measured(trial_id, message.probe)
                return
            self._listener(message)
            self._dispatcher.report(message.reports)
            if message.out_of_memory and trial_id in self._cohorts:
                self._dispatcher.out_of_memory(self._cohorts.pop(trial_id))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        # A result at which Tune is told to stop comes here alone; one that came before counts once.
        self.on_trial_result(trial_id, result or {})
        with self._kept():
            if self._probing is not None and self._probing.has(trial_id):
                self._probing.ended(trial_id)
                return
            cohort_id = self._cohorts.pop(trial_id, None)
            if cohort_id is None:
                return  # it was too large for the memory, and was taken back
            if error:
                self._dispatcher.died(cohort_id, self.deaths.pop(trial_id, None))
            else:
                self._dispatcher.end(cohort_id)

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            with held_back():  # what is told to the study and to MLflow is told whole
                yield
        except Exception as error:  # Tune would take it for a fault of the trial
            self.failure = self.failure or error
            self._dispatcher.halted = f"{type(error).__name__}: {error}"

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: `Tuner` pickles its arguments for a restore that is never made."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is the truth."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("A sweep is resumed from its study, never from Tune's state.")


def run(
    spec: SweepSpec,
    dispatcher: Dispatcher,
    *,
    attempt: str,
    splits: Splits,
    scratch: Path,
    workers: int,
    room: Callable[[], int],
    listener: Listener,
    phase: Callable[[str], None],
    say: Callable[[str], None],
    probe: Probe | None = None,
) -> None:
    """Run cohorts on the connected cluster until the dispatcher is done.

    Args:
        attempt: that this driver has begun (`attempts`).
        splits: the data, which every worker must find the same.
        scratch: a folder for what Tune keeps, of which nothing is read again.
        workers: cohorts at the same time, to begin with.
        room: how many there may be from now on.
        phase: told what is waited for.
        say: told what somebody should look after.
        probe: what the workers measure first; None: nothing.

    Raises:
        SweepError: when Ray, the study or the storage cannot go on.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    gate = ray.remote(Gate).options(num_cpus=0, scheduling_strategy=here).remote()
    let_go = gate.open.remote  # type: ignore[attr-defined]  # actors' methods are made at run time
    work = Work(
        spec=spec,
        folder=dispatcher.folder,
        attempt=attempt,
        versions=survey.versions(),
        fingerprint=splits.fingerprint,
        num_outputs=splits.num_outputs,
        data=datasets.put(splits),
        gate=gate,
        workers=workers,
    )
    deaths.tell_tune()
    probing = Probing(probe, workers, let_go) if probe is not None else None
    searcher = CohortSearcher(dispatcher, room, listener, probing)
    with _folder_of_its_own(scratch), _pending_trials(workers), _callbacks_uncounted(), _ended(gate):
        try:
            callbacks = [Awaiting(spec.resources, phase, say), GivenUp(searcher)]
            _tuner(work, searcher, dispatcher, scratch, callbacks).fit()
        except Exception as error:  # of a cluster that is gone, or of Tune itself
            logger.exception("Ray could not go on")  # into the sweep's log
            reason = last_line(error, type(error).__name__)
            raise SweepError(f"Ray could not go on: {reason}") from error
    if searcher.failure is not None:
        raise SweepError(f"The sweep could not go on: {dispatcher.halted}") from searcher.failure
    if not dispatcher.is_done:
        raise SweepError("Ray Tune has ended before the sweep did, as it does at a SIGUSR1")


def _tuner(
    work: Work,
    searcher: CohortSearcher,
    dispatcher: Dispatcher,
    scratch: Path,
    callbacks: list[tune.Callback],
) -> tune.Tuner:
    size = work.spec.resources
    trainable = tune.with_resources(
        partial(run_cohort, work=work),
        tune.PlacementGroupFactory([{"CPU": size.cpus, "GPU": size.gpus or 0}]),
    )
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=StopWhenHalted(dispatcher, searcher.deaths),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(name="cohorts", storage_path=str(scratch), verbose=0, callbacks=callbacks),
    )


@contextlib.contextmanager
def _folder_of_its_own(scratch: Path) -> Iterator[None]:
    """Make a folder, over what a driver has left in it that died, and remove it."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _ended(actor: Any) -> Iterator[None]:
    """End an actor at the end; Ray keeps it, for handles that workers may still hold, till it is left."""
    try:
        yield
    finally:
        with contextlib.suppress(RayError, ConnectionError):
            ray.kill(actor)


@contextlib.contextmanager
def _callbacks_uncounted() -> Iterator[None]:
    """Keep Tune from counting callbacks, for which it imports MLflow: a second, and nobody is told."""
    before = usage.tag_callbacks
    usage.tag_callbacks = lambda callbacks: False
    try:
        yield
    finally:
        usage.tag_callbacks = before


@contextlib.contextmanager
def _pending_trials(workers: int) -> Iterator[None]:
    """Let Tune ask for all workers at once; for a searcher of one's own it asks one by one."""
    name = "TUNE_MAX_PENDING_TRIALS_PG"
    before = os.environ.get(name)
    os.environ[name] = str(workers)
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before
