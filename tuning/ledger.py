"""Reading a sweep's folder: what it is, how it stands, which trial is best. Writes nothing."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning import halving, notation, paths, sizing
from tuning.claim import claim_id, claimant
from tuning.confirmed import Confirmation, best_of, facts_of
from tuning.cost import Cost, cost
from tuning.errors import RequestError, SweepError
from tuning.naming import unknown
from tuning.paths import SweepPaths
from tuning.records import Fleet, State, TrialRecord, begun_by, best_trial, ranked
from tuning.spec import SweepSpec

if TYPE_CHECKING:
    from tuning.study import Study

TOP = 5
"""Trials that are named beside the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep as its folder tells of it."""

    spec: SweepSpec
    paths: SweepPaths
    trials: list[TrialRecord]
    best: TrialRecord | None
    """By its confirmed mean, if trials were confirmed; else by the search's own figures."""
    test: dict[str, float] | None
    """Test metrics of the best trial, once the sweep has measured them."""
    wall_s: float
    driver: str | None
    """Host and process that drives it; None if nobody does."""
    claim: str | None = None
    """Id of the driver's claim."""
    fingerprint: str | None = None
    """Of its data; None before that was read."""
    fleet: Fleet = field(default_factory=Fleet)
    """What it has had to train on."""
    cost: Cost | None = None
    """None before its first epoch."""
    notes: list[str] = field(default_factory=list)
    """What the user should know of it, as why its trials do not train together."""
    confirmation: Confirmation | None = None
    champion: tuple[str, int] | None = None
    """Its registered model in MLflow, and the trial that is champion there; None before there is one."""

    @property
    def is_running(self) -> bool:
        return self.driver is not None

    @property
    def folder(self) -> str:
        """Path or URI that holds the checkpoints."""
        return self.paths.storage(self.spec.storage, str(self.spec.id))

    @property
    def sizing(self) -> sizing.Sizing:
        """How many trials train together, as asked or as measured; 1 before it was."""
        return sizing_of(self.spec, self.paths)

    @property
    def states(self) -> dict[str, int]:
        return dict(Counter(trial.state.value for trial in self.trials))

    def trial(self, number: int) -> TrialRecord:
        for trial in self.trials:
            if trial.number == number:
                return trial
        last = f"0 to {len(self.trials) - 1}" if self.trials else "none yet"
        raise RequestError(f"The sweep {self.spec.name!r} has no trial {number}; it has {last}.")

    def best_or_raise(self) -> TrialRecord:
        if self.best is None:
            ended = sum(trial.state.has_ended for trial in self.trials)
            more = f" --trials {2 * ended}" if ended >= self.spec.trials else ""
            raise SweepError(
                f"The sweep {self.spec.name!r} has no trial with a result "
                f"({ended} of {self.spec.trials} have ended); "
                f"go on with `tuning resume {self.spec.name}{more}`."
            )
        return self.best


def sizing_of(spec: SweepSpec, where: SweepPaths) -> sizing.Sizing:
    """Return how many trials of a sweep train together, as asked or as measured."""
    if spec.cohort != "auto":
        return sizing.Sizing(size=spec.cohort, why="as asked", device="")
    return sizing.Sizing.load(where.sizing) or sizing.NOT_MEASURED


def names(home: str | None) -> list[str]:
    """Return the names of all sweeps of a home."""
    folder = paths.home_folder(home)
    if not os.path.isdir(folder):  # False also for a name that is too long
        return []
    return sorted(path.parent.name for path in folder.glob(f"*/{SweepPaths(folder, '').spec.name}"))


def open_sweep(name: str, home: str | None = None) -> Sweep:
    """Read a sweep.

    Raises:
        RequestError: when the home has no such sweep.
    """
    return next(readings(name, home))


def readings(name: str, home: str | None = None) -> Iterator[Sweep]:
    """Read a sweep whenever asked for the next time; of its study what is new only.

    Raises:
        RequestError: as `open_sweep`.
    """
    from tuning.study import Study  # optuna takes half a second to import

    where = SweepPaths(paths.home_folder(home), paths.check_name(name))
    if not os.path.exists(where.spec):
        known = names(home)
        if not known:
            raise RequestError(f"There are no sweeps in {where.home}; start one: `tuning sweep cnn`.")
        raise unknown(f"sweep in {where.home}", name, known)
    study = None
    while True:
        spec = notation.load(where.spec)
        _check_kept(spec, where)
        # before the study, which then is whole once nobody drives it
        driver, held = claimant(where.claim), claim_id(where.claim)
        if study is None and where.journal.exists() and (driver is None or _has_begun(where.journal)):
            study = Study(spec, where.journal, write=False)
        yield replace(_sweep(spec, where, study, driver), claim=held)


def _has_begun(journal: Path) -> bool:
    """Whether the first record is there, which makes the study."""
    with open(journal, "rb") as file:
        return file.readline(65536).endswith(b"\n")


def _sweep(spec: SweepSpec, where: SweepPaths, study: "Study | None", driver: str | None) -> Sweep:
    if study is None:
        return Sweep(spec=spec, paths=where, trials=[], best=None, test=None, wall_s=0.0, driver=driver)
    return replace(sweep_of(study, where, driver), spec=spec)  # which may have been extended meanwhile


