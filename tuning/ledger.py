"""Reading a sweep's folder: what it is, how it stands, which trial is best. Writes nothing."""

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

from tuning import notation, paths, sizing
from tuning.claim import claimant
from tuning.errors import RequestError, SweepError
from tuning.naming import unknown
from tuning.paths import SweepPaths
from tuning.records import TrialRecord, best_trial
from tuning.spec import SweepSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep as its folder tells of it."""

    spec: SweepSpec
    paths: SweepPaths
    trials: list[TrialRecord]
    best: TrialRecord | None
    test: dict[str, float] | None
    """Test metrics of the best trial, once the sweep has measured them."""
    wall_s: float
    driver: str | None
    """Host and process that drives it; None if nobody does."""

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
        if self.spec.cohort != "auto":
            return sizing.Sizing(size=self.spec.cohort, why="as asked", device="")
        return sizing.Sizing.load(self.paths.sizing) or sizing.Sizing(
            size=1, why="not measured yet", device=""
        )

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
    from tuning.study import Study  # optuna takes half a second to import

    where = SweepPaths(paths.home_folder(home), paths.check_name(name))
    if not os.path.exists(where.spec):
        known = names(home)
        if not known:
            raise RequestError(f"There are no sweeps in {where.home}; start one: `tuning sweep cnn`.")
        raise unknown(f"sweep in {where.home}", name, known)
    spec = notation.load(where.spec)
    _check_kept(spec, where)
    driver = claimant(where.claim)
    if not where.journal.exists():
        return Sweep(spec=spec, paths=where, trials=[], best=None, test=None, wall_s=0.0, driver=driver)
    study = Study(spec, where.journal, write=False)
    trials = study.trials()
    if driver is None:
        trials = [trial.without_driver() for trial in trials]
    best = best_trial(trials, study.mode)
    return Sweep(
        spec=spec,
        paths=where,
        trials=trials,
        best=best,
        test=study.test(best.number) if best else None,
        wall_s=study.wall_s(),
        driver=driver,
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
    }


def sweep_facts(sweep: Sweep) -> dict[str, Any]:
    """Return how a sweep stands, as plain data."""
    unfinished = [trial for trial in sweep.trials if not trial.state.has_ended]
    return {
        "sweep": sweep.spec.name,
        "model": sweep.spec.model,
        "data": sweep.spec.data,
        "states": sweep.states,
        "total": sweep.spec.trials,
        "best": trial_facts(sweep, sweep.best) if sweep.best else None,
        "wall_s": round(sweep.wall_s, 3),
        "cohort": sweep.sizing.size,
        "sizing": sweep.sizing.describe(),
        "is_running": sweep.is_running,
        "driver": sweep.driver,
        "unfinished": [trial.number for trial in unfinished],
        "where": {str(trial.number): trial.where for trial in unfinished},
        "cohorts": {str(trial.number): trial.cohort for trial in sweep.trials if trial.cohort},
        "folder": str(sweep.paths.folder),
    }
