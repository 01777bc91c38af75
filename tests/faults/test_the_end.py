"""What goes wrong while a sweep ends, or before it has begun: it is said once, and nothing is left open."""

import math
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tuning
from tests import sweeps
from tests.faults.lines import spec
from tuning import closing, ledger, plan, reuse, settle
from tuning.doctor import visit
from tuning.export import winner
from tuning.records import State
from tuning.schedule import connection
from tuning.tracking import process


def test_a_test_split_that_cannot_be_measured_costs_no_record(
    own: Path, home: Path, ray_cluster: Any
) -> None:
    with pytest.raises(tuning.SweepError, match=r"could not be measured.*row 5 is damaged"):
        tuning.sweep(spec(own, "damaged_test"))
    ledgers = sweeps.read("line", home)
    assert ledgers.parent.info.status == "FAILED"
    assert [run.info.status for run in ledgers.children.values()] == ["FINISHED", "FINISHED"]
    assert tuning.load_best("line").trial.state is State.COMPLETED


def ctrl_c(*_: Any) -> Any:
    """Press it, in the middle of what would go on."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)
    raise AssertionError("it was not heard")


def without_mlflow() -> Any:
    raise BlockingIOError(11, "Resource temporarily unavailable")


def test_ctrl_c_does_not_wait_for_the_report_nor_for_the_best_model_to_be_exported(
    own: Path, home: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as slow, pytest.raises(KeyboardInterrupt, match="tuning resume line"):
        slow.setattr(winner, "candidate", ctrl_c)
        tuning.sweep(spec(own, "good"))
    assert sweeps.read("line", home).parent.info.status == "KILLED"
    found = visit.visit("line", str(home), fix=False)
    assert found.is_healthy, found.differences
    assert tuning.sweep(spec(own, "good")).ending is None
    ledgers = sweeps.read("line", home)
    assert ledgers.parent.info.status == "FINISHED"
    assert ledgers.client.get_model_version_by_alias("line", "champion").version == 1, "made up for"


def test_after_ctrl_c_no_test_figure_of_a_former_best_model_is_taken_for_the_best_ones(
    own: Path, home: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is measured then: the next command does that."""
    two = spec(own, "good", try_=[{"lr": 0.01}, {"lr": 0.1}], metric="val_loss", mode="min")
    tuning.sweep(replace(two, trials=1))
    with monkeypatch.context() as slow, pytest.raises(KeyboardInterrupt):
        save = closing._save
        slow.setattr(closing, "_save", lambda *args: (save(*args), os.kill(os.getpid(), signal.SIGINT)))
        slow.setattr(reuse, "measure", ctrl_c)
        tuning.sweep(two)
    parent = sweeps.read("line", home).parent
    assert parent.data.tags["tuning.best_trial"] == "1"
    assert math.isnan(parent.data.metrics["test_loss"])


def test_ctrl_c_while_the_best_model_is_measured_is_no_failure_also_where_mlflow_is_away(
    own: Path,
    home: Path,
    ray_cluster: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as away, pytest.raises(KeyboardInterrupt, match="tuning resume line"):
        away.setattr(process, "start", without_mlflow)
        away.setattr(reuse, "measure", ctrl_c)
        tuning.sweep(spec(own, "good"))
    assert "could not be written: the process that writes it has died 3 times" in capfd.readouterr().err
    assert ledger.open_sweep("line").wall_s > 0
    sweeps.assert_they_agree(tuning.sweep(spec(own, "good")), sweeps.read("line", home))


def test_what_stands_against_mlflow_hides_no_earlier_error(
    own: Path,
    home: Path,
    ray_cluster: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(process, "start", without_mlflow)
    with pytest.raises(tuning.SweepError, match=r"could not be measured.*row 5 is damaged"):
        tuning.sweep(spec(own, "damaged_test"))
    assert "could not be written: the process that writes it has died 3 times" in capfd.readouterr().err
    assert ledger.open_sweep("line").wall_s > 0, "nor is its time forgotten"


def ray_does_not_start(*_: Any) -> None:
    raise tuning.SweepError("Ray could not start on this machine, twice")


@pytest.mark.parametrize(
    ("starts", "raised", "status"),
    [(ray_does_not_start, tuning.SweepError, "FAILED"), (ctrl_c, KeyboardInterrupt, "KILLED")],
)
def test_a_resume_that_ends_before_ray_is_up_leaves_no_run_running(
    starts: Any,
    raised: type[BaseException],
    status: str,
    own: Path,
    home: Path,
    ray_cluster: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a driver that died before the first report of its two trials."""
    planned = plan.prepare(spec(own, "good"))
    settle.make_home(planned.paths)
    planned = replace(planned, spec=settle.settle_spec(planned.spec, planned.paths))
    settle.open_study(planned).ask_many(2)
    monkeypatch.setattr(connection.Cluster, "is_up", False)
    monkeypatch.setattr(connection.Cluster, "nodes", starts)
    with pytest.raises(raised, match=r"Ray could not start|tuning resume line"):
        tuning.sweep(spec(own, "good"))
    ledgers = sweeps.read("line", home)
    assert ledgers.parent.info.status == status
    assert [run.info.status for run in ledgers.children.values()] == ["SCHEDULED", "SCHEDULED"]
