"""Which configurations come next: TPE over a window of the history, many at a time.

Optuna's TPE looks at every trial at every suggestion: 10 ms at a thousand trials, 100 at ten thousand.
Here it sees the best trials and the latest ones, in a study of their own in memory, whose suggestions
stand in it as running trials: TPE keeps away from them (constant liar), so those of one cohort differ.
"""

import bisect
import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from tuning.records import Mode
from tuning.space import Choice, Dimension, Int, Scalar

WINDOW = 100
"""Finished trials that TPE sees, at most."""

BEST = 25
"""How many of them are the best of all, the rest being the latest: TPE never counts more as good."""

PENDING = 32
"""Running trials that it keeps away from, at most: the latest; and how many it suggests from one look."""


class History:
    """Which trials TPE shall see: the best, the latest and those that run, known without looking at all."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._best: list[tuple[tuple[float, ...], int]] = []
        """Rank and number, in order."""
        self._finished: list[int] = []
        self._running: list[int] = []

    def began(self, number: int) -> None:
        if number not in self._running:
            bisect.insort(self._running, number)

    def ended(self, trial: FrozenTrial) -> None:
        if trial.number in self._running:
            self._running.remove(trial.number)
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            bisect.insort(self._finished, trial.number)
            bisect.insort(self._best, (rank(trial, self._mode), trial.number))
            del self._best[BEST:]

    def window(self) -> list[int]:
        """Return numbers of trials, in their order."""
        finished = self._finished
        if len(finished) > WINDOW:
            best = {number for _, number in self._best}
            finished = sorted(best | set(finished[BEST - WINDOW :]))
        return sorted([*finished, *self._running[-PENDING:]])


def best_and_latest(trials: list[FrozenTrial], mode: Mode) -> list[FrozenTrial]:
    """Return what `History` would show of these trials, in their order; those that run all stay."""
    ended = [trial for trial in trials if trial.state.is_finished()]
    if len(ended) <= WINDOW:
        return trials
    best = sorted(ended, key=lambda trial: rank(trial, mode))[:BEST]
    seen = {id(trial) for trial in (*best, *ended[BEST - WINDOW :])}
    return [trial for trial in trials if not trial.state.is_finished() or id(trial) in seen]


class Proposals(BaseSampler):
    """A sampler that hands on what another study suggests, which holds a window of the history."""

    def __init__(self, search: Mapping[str, Dimension], mode: Mode) -> None:
        self._search = search
        self._mode = mode
        self._look: Callable[[], Iterable[FrozenTrial]] = list
        self._seed = 0
        self._window: optuna.Study | None = None
        self._trial: optuna.trial.Trial | None = None

    def look_back(self, look: Callable[[], Iterable[FrozenTrial]], seed: int) -> None:
        """Take the trials that `look` returns as the history; random choices from now on follow `seed`."""
        self._look, self._seed = look, seed
        self._window = self._trial = None

    def next(self) -> optuna.trial.Trial:
        """Begin the next proposal: a trial that suggests, and remembers what it has suggested."""
        if self._window is None:
            storage = optuna.storages.InMemoryStorage()
            self._window = optuna.create_study(
                storage=storage,
                direction="maximize" if self._mode == "max" else "minimize",
                sampler=TPESampler(seed=self._seed),
            )
            study_id = storage.get_study_id_from_name(self._window.study_name)
            for trial in self._look():  # past `add_trial`, which takes ten times as long to check them
                storage.create_new_trial(study_id, _bare(trial))
        self._trial = self._window.ask()
        return self._trial

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        proposal = self._trial
        if proposal is None or param_name in proposal.params:
            proposal = self.next()
        return suggest(proposal, param_name, self._search[param_name])


def suggest(trial: optuna.trial.Trial, key: str, dimension: Dimension) -> Scalar:
    if isinstance(dimension, Choice):
        return cast(Scalar, trial.suggest_categorical(key, dimension.choices))
    if isinstance(dimension, Int):
        return trial.suggest_int(key, dimension.low, dimension.high, log=dimension.log)
    return trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log)


def distribution(dimension: Dimension) -> BaseDistribution:
    """Return a dimension as Optuna's."""
    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.choices)
    kind = IntDistribution if isinstance(dimension, Int) else FloatDistribution
    return kind(dimension.low, dimension.high, log=dimension.log)  # type: ignore[arg-type]


def rank(trial: FrozenTrial, mode: Mode) -> tuple[float, ...]:
    """Order trials as TPE does: completed ones by value, then pruned ones, the furthest first."""
    sign = 1.0 if mode == "min" else -1.0
    if trial.state is TrialState.COMPLETE and trial.value is not None:
        return 0.0, sign * trial.value
    if not trial.intermediate_values:
        return 2.0, 0.0
    step, value = max(trial.intermediate_values.items())
    return 1.0, -step, sign * value


class _Bare(FrozenTrial):
    """What TPE needs of a trial, and no more. A study in memory copies all it is given: not deeply here."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Bare":
        return copy.copy(self)


def _bare(trial: FrozenTrial) -> FrozenTrial:
    return _Bare(
        number=trial.number,
        trial_id=trial.number,
        state=trial.state,
        params=trial.params,
        distributions=trial.distributions,
        value=trial.value if trial.state is TrialState.COMPLETE else None,
        intermediate_values=trial.intermediate_values,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        user_attrs={},
        system_attrs={},
    )
