"""Suggestions that are made while nobody waits for them: a cohort's take as long as some of its epochs.

They lack what the cohorts train that run meanwhile, so they are made ahead only where TPE sees as many trials
as it ever does.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from tuning.study.suggest import PENDING, Proposals

STALE = 2
"""A batch is dropped when more trials have ended since than it has suggestions, times this."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What one trial is to be, as Optuna and as this project keep it."""

    params: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]
    hyperparameters: dict[str, Any]

    def running(self) -> FrozenTrial:
        """Return the trial that it becomes."""
        return optuna.trial.create_trial(
            state=TrialState.RUNNING, params=dict(self.params), distributions=dict(self.distributions)
        )


def suggestions(
    proposals: Proposals,
    numbers: Sequence[int],
    *,
    seen: Sequence[FrozenTrial],
    seed: Callable[[int], int],
    complete: Callable[[optuna.trial.Trial], dict[str, Any]],
) -> list[Suggestion]:
    """Make suggestions that differ, for the trials of these numbers.

    Args:
        seen: what TPE shall see beside them.
        seed: returns that of random choices from a trial on.
        complete: has a trial suggest all that it needs, and returns its hyperparameters.
    """
    ended = [trial for trial in seen if trial.state.is_finished()]
    running = [trial for trial in seen if not trial.state.is_finished()]
    made: list[Suggestion] = []
    for index, number in enumerate(numbers):
        if index % PENDING == 0:
            running += [one.running() for one in made[-PENDING:]]
            proposals.look_back([*ended, *running[-PENDING:]], seed(number))
        trial = proposals.next()
        hyperparameters = complete(trial)
        made.append(Suggestion(trial.params, trial.distributions, hyperparameters))
    return made


class Ahead:
    """One batch of suggestions on its way, in a thread of its own, or none."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="suggestions")
        self._made: Future[list[Suggestion]] | None = None
        self._num_known = 0

    def begin(self, make: Callable[[], list[Suggestion]], num_known: int) -> None:
        """Make a batch, in the place of the one before.

        Args:
            num_known: finished trials, of which it is made.
        """
        self._made, self._num_known = self._pool.submit(make), num_known

    def take(self, num_known: int) -> list[Suggestion]:
        """Return the batch, once, when it is there; none where too many trials have ended since."""
        made = self._made.result() if self._made is not None else []
        self._made = None
        return made if num_known - self._num_known <= STALE * len(made) else []
