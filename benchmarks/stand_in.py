"""A trial of fixed length that trains nothing, in the place of a real one: it sleeps, and imports no torch.

So that two cores hold 64 workers at the same time.
"""

import os
import socket
import time
from typing import Any

import ray
from ray import tune

from tuning.records import Cohort, EpochReport
from tuning.schedule.messages import Message

EPOCHS = 3
LENGTH_S = 10.0


def run_cohort(config: dict[str, Any], *, work: Any) -> None:
    """Take so many seconds for a cohort, reporting each epoch as a worker does (`schedule.trainable`)."""
    task = Cohort.from_json(config["cohort"])
    _pass_gate(work)
    start_s = time.time()
    for epoch in range(1, EPOCHS + 1):
        time.sleep(max(0.0, start_s + epoch * LENGTH_S / EPOCHS - time.time()))
        metrics = {"val_loss": 1 / epoch, "start_s": start_s, "end_s": time.time()}
        reports = [EpochReport(trial=number, epoch=epoch, metrics=metrics) for number in task.numbers]
        tune.report(Message(cohort=task.id, reports=reports).encode(start_s))


_passed: list[float] = []


def _pass_gate(work: Any) -> None:
    """Wait, at a process's first cohort, until all workers are up (`schedule.worker.pass_gate`)."""
    me = f"{socket.gethostname()}/{os.getpid()}"
    while not _passed:
        if ray.get(work.gate.ready.remote(me)) >= work.workers:
            _passed.append(time.time())
        else:
            time.sleep(0.2)
