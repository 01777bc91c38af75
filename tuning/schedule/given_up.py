"""Tells the searcher of trials that Tune gives up without a word to it."""

import time
from typing import Any, Protocol

from ray import tune
from ray.tune.experiment import Trial

INTERVAL_S = 1.0


class Searcher(Protocol):
    def waits_for(self, trial_id: str) -> bool: ...
    def on_trial_complete(self, trial_id: str, *, error: bool) -> None: ...


class GivenUp(tune.Callback):
    """Looks, between two steps of Tune, for trials that have failed and for which the searcher waits.

    Tune hands a new trial to a worker that is free. Where the thread of the trial before has not ended within
    two seconds, as on a host that swaps, it ends worker and trial, and tells no searcher
    (`TuneController._on_trial_reset`, Ray 2.60): a sweep would wait for that trial for ever.
    """

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        self._next_s = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {}  # as the searcher's

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + INTERVAL_S
        for trial in trials:
            if trial.status == Trial.ERROR and self._searcher.waits_for(trial.trial_id):
                self._searcher.on_trial_complete(trial.trial_id, error=True)
