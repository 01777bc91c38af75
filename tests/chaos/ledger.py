"""That nothing is lost and nothing counted twice: study, MLflow and checkpoints side by side."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import sweeps
from tests.chaos.driver import DIVERGES, DIVERGES_AT, SPEC, TRIALS
from tests.chaos.matrix import MODES, STATES
from tuning import ledger, paths
from tuning.records import State


class Trained(NamedTuple):
    """What a trial comes to."""

    hyperparameters: dict[str, Any]
    state: State
    values: dict[int, float]
    """The sweep's metric per epoch."""


def assert_nothing_is_lost(home: Path, mode: str, tracking_uri: str | None = None) -> None:
    """Study, MLflow and checkpoints hold each trial once, ended, with each of its epochs once."""
    ledgers = sweeps.read("chaos", home, tracking_uri)
    found = ledger.open_sweep("chaos", str(home))
    sweeps.assert_they_agree(found, ledgers)
    assert found.states == STATES[mode]
    assert found.trials[DIVERGES].state is State.DIVERGED
    assert sorted(ledgers.children) == list(range(TRIALS)) == sorted(ledgers.checkpoints)
    assert ledgers.parent.info.status == "FINISHED"
    spec = {**SPEC, **MODES[mode]}
    rung = spec["early_stopping"].get("grace_epochs", 0)
    last = {State.COMPLETED: spec["epochs"], State.DIVERGED: DIVERGES_AT, State.PRUNED: rung}
    for number, run in ledgers.children.items():
        for metric in ("train_loss", "val_loss"):
            points = ledgers.client.get_metric_history(run.info.run_id, metric)
            steps = list(range(1, last[found.trials[number].state] + 1))
            assert sorted(point.step for point in points) == steps, (number, metric)
        content, metrics = sweeps.remeasured(ledgers.checkpoints[number])
        assert metrics["val_loss"] == pytest.approx(content["value"], rel=1e-4)
        assert content["value"] == found.trials[number].value
    kept = {one.info.run_id for one in (ledgers.parent, *ledgers.children.values())}
    assert {path.name for path in home.glob("mlartifacts/*")} - {"models"} <= kept, "files of no run are left"
    folder = home / "chaos"
    for place in (folder, folder / "checkpoints", folder / "resume", folder / "spool"):
        left = [path.name for path in place.iterdir()] if place.exists() else []
        assert not [name for name in left if name.startswith(".")], "a file is left half written"
    assert not (folder / "spool").exists() or not list((folder / "spool").iterdir()), "records are left"
    assert not (folder / "resume").exists() or not list((folder / "resume").iterdir()), (
        "a resume file is left"
    )


def assert_it_is_shown(home: Path, tracking_uri: str | None = None) -> None:
    """The report is there, and the best trial is the champion, registered once."""
    ledgers = sweeps.read("chaos", home, tracking_uri)
    artifacts = ledgers.client.list_artifacts(ledgers.parent.info.run_id)
    assert paths.REPORT in [one.path for one in artifacts]
    assert (home / "chaos" / paths.REPORT).exists()
    best = ledger.open_sweep("chaos", str(home)).best
    (version,) = ledgers.client.search_model_versions("name = 'chaos'")
    assert best is not None and version.tags["tuning.trial"] == str(best.number)
    assert ledgers.client.get_model_version_by_alias("chaos", "champion").version == version.version


def trained(home: Path) -> list[Trained]:
    return [
        Trained(trial.hyperparameters, trial.state, trial.values)
        for trial in ledger.open_sweep("chaos", str(home)).trials
    ]
