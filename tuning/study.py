"""The Optuna study of a sweep: the one truth about which trials exist and how they ended.

The only room that knows optuna. The study is kept in Optuna's JournalStorage over a file, opened by
absolute path, written by the one driver that holds the sweep's claim; readers only load.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import optuna
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from tuning.errors import SweepError
from tuning.records import State, TrialRecord, TrialSpec, best_epoch
from tuning.resolve import applies
from tuning.seeds import derive
from tuning.space import Choice, Dimension, Int, Scalar
from tuning.spec import SweepSpec

optuna.logging.set_verbosity(optuna.logging.WARNING)

ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class Study:
    """A sweep's study in this project's words; `write` is for the claim's holder."""

    def __init__(self, spec: SweepSpec, journal: Path, *, write: bool) -> None:
        assert spec.search is not None and spec.mode is not None
        self.spec = spec
        self.search: Mapping[str, Dimension] = spec.search
        self.mode = spec.mode
        if write:
            _mend(journal)
        storage = _storage(journal)
        if write:
            self._study = optuna.create_study(
                storage=storage,
                study_name=spec.name,
                direction="maximize" if spec.mode == "max" else "minimize",
                load_if_exists=True,
                pruner=optuna.pruners.NopPruner(),
            )
        else:
            try:
                self._study = optuna.load_study(storage=storage, study_name=spec.name)
            except KeyError:
                raise SweepError(
                    f"The study {journal} is empty; `tuning resume {spec.name}` begins it."
                ) from None

    def enqueue(self, entries: tuple[Mapping[str, Scalar], ...]) -> None:
        """Put the spec's `try` configurations before all suggestions, each once."""
        for index, entry in enumerate(entries):
            if self._study.user_attrs.get("enqueued", 0) > index:
                continue
            searched = {key: value for key, value in entry.items() if key in self.search}
            others = {key: value for key, value in entry.items() if key not in self.search}
            self._study.enqueue_trial(searched, user_attrs={"fixed": others})
            self._study.set_user_attr("enqueued", index + 1)

    def ask(self) -> TrialSpec:
        """Open the next trial: a configuration to try, else a suggestion of TPE."""
        trials = self._study.get_trials(deepcopy=False)
        queued = (trial.number for trial in trials if trial.state is TrialState.WAITING)
        self._seed_sampler(next(queued, len(trials)))
        return self._suggest(self._study.ask())

    def take_up(self, number: int) -> TrialSpec:
        """Return an unfinished trial; what a death left unsuggested is suggested now."""
        self._seed_sampler(number)
        return self._suggest(self._trial(number))

    def report(self, number: int, epoch: int, value: float) -> bool:
        """Store a trial's metric of one epoch; return False if that epoch was there already."""
        if epoch in self._frozen(number).intermediate_values:
            return False
        self._trial(number).report(value, epoch)
        return True

    def rung(self, number: int) -> int:
        """Return the last rung from which the trial was let go on, 0 if none."""
        return int(self._frozen(number).user_attrs.get("rung", 0))

    def set_rung(self, number: int, epoch: int) -> None:
        if self.rung(number) < epoch:
            self._trial(number).set_user_attr("rung", epoch)

    def tell(self, number: int, state: State, cause: str | None = None) -> None:
        """End a trial; a trial that has ended stays as it is."""
        frozen = self._frozen(number)
        if frozen.state in ENDED:
            return
        if state is State.COMPLETED:
            values = frozen.intermediate_values
            self._study.tell(number, values[_best(values, self.mode)])
        elif state is State.PRUNED:
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            trial = self._trial(number)
            trial.set_user_attr("state", state.value)
            if cause:
                trial.set_user_attr("cause", cause)
            self._study.tell(number, state=TrialState.FAIL)

    def values(self) -> dict[int, dict[int, float]]:
        """Return the metric per epoch of every trial that has reported."""
        trials = self._study.get_trials(deepcopy=False)
        return {t.number: t.intermediate_values for t in trials if t.intermediate_values}

    def trials(self) -> list[TrialRecord]:
        """Return every trial that has begun, in order of number."""
        trials = self._study.get_trials(deepcopy=False)
        return [self._record(trial) for trial in trials if trial.state is not TrialState.WAITING]

    def unfinished(self) -> list[int]:
        return [
            trial.number for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        ]

    def num_ended(self) -> int:
        return len(self._study.get_trials(deepcopy=False, states=ENDED))

    def set_test(self, number: int, metrics: dict[str, float]) -> None:
        """Keep the test metrics of the best trial."""
        self._study.set_user_attr("test", {"trial": number, "metrics": metrics})

    def test(self, number: int) -> dict[str, float] | None:
        """Return a trial's test metrics, if it is the one that was measured."""
        found = self._study.user_attrs.get("test", {})
        return found["metrics"] if found.get("trial") == number else None

    def set_fingerprint(self, fingerprint: str) -> None:
        """Keep what the sweep's data was when it began."""
        if self.fingerprint() is None:
            self._study.set_user_attr("fingerprint", fingerprint)

    def fingerprint(self) -> str | None:
        found = self._study.user_attrs.get("fingerprint")
        return None if found is None else str(found)

    def set_where(self, number: int, where: str) -> None:
        """Keep on which host and GPU a trial trains."""
        if self._frozen(number).user_attrs.get("where") != where:
            self._trial(number).set_user_attr("where", where)

    def add_seconds(self, wall_s: float) -> None:
        self._study.set_user_attr("wall_s", self.wall_s() + wall_s)

    def wall_s(self) -> float:
        """Seconds that drivers spent on this sweep, over all invocations that ended in order."""
        return float(self._study.user_attrs.get("wall_s", 0.0))

    def _seed_sampler(self, number: int) -> None:
        """Take a sampler per trial, seeded by its number: a resume does not repeat what was suggested."""
        self._study.sampler = optuna.samplers.TPESampler(seed=derive(self.spec.seed, "tpe", number) % 2**32)

    def _trial(self, number: int) -> optuna.trial.Trial:
        return optuna.trial.Trial(self._study, self._frozen(number)._trial_id)

    def _frozen(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _suggest(self, trial: optuna.trial.Trial) -> TrialSpec:
        """Suggest every dimension that the trial's optimizer has; the optimizer comes first."""
        fixed = {**self.spec.fixed, **trial.user_attrs.get("fixed", {})}
        found: dict[str, Any] = dict(fixed)
        for key in sorted(self.search, key=lambda key: key != "optimizer"):
            if key not in fixed and applies(key, found.get("optimizer", "sgd")):
                found[key] = _suggest_one(trial, key, self.search[key])
        return TrialSpec(number=trial.number, hyperparameters=_used(found))

    def _record(self, frozen: FrozenTrial) -> TrialRecord:
        found = {**self.spec.fixed, **frozen.user_attrs.get("fixed", {}), **frozen.params}
        values = frozen.intermediate_values
        epoch = best_epoch(values, self.mode)
        return TrialRecord(
            number=frozen.number,
            state=_state(frozen),
            hyperparameters=_used(found),
            values=values,
            value=None if epoch is None else values[epoch],
            epoch=epoch,
            where=frozen.user_attrs.get("where"),
        )


def _suggest_one(trial: optuna.trial.Trial, key: str, dimension: Dimension) -> Scalar:
    if isinstance(dimension, Choice):
        return cast(Scalar, trial.suggest_categorical(key, dimension.choices))
    if isinstance(dimension, Int):
        return trial.suggest_int(key, dimension.low, dimension.high, log=dimension.log)
    return trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log)


