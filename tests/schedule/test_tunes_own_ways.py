"""What Tune does by itself, of which it tells nobody: no sweep waits for ever, nor counts as done, for it."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.tune.execution.tune_controller import TuneController

import tuning
from tests import sweeps
from tuning import endings, ledger
from tuning.claim import claimant
from tuning.paths import SweepPaths
from tuning.spec import SweepSpec

SPEC = SweepSpec(
    model="net",
    name="demo",
    trials=3,
    epochs=2,
    cohort=1,
    max_concurrent=1,
    search={"lr": tuning.Float(0.01, 0.1)},
    early_stopping=tuning.EarlyStopping(kind="none"),
    resources=tuning.Resources(cpus=1, gpus=0),
)


@contextmanager
def once(condition: Callable[[], bool], act: Callable[[], object]) -> Iterator[None]:
    """Act beside what is done within, as soon as a condition holds."""
    over = threading.Event()

    def wait() -> None:
        while not condition():
            if over.wait(0.05):
                return
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_worker_that_tune_cannot_use_again_costs_its_next_cohort_nothing(
    home: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not reset one whose last thread has not ended, and gives the trial up."""
    refused: list[str] = []
    reset = TuneController._on_trial_reset

    def refuse_first(controller: TuneController, trial: Any, success: bool) -> None:
        if not refused:
            refused.append(trial.trial_id)
        reset(controller, trial, success and refused[0] != trial.trial_id)

    monkeypatch.setattr(TuneController, "_on_trial_reset", refuse_first)
    result = tuning.sweep(SPEC)
    assert refused, "a worker must have been taken for another trial"
    assert result.states == {"completed": 3}
    sweeps.assert_they_agree(result, sweeps.read("demo", home))


def test_a_cohort_that_has_no_node_yet_ends_no_later_than_the_sweep_that_is_cancelled(
    home: Path, ray_cluster: Any
) -> None:
    """Others use every CPU: the first cohort waits for ever."""
    where = SweepPaths(home, "demo")
    taken = ray.util.placement_group([{"CPU": 1}] * int(ray.cluster_resources()["CPU"]))
    ray.get(taken.ready())

    def is_waiting() -> bool:
        is_driven = claimant(where.claim) is not None and where.spec.exists()
        return is_driven and bool(ledger.open_sweep("demo").trials)

    answers: list[endings.Answer] = []
    try:
        with (
            once(is_waiting, lambda: answers.append(endings.ask(where, endings.Ending.CANCELLED))),
            pytest.raises(KeyboardInterrupt, match="cancelled"),
        ):
            tuning.sweep(SPEC)
    finally:
        ray.util.remove_placement_group(taken)
    assert answers[0] in (endings.Answer.HEARD, endings.Answer.ENDED)
    assert ledger.open_sweep("demo").states == {"interrupted": 1}
    assert tuning.sweep(SPEC).states == {"completed": 3}


def test_a_signal_at_which_tune_ends_by_itself_is_not_taken_for_the_end_of_the_sweep(
    home: Path, ray_cluster: Any
) -> None:
    """As job schedulers send SIGUSR1 before they end a job."""
    before = signal.getsignal(signal.SIGUSR1)

    def trains() -> bool:
        is_handled = signal.getsignal(signal.SIGUSR1) is not before
        return is_handled and (home / "demo/spec.yaml").exists() and bool(ledger.open_sweep("demo").trials)

    try:
        with once(trains, lambda: os.kill(os.getpid(), signal.SIGUSR1)):
            result = tuning.sweep(replace(SPEC, epochs=5000))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert result.halted == "Ray Tune has ended before the sweep did, as it does at a SIGUSR1"
    ledgers = sweeps.read("demo", home)
    assert ledgers.parent.info.status == "FAILED"
    assert {run.info.status for run in ledgers.children.values()} == {"SCHEDULED"}
