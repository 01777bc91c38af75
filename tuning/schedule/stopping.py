"""Tune's scheduler, which decides nothing here: it ends what there is once the dispatcher has halted."""

import contextlib
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tuning.dispatch import Dispatcher
from tuning.schedule.deaths import reason


class StopWhenHalted(FIFOScheduler):
    """Once the dispatcher has halted, ends every cohort at its next report, and takes back those that wait
    for a worker; hears why workers died.

    Args:
        deaths: filled with what Ray knows of each death, by Tune's trial id.
    """

    def __init__(self, dispatcher: Dispatcher, deaths: dict[str, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._dispatcher, self._deaths = dispatcher, deaths

    def __getstate__(self) -> dict[str, Any]:
        return {}  # as the searcher's

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        halted = self._dispatcher.halted is not None
        decision: str = TrialScheduler.STOP if halted else TrialScheduler.CONTINUE
        return decision

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        if self._dispatcher.halted is None:
            return super().choose_trial_to_run(tune_controller)
        for trial in tune_controller.get_live_trials().copy():
            if trial.status == Trial.PENDING:  # which may be for ever, where no node comes for it
                tune_controller.stop_trial(trial)
        return None

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Tune tells the searcher next, and not why; `trial.get_error` looks where its file is not."""
        with contextlib.suppress(Exception):  # no file is there, say: it is a word to the user only
            text = Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
            self._deaths[trial.trial_id] = reason(text)
