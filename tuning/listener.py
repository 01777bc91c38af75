"""What the driver does with a worker's message beside its reports."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tuning.run import Clock
from tuning.study import Study
from tuning.tracking.tracker import Tracker

if TYPE_CHECKING:
    from tuning.schedule.messages import Message


class Listener:
    """Hears the first report, says each note once, and has it written down where trials train."""

    def __init__(self, study: Study, tracker: Tracker, say: Callable[[str], None], clock: Clock) -> None:
        self._study, self._tracker, self._say, self._clock = study, tracker, say, clock
        self._said: set[str] = set()

    def __call__(self, message: "Message") -> None:
        if "first report" not in self._clock.marks:
            self._clock.mark("workers up", at=message.worker["up_at"])
            self._clock.mark("first report")
            self._tracker.start()  # not before: importing mlflow would take the cores from the workers' start
        for note in message.notes:
            if note not in self._said:
                self._said.add(note)
                self._say(note)
        for place in self._study.set_places(message.places()):
            self._tracker.placed(place)
