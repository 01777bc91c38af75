"""What the tests of this room have written to MLflow, and what is there then."""

import queue
import time
from collections.abc import Callable
from typing import Any

import tuning
from tests import sweeps
from tuning.records import TrialSpec
from tuning.tracking.messages import Close, Job, News
from tuning.tracking.pending import Run
from tuning.tracking.spool import Spool

CLOSE = Close("FINISHED", None, None)


SPEC = tuning.SweepSpec(model="net", name="again", id="0" * 32, metric="val_loss", mode="min")


def news(*items: News) -> "queue.SimpleQueue[News]":
    found: queue.SimpleQueue[News] = queue.SimpleQueue()
    for item in items:
        found.put(item)
    return found


def spooled(job: Job, *items: dict[int, Run]) -> None:
    for item in items:
        Spool(job.paths.spool).put(item)


def began(number: int) -> Run:
    return Run(TrialSpec(number=number, hyperparameters={"lr": 0.1}), metrics={("val_loss", 1): (0.5, 1000)})


def runs_of_all(job: Job) -> list[Any]:
    """Return all runs that MLflow has of the sweep, also several of one name."""
    client = sweeps.MlflowClient(job.uri)
    experiment = client.get_experiment_by_name("net")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def runs(job: Job) -> dict[str, Any]:
    """Return them by name."""
    return {run.info.run_name: run for run in runs_of_all(job)}


def wait_for(what: str, is_so: Callable[[], object]) -> None:
    end_s = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end_s, what
        time.sleep(0.05)
