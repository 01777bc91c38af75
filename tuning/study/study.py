"""The one truth about which trials exist and how they ended, in this project's words."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from tuning.errors import SweepError
from tuning.records import State, TrialRecord, TrialSpec
from tuning.resolve import applies
from tuning.seeds import derive
from tuning.space import Dimension, Scalar
from tuning.spec import SweepSpec
from tuning.study.earlier import Earlier, together
from tuning.study.entries import Entries
from tuning.study.facts import Facts
from tuning.study.frozen import ENDED, best_value, record, used
from tuning.study.journal import BatchingBackend, open_storage, refuse_anothers
from tuning.study.places import Places
from tuning.study.suggest import PENDING, History, Proposals, suggest

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Study:
    """A sweep's study; `write` is for the claim's holder."""

    def __init__(self, spec: SweepSpec, journal: Path, *, write: bool) -> None:
        assert spec.search is not None and spec.mode is not None
        self.spec = spec
        self.search: Mapping[str, Dimension] = spec.search
        self.mode = spec.mode
        storage, self._backend = open_storage(journal, write=write)
        refuse_anothers(storage, spec, journal)
        self._proposals = Proposals(self.search, self.mode)
        if write:
            self._study = optuna.create_study(
                storage=storage,
                study_name=spec.name,
                direction="maximize" if spec.mode == "max" else "minimize",
                load_if_exists=True,
                pruner=optuna.pruners.NopPruner(),
                sampler=self._proposals,
            )
            if spec.id and "sweep_id" not in self._study.user_attrs:
                self._study.set_user_attr("sweep_id", spec.id)
        else:
            try:
                self._study = optuna.load_study(
                    storage=storage, study_name=spec.name, sampler=self._proposals
                )
            except KeyError:
                raise SweepError(f"The study {journal} is empty; `tuning resume` begins it.") from None
        self.facts = Facts(self._study)
        self._entries = Entries(storage, str(spec.name))
        self.places = Places(self._entries, self.batch)
        kept = self._study.user_attrs.get("from")
        self.earlier = None if kept is None else Earlier.from_json(kept)
        """What the search looks back on besides its own trials."""
        self._history = History(self.mode)
        self._epochs: dict[int, int] = {}
        """Last epoch of which there is a value, by number: they come one after the other."""
        trials = self._study.get_trials(deepcopy=False)
        self._count = len(trials)
        """Of trials, also of those that wait: looking at all of them takes longer than a suggestion."""
        self._queued = [trial.number for trial in trials if trial.state is TrialState.WAITING]
        self._num_given = sum("fixed" in trial.user_attrs for trial in trials)
        """Of trials that were enqueued: each says so in the record that makes it, which no death divides."""
        for trial in trials:
            self._epochs[trial.number] = max(trial.intermediate_values, default=0)
            if trial.state is TrialState.RUNNING:
                self._history.began(trial.number)
            else:
                self._history.ended(trial)

    def begin_from(self, earlier: Earlier) -> None:
        """Keep what an earlier sweep has found: a resume needs that sweep no more."""
        self._study.set_user_attr("from", earlier.to_json())  # as text: attributes are copied when read
        self.earlier = earlier
        self.facts.add_note(earlier.note)

    def enqueue(self, entries: tuple[Mapping[str, Scalar], ...]) -> None:
        """Put the spec's `try` configurations before all suggestions, each once."""
        for entry in entries[self._num_given :]:
            searched = {key: value for key, value in entry.items() if key in self.search}
            others = {key: value for key, value in entry.items() if key not in self.search}
            self._study.enqueue_trial(searched, user_attrs={"fixed": others})
            self._queued.append(self._count)
            self._count += 1
            self._num_given += 1

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Within, what is told reaches the disk together at the end."""
        assert isinstance(self._backend, BatchingBackend)
        with self._backend.batch():
            yield

    def ask(self) -> TrialSpec:
        """Open the next trial: a configuration to try, else a suggestion."""
        return self.ask_many(1)[0]

    def ask_many(self, count: int) -> list[TrialSpec]:
        """Open the next trials together: suggestions that differ."""
        queued, self._queued = self._queued[:count], self._queued[count:]
        numbers = [*queued, *range(self._count, self._count + count - len(queued))]
        self._count += count - len(queued)
        found = []
        with self.batch():
            for index, number in enumerate(numbers):
                if index % PENDING == 0:
                    self._look_back(number)
                found.append(self._from_queue(number) if index < len(queued) else self._open(number))
        return found

    def take_up(self, number: int) -> TrialSpec:
        """Return an unfinished trial; what a death left unsuggested is suggested now."""
        self._look_back(number)
        with self.batch():
            return TrialSpec(
                number=number,
                hyperparameters=self._suggest(
                    optuna.trial.Trial(self._study, self._entries.id(number)), self._given(number)
                ),
            )

    def _from_queue(self, number: int) -> TrialSpec:
        trial = self._study.ask()
        assert trial.number == number
        self._history.began(number)
        return TrialSpec(number=number, hyperparameters=self._suggest(trial, self._given(number)))

    def _open(self, number: int) -> TrialSpec:
        """Open a trial with a proposal, as one record; `study.ask` would look for a queued one among all."""
        proposal = self._proposals.next()
        hyperparameters = self._suggest(proposal, self.spec.fixed)
        self._study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.RUNNING, params=proposal.params, distributions=proposal.distributions
            )
        )
        self._history.began(number)
        return TrialSpec(number=number, hyperparameters=hyperparameters)

    def report(self, number: int, epoch: int, value: float) -> bool:
        """Store a trial's metric of one epoch; return False if that epoch was there already."""
        if self.has_value(number, epoch):
            return False
        self._entries.report(number, epoch, value)
        self._epochs[number] = epoch
        return True

    def has_value(self, number: int, epoch: int) -> bool:
        return epoch <= self._epochs.get(number, 0)

    def value(self, number: int, epoch: int) -> float:
        """Return a trial's metric of an epoch that was reported."""
        return self._entries.frozen(number).intermediate_values[epoch]

    def rung(self, number: int) -> int:
        """Return the last rung from which the trial was let go on, 0 if none."""
        return int(self._entries.frozen(number).user_attrs.get("rung", 0))

    def set_rung(self, number: int, epoch: int) -> None:
        if self.rung(number) < epoch:
            self._entries.set(number, rung=epoch)

    def tell(self, number: int, state: State, cause: str | None = None) -> None:
        """End a trial; a trial that has ended stays as it is."""
        frozen = self._entries.frozen(number)
        if frozen.state in ENDED:
            return
        self.places.leave(number)
        if state is State.COMPLETED:
            self._study.tell(number, best_value(frozen.intermediate_values, self.mode))
        elif state is State.PRUNED:
            self._study.tell(number, state=TrialState.PRUNED)
        else:
            self._entries.set(number, state=state.value, **({"cause": cause} if cause else {}))
            self._study.tell(number, state=TrialState.FAIL)
        self._history.ended(self._entries.frozen(number))

    def values(self) -> dict[int, dict[int, float]]:
        """Return the metric per epoch of every trial that has reported."""
        trials = self._study.get_trials(deepcopy=False)
        return {t.number: t.intermediate_values for t in trials if t.intermediate_values}

    def trials(self) -> list[TrialRecord]:
        """Return every trial that has begun, in order of number."""
        trials = self._study.get_trials(deepcopy=False)
        return [
            record(trial, self.spec.fixed, self.mode)
            for trial in trials
            if trial.state is not TrialState.WAITING
        ]

    def unfinished(self) -> list[int]:
        return [
            trial.number for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        ]

    def num_ended(self) -> int:
        return len(self._study.get_trials(deepcopy=False, states=ENDED))

    def _look_back(self, number: int) -> None:
        """Seed suggestions by the number of their first trial: a resume does not repeat earlier ones."""
        seed = derive(self.spec.seed, "tpe", number) % 2**32
        seen = [one for one in self._history.window() if one != number]

        def look() -> list[FrozenTrial]:
            own = [self._entries.frozen(one) for one in seen]
            return own if self.earlier is None else together(self.earlier, self.search, own, self.mode)

        self._proposals.look_back(look, seed)

    def _given(self, number: int) -> Mapping[str, Any]:
        """Return what is fixed for a trial, by the spec or by its entry under `try`."""
        return {**self.spec.fixed, **self._entries.frozen(number).user_attrs.get("fixed", {})}

    def _suggest(self, trial: optuna.trial.Trial, given: Mapping[str, Any]) -> dict[str, Any]:
        """Suggest every dimension that the trial's optimizer has; the optimizer comes first."""
        found: dict[str, Any] = dict(given)
        for key in sorted(self.search, key=lambda key: key != "optimizer"):
            if key not in given and applies(key, found.get("optimizer", "sgd")):
                found[key] = suggest(trial, key, self.search[key])
        return used(found)