def _used(found: dict[str, Any]) -> dict[str, Any]:
    """Leave out fixed hyperparameters that the trial's optimizer does not have."""
    optimizer = found.get("optimizer", "sgd")
    return {key: value for key, value in found.items() if applies(key, optimizer)}


def _state(frozen: FrozenTrial) -> State:
    if frozen.state is TrialState.FAIL:
        return State(frozen.user_attrs.get("state", State.FAILED.value))
    return {
        TrialState.COMPLETE: State.COMPLETED,
        TrialState.PRUNED: State.PRUNED,
        TrialState.RUNNING: State.RUNNING,
    }[frozen.state]


def _best(values: dict[int, float], mode: Any) -> int:
    epoch = best_epoch(values, mode)
    assert epoch is not None  # a trial that completes has finite values at every epoch
    return epoch


def _storage(journal: Path) -> optuna.storages.JournalStorage:
    assert journal.is_absolute()  # Optuna's lock spins for ever under a relative path
    try:
        return optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    except (ValueError, KeyError) as error:
        raise SweepError(f"The study {journal} cannot be read: {error}") from error


def _mend(journal: Path) -> None:
    """Undo what a killed driver left: its lock, and a record of which only a part was written.

    Half a line would weld itself to the next record, after which no load succeeds.
    """
    Path(f"{journal}.lock").unlink(missing_ok=True)
    if not journal.exists():
        return
    with open(journal, "rb+") as file:
        end = file.seek(0, os.SEEK_END)
        block = b""
        while end > 0 and b"\n" not in block:
            start = max(0, end - 65536)
            file.seek(start)
            block = file.read(end - start)
            end = start
        file.truncate(end + block.rfind(b"\n") + 1)
