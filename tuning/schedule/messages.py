"""What a worker sends to the driver: one string, which Tune does not take apart."""

import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuning import gpus
from tuning.records import EpochReport, Place, Span, State

KEY = "message"
"""The key of a Tune result under which a message stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    worker: dict[str, Any] = field(default_factory=dict)
    """Host, pid, GPUs and their `use`, and by its wall clock since when it is up (`up_at`) and `sent_at`."""
    cohort: str = ""
    begin_s: float = 0.0
    """When the process began with the cohort, by its wall clock."""
    reports: Sequence[EpochReport] = ()
    notes: Sequence[str] = ()
    """What the user should know of, once."""
    stacks: Sequence[Sequence[int]] = ()
    """Trials that train as one program, in their order."""
    machine: str = ""
    """What kind of device they train on, and with how many threads."""
    threads: int = 1
    out_of_memory: bool = False
    """Whether the cohort was too large for its device, and ends with this message."""
    fault: str | None = None
    """Why no worker can go on, as where nothing can be written; the trials are not to blame."""
    probe: str | None = None
    """What was measured, where that was the task."""

    @property
    def where(self) -> str:
        """Host and GPU, for people."""
        host, gpus = self.worker["host"], self.worker["gpus"]
        return f"{host}, GPU {gpus}" if gpus else str(host)

    def places(self) -> Iterator[Place]:
        """Yield where each trial trains that has something to report.

        What an earlier attempt has trained, which takes no time here, was trained elsewhere.
        """
        first: dict[int, int] = {}
        for report in self.reports:
            if report.seconds > 0 or report.state is State.FAILED:
                first.setdefault(report.trial, report.epoch)
        slots = {number: (slot, len(found)) for found in self.stacks for slot, number in enumerate(found)}
        span = Span(self.where, self.worker["pid"], self.begin_s, self.worker["sent_at"]) if first else None
        for number, epoch in first.items():
            slot, width = slots.get(number, (0, 1))
            assert span is not None
            yield Place(
                trial=number,
                where=self.where,
                cohort=self.cohort,
                epoch=epoch,
                slot=slot,
                width=width,
                span=span,
                machine=self.machine,
                threads=self.threads,
            )

    def encode(self, up_at: float) -> dict[str, str]:
        """Return the message as a Tune result, signed by this process."""
        worker = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
            "use": gpus.of_worker(),
            "up_at": up_at,
            "sent_at": time.time(),
        }
        plain = {
            "worker": worker,
            "cohort": self.cohort,
            "begin_s": self.begin_s,
            "reports": [[getattr(one, name) for name in REPORT] for one in self.reports],
            "notes": list(self.notes),
            "stacks": [list(found) for found in self.stacks],
            "machine": self.machine,
            "threads": self.threads,
            "out_of_memory": self.out_of_memory,
            "fault": self.fault,
            "probe": self.probe,
        }
        return {KEY: json.dumps(plain)}


REPORT = ("trial", "epoch", "metrics", "state", "error", "seconds")


def decode(text: str) -> Message:
    plain = json.loads(text)
    reports = [dict(zip(REPORT, found, strict=True)) for found in plain.pop("reports")]
    return Message(
        **plain, reports=[EpochReport(**{**found, "state": State(found["state"])}) for found in reports]
    )
