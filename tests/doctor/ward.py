"""A healthy sweep, kept so that each test can have it anew."""

import contextlib
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tuning
from tests import sweeps
from tuning import ledger, paths
from tuning.doctor import visit
from tuning.records import State
from tuning.tracking.client import connect

NAME = "ward"
DIVERGED = 1


@dataclass(frozen=True)
class Patient:
    """A sweep in `home`, whose healthy state lies in `kept`: MLflow's URIs of artifacts are absolute."""

    home: Path
    kept: Path

    @property
    def folder(self) -> Path:
        return self.home / NAME

    @property
    def client(self) -> Any:
        return connect(f"sqlite:///{self.home}/mlflow.db")

    def heal(self) -> None:
        """Bring the healthy state back. MLflow keeps connections to a database that is gone."""
        if (self.home / "mlflow.db").exists():
            with contextlib.suppress(Exception):  # it may be no database
                self.disconnect()
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(self.kept, self.home, symlinks=True)

    def disconnect(self) -> None:
        """Have MLflow let go of the database: runs and the registry have a connection each."""
        for store in (self.client._tracking_client.store, self.client._get_registry_client().store):
            store.engine.dispose()

    def visit(self, *, fix: bool = False) -> visit.Findings:
        return visit.visit(NAME, str(self.home), fix=fix)

    def sweep(self) -> ledger.Sweep:
        return ledger.open_sweep(NAME, str(self.home))

    def assert_it_agrees(self) -> None:
        sweeps.assert_they_agree(self.sweep(), sweeps.read(NAME, self.home))

    def file(self, number: int, kind: str = "pt") -> Path:
        return self.folder / "checkpoints" / f"{paths.trial_name(number)}.{kind}"

    def copy(self, number: int, kind: str = "pt") -> Path:
        folder = Path(self.run(number).info.artifact_uri.removeprefix("file://"))
        return folder / "checkpoint" / f"{paths.trial_name(number)}.{kind}"

    def run(self, number: int) -> Any:
        return self._runs(f"tags.`tuning.trial` = '{number}'")[0]

    def parent(self) -> Any:
        return self._runs("tags.`tuning.kind` = 'sweep'")[0]

    def parent_folder(self) -> Path:
        """Return where the artifacts of the sweep's own run lie."""
        return Path(self.parent().info.artifact_uri.removeprefix("file://"))

    def _runs(self, wanted: str) -> Any:
        experiment = self.client.get_experiment_by_name("net")
        return self.client.search_runs([experiment.experiment_id], wanted)

    def sql(self, statement: str, *arguments: object) -> None:
        with contextlib.closing(sqlite3.connect(self.home / "mlflow.db")) as database, database:
            database.execute(statement, arguments)


def admitted(home: Path, kept: Path) -> Patient:
    """Run a sweep in which trials complete, are pruned, and one diverges."""
    rates = (0.03, 1e9, 0.001, 0.05, 0.06)
    spec = tuning.SweepSpec(
        model="net",
        name=NAME,
        trials=len(rates),
        epochs=3,
        max_concurrent=1,
        cohort=1,
        home=str(home),
        search={"lr": tuning.Float(1e-3, 1e9, log=True)},
        try_=[{"lr": rate} for rate in rates],
        early_stopping=tuning.EarlyStopping(kind="asha", grace_epochs=1, reduction=2),
    )
    result = tuning.sweep(spec)
    assert result.trials[DIVERGED].state is State.DIVERGED
    assert result.states["completed"] > 1 and result.states["pruned"] > 0, result.states
    Patient(home, kept).disconnect()
    shutil.copytree(home, kept)
    return Patient(home, kept)
