"""A member of a cohort that trains by itself, on one device or on several."""

from collections.abc import Sequence
from typing import Any

from tuning.engine import ranks, solo
from tuning.engine.failures import is_out_of_memory, may_pass
from tuning.engine.solo import Outcome, Training
from tuning.errors import traced
from tuning.records import EpochReport, State, TrialSpec
from tuning.spec import SweepSpec


class Single:
    """A `cohort.Part` of one member; what that raises ends it alone."""

    def __init__(
        self, trial: TrialSpec, may_be_split: bool, spec: SweepSpec, *args: Any, **keys: Any
    ) -> None:
        self._number = trial.number
        self._share = _of_share(spec.resources.gpus)
        self._may_be_split = may_be_split
        self._run = (solo.train if spec.ranks == 1 else ranks.train)(trial, spec, *args, **keys)
        self._training: Training | None = None
        self._has_ended = False

    @property
    def going_on(self) -> tuple[int, ...]:
        return () if self._has_ended else (self._number,)

    def advance(self, until: int) -> list[EpochReport]:
        """Train on; one whose resume state was lost has earlier epochs to catch up."""
        reports: list[EpochReport] = []
        while not self._has_ended and (self._training is None or self._training.epoch < until):
            try:
                report, self._training = next(self._run)
            except Exception as error:  # a user's model or data may raise anything
                if may_pass(error) or (self._may_be_split and is_out_of_memory(error)):
                    raise
                report = EpochReport(
                    trial=self._number,
                    epoch=until,
                    metrics={},
                    state=State.FAILED,
                    error=traced(error) + (self._share if is_out_of_memory(error) else ""),
                )
            reports.append(report)
            self._has_ended = report.state is not State.RUNNING
        return reports

    def notes(self) -> list[str]:
        return []

    def outcome(self, number: int) -> Outcome | None:
        return self._training

    def close(self) -> None:
        self._run.close()

    def to_plain(self, numbers: Sequence[int]) -> dict[str, Any]:
        assert self._training is not None
        return {"single": self._training.to_plain()}


def _of_share(gpus: float | None) -> str:
    """Return what to say of a trial for which its share of a GPU's memory does not suffice."""
    if gpus is None or not 0 < gpus < 1:
        return ""
    return f" (a worker has {gpus:g} of the GPU's memory: give it more with --gpus-per-trial)"
