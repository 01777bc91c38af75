"""What the driver does with a worker's message beside its reports."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from tuning import gpus
from tuning.run import Clock
from tuning.study import Study
from tuning.tracking.tracker import Tracker

if TYPE_CHECKING:
    from tuning.schedule.messages import Message
    from tuning.screen import Progress


KEEP_INTERVAL_S = 30.0
"""How often what was spent goes to the study, lest a death lose it."""


class Listener:
    """Hears the first report, says each note once, and has it written down where trials train."""

    def __init__(
        self, study: Study, tracker: Tracker, progress: "Progress", clock: Clock, gpu_use: Path
    ) -> None:
        self._study, self._tracker, self._progress, self._clock = study, tracker, progress, clock
        self._said: set[str] = set()
        self._gpus = gpus.Told(gpu_use)
        self._epochs, self._seconds, self._kept_s = 0, 0.0, time.monotonic()
        """Epochs of trials that were reported, what they took their workers, and when that was kept."""

    def __call__(self, message: "Message") -> None:
        if "first report" not in self._clock.marks:
            self._clock.mark("workers up", at=message.worker["up_at"])
            self._clock.mark("first report")
            self._progress.trains_since(message.worker["up_at"])
            self._tracker.start()  # not before: importing mlflow would take the cores from the workers' start
        self._epochs += sum(report.seconds > 0 for report in message.reports)
        self._seconds += sum(report.seconds for report in message.reports)
        self._gpus.keep(message.where, message.worker.get("use", []))
        if time.monotonic() - self._kept_s > KEEP_INTERVAL_S:
            self.keep()
        for note in message.notes:
            if note not in self._said:
                self._said.add(note)
                self._study.facts.add_note(note)
                self._progress.say(note)
        for place in self._study.places.keep(message.places()):
            self._tracker.placed(place)

    def keep(self) -> None:
        """Add what was spent since to what the study knows of."""
        if self._epochs:
            self._study.facts.add_epochs(self._epochs, self._seconds, self._study.spec.resources)
        self._epochs, self._seconds, self._kept_s = 0, 0.0, time.monotonic()
