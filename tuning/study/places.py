"""Where trials train, as the study tells: on which device, in which stack, from when till when."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from tuning.records import Place
from tuning.study.entries import Entries
from tuning.study.frozen import ENDED
from tuning.study.spans import ATTRIBUTE, Spans


class Places:
    """The places of a study's trials; for the claim's holder.

    Args:
        batch: within what it returns, all that is kept reaches the disk together.
    """

    def __init__(self, entries: Entries, batch: Callable[[], AbstractContextManager[None]]) -> None:
        self._entries, self._batch = entries, batch
        self._spans = Spans()

    def keep(self, places: Iterable[Place]) -> list[Place]:
        """Keep where trials train, and in which slots of which stacks they have; return what was new."""
        with self._batch():
            return [place for place in places if self._keep(place)]

    def _keep(self, place: Place) -> bool:
        """Keep where one trial trains; return whether that is new."""
        frozen = self._entries.frozen(place.trial)
        before = frozen.user_attrs
        if frozen.state in ENDED:  # Tune tells the last message twice
            return False
        if before.get("waits"):
            self._entries.set(place.trial, waits=False)
        self._keep_spans(place.trial, self._spans.seen(place.trial, place.span, before.get(ATTRIBUTE, [])))
        if _is_known(place, before):
            return False
        stacks = [*before.get("stacks", []), [place.epoch, place.slot, place.width]]
        moved = {} if before.get("where") == place.where else {"where": place.where}
        self._entries.set(place.trial, **moved, cohort=place.cohort, stacks=stacks)
        machines = before.get("machines", [])
        if not machines or machines[-1][1:] != [place.machine, place.threads]:
            machine = [place.epoch, place.machine, place.threads]
            self._entries.set(place.trial, machines=[*machines, machine])
        return True

    def wait(self, numbers: Iterable[int]) -> None:
        """Keep that trials have lost their worker: nobody trains them until they have a place again."""
        with self._batch():
            for number in numbers:
                self.leave(number)
                self._entries.set(number, waits=True)

    def leave(self, number: int) -> None:
        """Keep until when a trial has trained: it trains no more, for now or for ever."""
        self._keep_spans(number, self._spans.left(number))

    def leave_all(self) -> None:
        """Keep until when the trials have trained that are unfinished: nobody trains them any more."""
        with self._batch():
            for number in self._spans.numbers():
                self.leave(number)

    def _keep_spans(self, number: int, spans: list[list[Any]] | None) -> None:
        if spans is not None:
            self._entries.set(number, **{ATTRIBUTE: spans})


def _is_known(place: Place, attributes: Mapping[str, Any]) -> bool:
    """Whether a trial goes on where it trained last: after a death its cohort may be a smaller one."""
    if (attributes.get("where"), attributes.get("cohort")) != (place.where, place.cohort):
        return False
    epoch, slot, width = attributes["stacks"][-1]
    return [slot, width] == [place.slot, place.width] and bool(epoch <= place.epoch)
