"""What the driver and the process that writes MLflow tell each other, pickled."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tuning.confirmed import Confirmation
from tuning.paths import SweepPaths
from tuning.records import State, TrialRecord
from tuning.spec import SweepSpec
from tuning.tracking.champion import Champion
from tuning.tracking.pending import History
from tuning.tracking.registry import Registered


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be written where."""

    spec: SweepSpec
    experiment: str
    uri: str
    home: Path
    folder: str
    """Where the checkpoints lie."""
    earlier: dict[int, tuple[TrialRecord, History]] = field(default_factory=dict)
    """Trials of earlier drivers."""
    again: bool = False
    """Whether also those of them are written anew whose run has ended: a repair."""
    ends: dict[int, State] = field(default_factory=dict)
    """How trials have ended under this driver, as far as it is in the spool or was."""
    is_first: bool = True
    """Whether nothing can be under way that another process has asked for: none has died under this driver,
    and there are no trials of an earlier one."""
    began_ms: int | None = None
    """When the sweep began, if it begins now."""

    @property
    def paths(self) -> SweepPaths:
        return SweepPaths(self.home, str(self.spec.name))


@dataclass(frozen=True, slots=True)
class Close:
    """The sweep ends: how, with which best trial, with which metrics of its own beside that one's value."""

    status: str
    best: TrialRecord | None
    metrics: dict[str, float] | None
    report: Path | None = None
    """The sweep's report, if one was made: it becomes an artifact of its run."""
    champion: Champion | None = None
    """What is to be registered as the sweep's best model, once all else is written."""
    confirmation: Confirmation | None = None
    """By which the best trial is the best, if it is by one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the driver hears in the end."""

    failure: str | None = None
    """Why MLflow could not be written."""
    registered: Registered | None = None
    unregistered: str | None = None
    """Why the best model could not be registered."""


SPOOLED: Literal["spooled"] = "spooled"
"""There is news in the spool."""

News = Literal["spooled"] | Close
