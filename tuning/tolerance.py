"""How many deaths and failures a sweep bears before it gives something up."""

from tuning.errors import last_line

MAX_RETRIES = 3
"""How often a cohort runs again after its worker or node died, without a new epoch between the deaths."""


def death_cause(deaths: int, reason: str | None) -> str:
    """Return why a trial has failed whose workers died, and what Ray knows of the last death."""
    often = f" {deaths} times in a row" if deaths > 1 else ", and no trial has trained an epoch yet"
    last = f"; the last time: {reason}" if reason else ""
    return f"its worker process or node died{often}{last}"


class Deaths:
    """Deaths of each cohort's workers since its last new epoch: nodes may come and go."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, int]] = {}

    def add(self, cohort_id: str, epoch: int) -> int:
        """Count a death; return how many there were in a row.

        Args:
            epoch: the last one that was heard of.
        """
        before, deaths = self._found.get(cohort_id, (epoch, 0))
        deaths = deaths + 1 if epoch == before else 1
        self.set(cohort_id, epoch, deaths)
        return deaths

    def set(self, cohort_id: str, epoch: int, deaths: int) -> None:
        """Say of a cohort what was counted of the one that it is a part of."""
        self._found[cohort_id] = epoch, deaths


class Failures:
    """Trials that failed; too many in a row halt the sweep, for then something is wrong with all of them.

    Args:
        most: so many in a row are too many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._failed: set[int] = set()

    def add(self, number: int, cause: str | None) -> str | None:
        """Count a trial that has failed; return why the sweep is to halt, if it is."""
        self._failed.add(number)
        in_a_row = self._in_a_row(number)
        if in_a_row < self._most:
            return None
        return f"{in_a_row} trials in a row failed, the last with: {last_line(cause, 'no cause is known')}"

    def retries(self, *, is_all: bool) -> int:
        """Return how often a trial runs again after its worker died.

        Not at all where trials have failed before and that is all that there is of the sweep: then a model
        that kills its process costs a minute, not one for each trial.

        Args:
            is_all: whether no epoch of the sweep has ended yet.
        """
        return 0 if self._failed and is_all else MAX_RETRIES

    def _in_a_row(self, number: int) -> int:
        """Return how many trials with successive numbers have failed, this one among them.

        In a row by number, not by time: of a cohort those that fail end first, the others much later.
        """
        first = last = number
        while first - 1 in self._failed:
            first -= 1
        while last + 1 in self._failed:
            last += 1
        return last - first + 1
