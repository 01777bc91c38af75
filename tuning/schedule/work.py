"""What the workers of one driver need to know beside their cohorts, and refuse to go on without."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuning import attempts
from tuning.data import Splits
from tuning.errors import SweepError
from tuning.records import Cohort
from tuning.schedule import datasets, survey
from tuning.spec import SweepSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the workers of one driver need to know beside their cohorts."""

    spec: SweepSpec
    folder: str
    """Path or URI of checkpoints and resume state."""
    attempt: str
    """Whose files may be written (`attempts`)."""
    versions: Mapping[str, str]
    """Of the driver's packages."""
    fingerprint: str
    """Of the data."""
    num_outputs: int
    """Likewise, which a worker that opens the data itself need not count again."""
    data: datasets.Held | None
    """The data itself, if it is in memory."""
    gate: Any
    workers: int

    def check(self, task: Cohort) -> None:
        """Refuse to write for a cohort that others train now."""
        attempts.check(self.folder, self.attempt, task)

    def check_versions(self) -> None:
        """Refuse to work with packages of other versions than the driver's."""
        found = survey.differing(self.versions, survey.versions(), socket.gethostname())
        if found:
            raise SweepError(" ".join([*found, "Install the driver's, or leave that node out."]))

    def check_data(self, splits: Splits) -> None:
        """Refuse to train on other data than the driver's, as a worker may find that opens it itself."""
        if splits.fingerprint != self.fingerprint:
            raise SweepError(
                f"Data {self.spec.data!r} must be the same on every worker, but on {socket.gethostname()} "
                "its fingerprint differs from the driver's: is it drawn without a fixed seed?"
            )
