"""What an earlier sweep has found, as history of a new one: which of its trials fit, and how they compare."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from optuna.trial import FrozenTrial, TrialState

from tuning.confirmed import Confirmation, best_of
from tuning.errors import RequestError, SweepError
from tuning.records import Mode, State, TrialRecord, ranked
from tuning.space import Dimension, Scalar
from tuning.spec import SweepSpec
from tuning.study.overlap import differences, misfit, params_of
from tuning.study.suggest import History, best_and_latest, distribution, rank

GIVE_WAY = 8
"""Trials of another task that each own one takes the place of: what is good there may not be so here."""

FIRST, SHARE = 4, 4
"""How many of the best are tried first, if values mean the same; no more than one in so many new trials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierTrial:
    """What TPE needs of a trial of an earlier sweep."""

    number: int
    """Within that sweep."""
    params: dict[str, Scalar]
    """Value per dimension of the new search."""
    epoch: int
    """The last one that it trained."""
    value: float
    """Of its best epoch; of its last one if it was stopped early."""
    is_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The trials of an earlier sweep that a search looks back on, decided when it began."""

    trials: tuple[EarlierTrial, ...]
    """At most as many as TPE sees: the best, and the latest."""
    first: tuple[dict[str, Scalar], ...]
    """The configurations of the best ones, which the new sweep tries first."""
    is_comparable: bool
    """Whether values mean the same in both sweeps; else only their order is looked at."""
    note: str
    """What fits and what does not, in words."""

    def to_json(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Earlier":
        try:
            plain = json.loads(text)
            trials = tuple(EarlierTrial(**one) for one in plain.pop("trials"))
            first = tuple(dict(one) for one in plain.pop("first"))
            return cls(**plain, trials=trials, first=first)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SweepError(
                f"What the study keeps of the sweep it began from cannot be read: {error}"
            ) from (error)


def look_at(
    spec: SweepSpec,
    old: SweepSpec,
    trials: Iterable[TrialRecord],
    confirmation: Confirmation | None = None,
) -> Earlier:
    """Take from an earlier sweep what fits a new one.

    Args:
        spec: of the new sweep, complete.
        old: of the earlier one.
        confirmation: of the earlier one, if its best trials were trained again.

    Raises:
        RequestError: when the two have no metric in common, or nothing fits.
    """
    if (old.metric, old.mode) != (spec.metric, spec.mode):
        raise RequestError(
            f"--from needs a sweep that searched by {spec.metric} ({spec.mode}), but {old.name!r} did by "
            f"{old.metric} ({old.mode}); choose that as --metric and --mode, or leave --from out."
        )
    assert spec.mode is not None
    reasons: Counter[str] = Counter()
    fitting = []
    for trial in trials:
        reason = misfit(trial, spec, old)
        if reason is None:
            fitting.append(trial)
        else:
            reasons[reason] += 1
    left_out = "; ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
    if not fitting:
        raise RequestError(
            f"--from {old.name}: none of its {reasons.total()} trials fits this search "
            f"({left_out or 'it has none yet'}); search ranges that hold some of them, or leave --from out."
        )
    kept = _window([_earlier(trial, spec, old) for trial in fitting], spec)
    differs = differences(spec, old, fitting)
    count = 1 if differs else max(1, min(FIRST, spec.trials // SHARE))
    first = _best(fitting, spec, old, confirmation)[:count]
    return Earlier(
        trials=kept,
        first=first,
        is_comparable=not differs,
        note=_note(old, (len(fitting), len(kept), reasons.total(), len(first)), left_out, differs),
    )


def _note(old: SweepSpec, counts: tuple[int, int, int, int], left_out: str, differs: list[str]) -> str:
    fit, kept, misfit, first = counts
    parts = [f"{fit} of {fit + misfit} trials fit"]
    if kept < fit:
        parts[0] += f", of which the search sees the best and the latest, {kept}"
    if misfit:
        parts.append(f"{misfit} left out ({left_out})")
    if differs:
        parts.append(f"with {', '.join(differs)} it is another task, so only their order counts")
    parts.append(
        "its best configuration is tried first"
        if first == 1
        else f"its {first} best configurations are tried first"
    )
    return f"--from {old.name}: " + "; ".join(parts)


def _best(
    trials: list[TrialRecord], spec: SweepSpec, old: SweepSpec, confirmation: Confirmation | None
) -> tuple[dict[str, Scalar], ...]:
    """Return configurations of the new space, the best first, each once: what fresh seeds confirm leads."""
    assert spec.mode is not None
    best = best_of(trials, spec.mode, confirmation)
    assert best is not None
    others = ranked((trial for trial in trials if trial.state is State.COMPLETED), spec.mode)
    found: list[dict[str, Scalar]] = []
    for params in (params_of(trial, spec, old) for trial in (best, *others)):
        if params not in found:
            found.append(params)
    return tuple(found)


def _earlier(trial: TrialRecord, spec: SweepSpec, old: SweepSpec) -> EarlierTrial:
    assert trial.value is not None
    last = max(trial.values)
    is_complete = trial.state is State.COMPLETED
    return EarlierTrial(
        number=trial.number,
        params=params_of(trial, spec, old),
        epoch=last,
        value=trial.value if is_complete else trial.values[last],
        is_complete=is_complete,
    )


def _window(trials: list[EarlierTrial], spec: SweepSpec) -> tuple[EarlierTrial, ...]:
    """Return those that TPE would see of them if the earlier sweep went on."""
    assert spec.mode is not None
    history = History(spec.mode)
    for trial in trials:
        history.ended(frozen(trial, spec.search or {}))
    seen = set(history.window())
    return tuple(trial for trial in trials if trial.number in seen)


def frozen(trial: EarlierTrial, search: Mapping[str, Dimension]) -> FrozenTrial:
    """Return an earlier trial as Optuna's, over the dimensions of the new search."""
    return FrozenTrial(
        number=trial.number,
        trial_id=trial.number,
        state=TrialState.COMPLETE if trial.is_complete else TrialState.PRUNED,
        value=trial.value if trial.is_complete else None,
        datetime_start=None,
        datetime_complete=None,
        params=dict(trial.params),
        distributions={key: distribution(search[key]) for key in trial.params},
        user_attrs={},
        system_attrs={},
        intermediate_values={trial.epoch: trial.value},
    )


