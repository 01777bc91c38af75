"""Reading a sweep's folder: what it is, how it stands, which trial is best. Writes nothing."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuning import notation, paths, sizing
from tuning.claim import claim_id, claimant, claimed_at_s
from tuning.confirmed import Confirmation, best_of
from tuning.cost import Cost, cost
from tuning.errors import RequestError, SweepError, last_line, without_passwords
from tuning.naming import unknown
from tuning.paths import SweepPaths
from tuning.records import Fleet, State, TrialRecord
from tuning.spec import SweepSpec

if TYPE_CHECKING:
    from tuning.study import Study


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
    source: str | None = None
    """Hash of the user's own code of its model, as trials were trained by it last."""
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
            raise self.lacks("trial with a result")
        return self.best

    def lacks(self, what: str) -> SweepError:
        """Return that the sweep has none of what is asked for, and how it may come to it."""
        ended = sum(trial.state.has_ended for trial in self.trials)
        more = f" --trials {2 * ended}" if ended >= self.spec.trials else ""
        failed = [trial for trial in self.trials if trial.state is State.FAILED]
        if failed and len(failed) == ended:
            return SweepError(
                f"The sweep {self.spec.name!r} has no {what}: all {ended} that have ended have failed, the "
                f"last with {last_line(failed[-1].cause, 'no known cause')}. Once that is mended, go on with "
                f"`{self.paths.command('resume')}{more}`."
            )
        return SweepError(
            f"The sweep {self.spec.name!r} has no {what} ({ended} of {self.spec.trials} have ended); "
            f"go on with `{self.paths.command('resume')}{more}`."
        )


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


def servers(home: Path) -> list[str]:
    """Return the addresses of MLflow at which sweeps of a home have their records, if not in the home."""
    found: set[str] = set()
    for name in names(str(home)):
        with contextlib.suppress(RequestError):  # a spec that cannot be read: `tuning status` says so
            spec = notation.load(SweepPaths(home, name).spec)
            found |= {without_passwords(spec.tracking_uri)} if spec.tracking_uri else set()
    return sorted(found)


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
            raise RequestError(
                f"There are no sweeps in {where.home}; start one: `tuning sweep cnn`, or name its --home."
            )
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
    fleet, confirmation = study.facts.fleet(), study.facts.confirmation()
    best = best_of(trials, study.mode, confirmation)
    return Sweep(
        spec=spec,
        paths=where,
        trials=trials,
        best=best,
        test=study.facts.test(best.number) if best else None,
        # drivers that were killed have not told what they took; the others count the start and the end, too
        wall_s=max(study.facts.wall_s(), fleet.driven_s(trials, claimed_at_s(where.claim))),
        fleet=fleet,
        cost=cost(spec, trials, sizing_of(spec, where), study.facts.epoch_s()),
        notes=study.facts.notes(),
        confirmation=confirmation,
        champion=study.facts.champion(),
        driver=driver,
        fingerprint=study.facts.fingerprint(),
        source=study.facts.source(),
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
