"""Tells the searcher of trials that Tune gives up without a word to it."""

from collections.abc import Set
from typing import Any, Protocol

from ray import tune
from ray.tune.experiment import Trial


class Searcher(Protocol):
    @property
    def in_flight(self) -> Set[str]: ...
    def on_trial_complete(self, trial_id: str, *, error: bool) -> None: ...


class GivenUp(tune.Callback):
    """Looks, after each step of Tune, for trials that have failed and for which the searcher waits.

    Tune hands a new trial to a worker that is free. Where the thread of the trial before has not ended within
    two seconds, as on a host that swaps, it ends worker and trial, and tells no searcher
    (`TuneController._on_trial_reset`, Ray 2.60): a sweep would wait for that trial for ever.
    """

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher

    def __getstate__(self) -> dict[str, Any]:
        return {}  # as the searcher's

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        left = set(self._searcher.in_flight)
        for trial in reversed(trials):  # those in flight are among the last of perhaps ten thousand
            if not left:
                return
            if trial.trial_id in left:
                left.remove(trial.trial_id)
                if trial.status == Trial.ERROR:
                    self._searcher.on_trial_complete(trial.trial_id, error=True)
