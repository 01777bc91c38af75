"""What a worker has to say, gathered: a message costs the driver more than what stands in it."""

import math
import time
from collections.abc import Collection

import torch
from ray import tune

from tuning.engine import cohort, machine
from tuning.records import EpochReport
from tuning.schedule.messages import Message
from tuning.schedule.worker import up_at

REPORT_INTERVAL_S = 1.0
"""Reports of quicker epochs go together: one costs the worker a round trip to the driver, 4 to 10 ms, and the
driver's one thread 8 ms at most (`docs/scale.md`)."""

REPORT_INTERVAL_PER_WORKER_S = 0.016
"""So that all together take half of the driver's time."""


def report_interval_s(workers: int) -> float:
    """Return how often each of so many workers reports, at most, so that the driver is heard by all."""
    return max(REPORT_INTERVAL_S, workers * REPORT_INTERVAL_PER_WORKER_S)


class Outbox:
    """Gathers reports, and sends them at most every so many seconds."""

    def __init__(
        self,
        cohort_id: str,
        begin_s: float,
        reports: list[EpochReport],
        device: torch.device,
        interval_s: float,
    ) -> None:
        self._interval_s = interval_s
        self._cohort, self._machine = cohort_id, machine.kind(device)
        self._begin_s = begin_s
        self._reports = reports
        self._notes: list[str] = []
        self._stacks: list[list[int]] = []
        self._sent_s = -math.inf

    def put(self, epoch: cohort.Epoch, numbers: Collection[int]) -> None:
        """Take what an epoch has to say of these trials."""
        self._reports += [report for report in epoch.reports if report.trial in numbers]
        self._notes += epoch.notes
        epoch.notes = []  # an epoch in which members end is put twice
        self._stacks = epoch.stacks()

    def flush_now_and_then(self) -> None:
        if time.monotonic() - self._sent_s > self._interval_s:
            self.flush()

    def flush(self) -> None:
        if self._reports:
            send(
                Message(
                    cohort=self._cohort,
                    begin_s=self._begin_s,
                    reports=self._reports,
                    notes=self._notes,
                    stacks=self._stacks,
                    machine=self._machine,
                    threads=torch.get_num_threads(),
                )
            )
            self._reports, self._notes = [], []
        self._sent_s = time.monotonic()


def send(message: Message) -> None:
    tune.report(message.encode(up_at()))
