"""That nothing is lost and nothing counted twice: study, MLflow and checkpoints side by side."""

from pathlib import Path
from typing import Any

import pytest

from tests import sweeps
from tests.chaos.driver import DIVERGES, DIVERGES_AT, EPOCHS, TRIALS
from tuning import ledger
from tuning.records import State


def assert_nothing_is_lost(home: Path, tracking_uri: str | None = None) -> None:
    """Study, MLflow and checkpoints hold each trial once, ended, with each of its epochs once."""
    ledgers = sweeps.read("chaos", home, tracking_uri)
    found = ledger.open_sweep("chaos", str(home))
    sweeps.assert_they_agree(found, ledgers)
    assert found.states == {"completed": TRIALS - 1, "diverged": 1}
    assert found.trials[DIVERGES].state is State.DIVERGED
    assert sorted(ledgers.children) == list(range(TRIALS)) == sorted(ledgers.checkpoints)
    assert ledgers.parent.info.status == "FINISHED"
    for number, run in ledgers.children.items():
        for metric in ("train_loss", "val_loss"):
            points = ledgers.client.get_metric_history(run.info.run_id, metric)
            last = DIVERGES_AT if number == DIVERGES else EPOCHS
            assert sorted(point.step for point in points) == list(range(1, last + 1)), (number, metric)
        content, metrics = sweeps.remeasured(ledgers.checkpoints[number])
        assert metrics["val_loss"] == pytest.approx(content["value"], rel=1e-4)
        assert content["value"] == found.trials[number].value
    folder = home / "chaos"
    for place in (folder, folder / "checkpoints", folder / "resume", folder / "spool"):
        left = [path.name for path in place.iterdir()] if place.exists() else []
        assert not [name for name in left if name.startswith(".")], "a file is left half written"
    assert not (folder / "spool").exists() or not list((folder / "spool").iterdir()), "records are left"
    assert not (folder / "resume").exists() or not list((folder / "resume").iterdir()), (
        "a resume file is left"
    )


def values(home: Path) -> list[tuple[dict[str, Any], dict[int, float]]]:
    """Return configuration and metric per epoch of each trial."""
    return [(t.hyperparameters, t.values) for t in ledger.open_sweep("chaos", str(home)).trials]