def sweep_of(study: "Study", where: SweepPaths, driver: str | None) -> Sweep:
    """Return how a sweep stands by its study."""
    spec, trials = study.spec, study.trials()
    if driver is None:
        trials = [trial.without_driver() for trial in trials]
    confirmation = study.facts.confirmation()
    best = best_of(trials, study.mode, confirmation)
    return Sweep(
        spec=spec,
        paths=where,
        trials=trials,
        best=best,
        test=study.facts.test(best.number) if best else None,
        wall_s=study.facts.wall_s(),
        fleet=study.facts.fleet(),
        cost=cost(spec, trials, sizing_of(spec, where), study.facts.epoch_s()),
        notes=study.facts.notes(),
        confirmation=confirmation,
        champion=study.facts.champion(),
        driver=driver,
        fingerprint=study.facts.fingerprint(),
    )


def _check_kept(spec: SweepSpec, where: SweepPaths) -> None:
    """Refuse a spec that no sweep has kept under this name, as one that was copied there."""
    if spec.name != where.name:
        raise RequestError(
            f"{where.spec} must be the spec of the sweep {where.name!r}, but its name is {spec.name!r}; "
            "give the folder its sweep's name back."
        )
    if where.journal.exists() and (not spec.is_resolved or spec.search is None or spec.id is None):
        raise RequestError(
            f"{where.spec} must be a spec as a sweep keeps it, but it leaves open what a sweep has settled; "
            "put the sweep's own one back."
        )


def trial_facts(sweep: Sweep, trial: TrialRecord) -> dict[str, Any]:
    """Return what there is to say of a trial, as plain data."""
    return {
        "sweep": sweep.spec.name,
        "trial": trial.number,
        "state": trial.state.value,
        "metric": sweep.spec.metric,
        "mode": sweep.spec.mode,
        "value": trial.value,
        "epoch": trial.epoch,
        "hyperparameters": trial.hyperparameters,
        "test": sweep.test if sweep.best and trial.number == sweep.best.number else None,
        "checkpoint": paths.checkpoint_file(sweep.folder, trial.number),
        "confirmed": _confirmed_facts(sweep, trial),
    }


def top_trials(sweep: Sweep) -> list[TrialRecord]:
    """Return the trials with the best values so far, but for those that went wrong; ties: lower number."""
    if sweep.spec.mode is None:  # a death came before it was settled, and so before any trial
        return []
    wrong = (State.DIVERGED, State.FAILED)
    return ranked((trial for trial in sweep.trials if trial.state not in wrong), sweep.spec.mode)[:TOP]


def workers(sweep: Sweep) -> list[dict[str, Any]]:
    """Return what each worker trains, by what it last told of: a cohort.

    A trial that has come to a rung has left its cohort: it waits for the next one, or has yet to report.
    One whose worker died waits for another, and one that an earlier driver has left for its turn.
    """
    if sweep.claim is None:
        return []
    rungs = halving.rungs_of(sweep.spec.early_stopping, sweep.spec.epochs or 0)
    found: dict[str, dict[str, Any]] = {}
    new: dict[str, Any]
    for trial in sweep.trials:
        epoch = max(trial.values, default=0)
        cohort = trial.cohort or ""
        is_placed = cohort.startswith(begun_by(sweep.claim)) and not trial.waits
        if trial.state is State.RUNNING and is_placed and epoch not in rungs:
            new = {"where": trial.where, "cohort": cohort, "epoch": 0, "trials": []}
            worker = found.setdefault(cohort, new)
            worker["epoch"] = max(worker["epoch"], epoch)
            worker["trials"].append(trial.number)
    return sorted(found.values(), key=lambda one: (one["where"], one["trials"]))


def _confirmed_facts(sweep: Sweep, trial: TrialRecord) -> dict[str, Any] | None:
    """Return what fresh seeds made of a trial, and which one is better by the search's figure alone.

    One that diverged with every fresh seed is no such trial: nobody need confirm it.
    """
    found = sweep.confirmation
    one = found.of(trial.number) if found is not None else None
    if found is None or one is None:
        return None
    searched = best_trial([t for t in sweep.trials if t.number not in found.hopeless], found.mode)
    is_new = searched is not None and found.of(searched.number) is None
    newer = {"trial": searched.number, "value": searched.value} if searched is not None and is_new else None
    return {**facts_of(found, one), "hopeless": list(found.hopeless), "not_confirmed": newer}


def sweep_facts(sweep: Sweep) -> dict[str, Any]:
    """Return how a sweep stands, as plain data."""
    unfinished = [trial for trial in sweep.trials if not trial.state.has_ended]
    return {
        "sweep": sweep.spec.name,
        "model": sweep.spec.model,
        "data": sweep.spec.data,
        "states": sweep.states,
        "total": sweep.spec.trials,
        "metric": sweep.spec.metric,
        "epochs": sweep.spec.epochs,
        "best": trial_facts(sweep, sweep.best) if sweep.best else None,
        "top": [
            {
                "trial": trial.number,
                "state": trial.state.value,
                "value": trial.value,
                "epoch": trial.epoch,
                "hyperparameters": trial.hyperparameters,
            }
            for trial in top_trials(sweep)
        ],
        "wall_s": round(sweep.wall_s, 3),
        "cohort": sweep.sizing.size,
        "sizing": sweep.sizing.describe(),
        "cost": sweep.cost.to_plain() if sweep.cost else None,
        "spent": sweep.cost.describe() if sweep.cost else None,
        "notes": sweep.notes,
        "is_running": sweep.is_running,
        "driver": sweep.driver,
        "workers": workers(sweep),
        "unfinished": [trial.number for trial in unfinished],
        "where": {str(trial.number): trial.where for trial in unfinished},
        "cohorts": {str(trial.number): trial.cohort for trial in sweep.trials if trial.cohort},
        "folder": str(sweep.paths.folder),
    }