def together(
    earlier: Earlier, search: Mapping[str, Dimension], own: list[FrozenTrial], mode: Mode
) -> list[FrozenTrial]:
    """Return what TPE shall see: earlier trials, and after them own ones.

    Of the same task they are one history, as if the earlier sweep went on; of another one they give way.
    """
    before = [frozen(trial, search) for trial in earlier.trials]
    if earlier.is_comparable:
        return best_and_latest([*before, *own], mode)
    ended = sum(trial.state.is_finished() for trial in own)
    return [*_by_order(before[GIVE_WAY * ended :], mode), *_by_order(own, mode)]


def _by_order(trials: list[FrozenTrial], mode: Mode) -> list[FrozenTrial]:
    """Return trials with their place among each other, from 0 (best) to 1, instead of their values.

    TPE looks at the order alone: so the best tenth of either sweep counts as good, whatever the scale is.
    """
    ended = sorted((trial for trial in trials if trial.state.is_finished()), key=lambda one: rank(one, mode))
    sign = 1.0 if mode == "min" else -1.0
    place = {trial.number: sign * (index + 0.5) / len(ended) for index, trial in enumerate(ended)}
    return [_placed(trial, place[trial.number]) if trial.number in place else trial for trial in trials]


def _placed(trial: FrozenTrial, value: float) -> FrozenTrial:
    return FrozenTrial(
        number=trial.number,
        trial_id=trial.number,
        state=TrialState.COMPLETE,
        value=value,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )
