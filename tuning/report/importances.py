"""How much each hyperparameter matters for coming among the best.

A trial that was stopped early has the value of fewer epochs than one that completed, so their last values
cannot be compared: a search that stops the bad ones at once would find that what matters is to be trained
long. And completed trials alone are those that survived: what made the others bad is not seen in them.
So all trials are compared at the same epoch, the last one that every trial has reached which ended in order
(that is the first rung at which one was stopped; without early stopping the last epoch), by their best value
until then. A trial that diverged before counts as worse than all; one that failed says nothing of its
hyperparameters. Measured by PED-ANOVA (Watanabe et al., IJCAI 2023), which asks how the best tenth is spread
over a hyperparameter's range, compared with all: it needs ranks only, which is what diverged trials have, it
knows hyperparameters that only some trials have, as momentum, and it is quick.
"""

import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import optuna
import plotly.graph_objects as go
from optuna.distributions import BaseDistribution
from optuna.importance import PedAnovaImportanceEvaluator

from tuning.records import State, TrialRecord, best_epoch
from tuning.report import palette
from tuning.report.panel import Panel
from tuning.report.view import View, plain
from tuning.study.suggest import distribution

LEAST = 10
"""Of fewer trials nothing can be said."""

BEST = 0.1
BEST_LEAST = 5
"""What counts as the best: this part of the trials, and so many at least."""

MOST = 2000
"""Of more trials a random draw is looked at."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Trials at the same epoch."""

    epoch: int
    values: Mapping[int, float]
    """The best value until then by trial number; of those that had diverged one that is worse than all."""
    diverged: int


def compared(view: View) -> Compared | None:
    """Return the trials at the last epoch that all have reached which ended in order; None if none has."""
    ended = [max(t.values) for t in view.trials if t.state in (State.COMPLETED, State.PRUNED) and t.values]
    if not ended:
        return None
    epoch = min(ended)
    found = {trial.number: _best_until(view, trial, epoch) for trial in view.trials if epoch in trial.values}
    values = {number: value for number, value in found.items() if value is not None}
    diverged = [
        trial.number
        for trial in view.trials
        if trial.number not in values and (trial.number in found or trial.state is State.DIVERGED)
    ]
    if not values:
        return None
    worst, best = (max, min) if view.mode == "min" else (min, max)
    edge = worst(values.values())
    beyond = edge + (edge - best(values.values())) + (1.0 if view.mode == "min" else -1.0)
    return Compared(epoch, {**values, **dict.fromkeys(diverged, beyond)}, len(diverged))


def _best_until(view: View, trial: TrialRecord, epoch: int) -> float | None:
    until = {at: value for at, value in trial.values.items() if at <= epoch}
    best = best_epoch(until, view.mode)
    return None if best is None else until[best]


def importances_of(view: View, found: Compared) -> dict[str, float]:
    """Return the share of each hyperparameter, the greatest first; all 0 where none makes a difference."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize" if view.mode == "min" else "maximize")
    space = {key: distribution(dimension) for key, dimension in view.varied.items()}
    trials = [trial for trial in view.trials if trial.number in found.values]
    if len(trials) > MOST:
        trials = random.Random(0).sample(trials, MOST)
    study.add_trials([_trial(trial, found.values[trial.number], space) for trial in trials])
    best = _best_share(len(trials))
    known = [key for key in space if any(trial.hyperparameters.get(key) is not None for trial in trials)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that few trials have a hyperparameter is seen in the slices
        measured = PedAnovaImportanceEvaluator(target_quantile=best).evaluate(study, known)
    total = sum(measured.values())
    return {key: value / total if total > 0 else 0.0 for key, value in measured.items()}


def _best_share(count: int) -> float:
    """Return which part of so many trials counts as the best."""
    return max(BEST, BEST_LEAST / min(count, MOST))


def _trial(
    trial: TrialRecord, value: float, space: Mapping[str, BaseDistribution]
) -> optuna.trial.FrozenTrial:
    params = {key: found for key in space if (found := trial.hyperparameters.get(key)) is not None}
    return optuna.trial.create_trial(
        value=value, params=params, distributions={key: space[key] for key in params}
    )


def importances(view: View) -> Panel:
    """Return a bar per hyperparameter."""
    key, title = "importances", "How much each hyperparameter matters"
    if len(view.varied) < 2:
        return Panel(key, title, f"Trials differ in {'one' if view.varied else 'no'} hyperparameter.")
    found = compared(view)
    if found is None or len(found.values) < LEAST:
        count = 0 if found is None else len(found.values)
        return Panel(
            key, title, f"{count} trials can be compared; of fewer than {LEAST} nothing can be said."
        )
    shares = importances_of(view, found)
    order = list(reversed(shares))
    figure = palette.figure(
        height=90 + 34 * len(shares),
        margin={"l": 120, "r": 60, "t": 20, "b": 55},
        xaxis={"title": {"text": "share of the importance"}, "tickformat": ".0%", "range": [0, 1.08]},
    )
    figure.add_trace(
        go.Bar(
            x=[shares[name] for name in order],
            y=list(map(plain, order)),
            orientation="h",
            text=[f"{shares[name]:.0%}" for name in order],
            textposition="outside",
            marker_color=palette.NEUTRAL,
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        )
    )
    first = next(iter(shares))
    return Panel(
        key,
        f"{first} matters most for coming among the best" if shares[first] > 0 else title,
        f"{_drawn(len(found.values))}, compared at epoch {found.epoch}: the last that all have reached which "
        "completed or were stopped early, so that both are measured with one yardstick"
        f"{_of_diverged(found)}. PED-ANOVA: how the best {_best_share(len(found.values)):.0%} are spread "
        "over a range, compared with all. It says little of fewer than some 50 trials, and nothing of later "
        "epochs.",
        figure,
    )


def _drawn(count: int) -> str:
    return f"{count} trials" if count <= MOST else f"{MOST:,} trials drawn from {count:,}"


def _of_diverged(found: Compared) -> str:
    if not found.diverged:
        return ""
    return f"; {found.diverged} that had diverged by then count as worse than all"
