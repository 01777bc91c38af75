"""What goes wrong around the trials: it is said once, nothing is left open, and the sweep can go on."""

import json
import math
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.trial import TrialState

import models
import tuning
from tests import sweeps
from tuning import cli, closing, drive, ledger, notation, plan, reuse, run, settle, storage
from tuning.doctor import visit
from tuning.export import winner
from tuning.records import State, TrialRecord
from tuning.schedule import connection, survey
from tuning.study import Study
from tuning.study.journal import BatchingBackend
from tuning.tracking import process

DATA = """
import os
import pathlib
import random
import sys

import torch
from torch.utils.data import TensorDataset

def good(seed=0, wrong_test=False):
    generator = torch.Generator().manual_seed(seed)
    def part(n):
        x = torch.randn(n, 4, generator=generator)
        return TensorDataset(x, (x.sum(1) > 0).long())
    return part(200), part(50), part(50)

class Unreadable(torch.utils.data.Dataset):
    def __init__(self, rows=400): self.rows = rows
    def __len__(self): return self.rows
    def __getitem__(self, i):
        if i == 5: raise OSError('row 5 is damaged')
        return torch.zeros(4), i % 2

def damaged_test(): return (*good()[:2], Unreadable())

def damaged(): return (Unreadable(6), *good()[1:])

def unseeded():
    rows = torch.randperm(300)
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    parts = [TensorDataset(x[r], (x[r].sum(1) > 0).long()) for r in rows.split([200, 50, 50])]
    return tuple(parts)

class OneByOne(torch.utils.data.Dataset):
    def __init__(self, rows): self.rows = rows
    def __len__(self): return self.rows
    def __getitem__(self, i): return torch.zeros(4), random.Random(f"{os.getpid()} {i}").randrange(2)

class OnceDamaged(OneByOne):
    # its row 150 cannot be read the first time that a worker tries, where a file says so
    def __getitem__(self, i):
        marker = pathlib.Path(__file__).with_name("damaged")
        if i == 150 and "default_worker" in sys.argv[0] and marker.exists():
            marker.unlink()
            raise OSError('row 150 is damaged')
        return torch.full((4,), float(i)), i % 2

def once_damaged(): return OnceDamaged(200), OnceDamaged(50), OnceDamaged(50)

def of_the_process(): return OneByOne(200), OneByOne(50), OneByOne(50)
"""

MODEL = """
import torch
class Line(torch.nn.Linear):
    def __init__(self): super().__init__(4, 2)
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own_data.py").write_text(DATA)
    (tmp_path / "own_line.py").write_text(MODEL)
    return tmp_path


def spec(own: Path, data: str, **keys: Any) -> tuning.SweepSpec:
    return tuning.SweepSpec(
        model=f"{own}/own_line.py:Line",
        data=f"{own}/own_data.py:{data}",
        epochs=2,
        batch_size=50,
        search={"lr": tuning.Float(0.01, 0.1)},
        early_stopping=tuning.EarlyStopping(kind="none"),
        **{"trials": 2, "name": "line", "max_concurrent": 1, **keys},
    )


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


def test_data_that_cannot_be_read_is_refused_before_anything_is_written(own: Path, home: Path) -> None:
    with pytest.raises(tuning.RequestError, match=r"own_data.py:damaged.*OSError: row 5 is damaged"):
        plan.prepare(spec(own, "damaged"))
    assert not home.exists()


def test_data_that_is_another_each_time_is_refused_before_anything_is_written(own: Path, home: Path) -> None:
    with pytest.raises(tuning.RequestError, match=r"drawn without a fixed seed\?"):
        plan.prepare(spec(own, "unseeded"))
    assert not home.exists()


def test_data_that_differs_from_process_to_process_ends_the_sweep_and_blames_no_trial(
    own: Path, home: Path, ray_cluster: Any
) -> None:
    """Where each worker opens it itself, as it does what is not in memory."""
    result = tuning.sweep(spec(own, "of_the_process", trials=20, cohort=1))
    assert result.halted is not None and "drawn without a fixed seed?" in result.halted
    assert {trial.state for trial in result.trials} == {State.INTERRUPTED}, "no trial is to blame"
    assert all(not trial.values for trial in result.trials)


def test_a_row_that_cannot_be_read_in_a_worker_fails_that_trial_alone(
    own: Path, home: Path, ray_cluster: Any
) -> None:
    (own / "damaged").touch()
    result = tuning.sweep(spec(own, "once_damaged", cohort=1))
    assert result.states == {"failed": 1, "completed": 1} and not (own / "damaged").exists()
    (failed,) = [trial.number for trial in result.trials if trial.state is State.FAILED]
    assert "row 150 is damaged" in sweeps.read("line", home).children[failed].data.tags["tuning.cause"]


def test_a_sweep_does_not_go_on_with_other_data(own: Path, home: Path, ray_cluster: Any) -> None:
    tuning.sweep(spec(own, "good"))
    (own / "own_data.py").write_text(DATA.replace("x.sum(1) > 0", "x.sum(1) > 1"))
    for name in [name for name in sys.modules if name.startswith("tuning_user_own_data")]:
        del sys.modules[name]  # as in a new process
    kept = (home / "line" / "spec.yaml").read_bytes()
    with pytest.raises(tuning.RequestError, match="must be what the sweep 'line' began with"):
        tuning.sweep(spec(own, "good", trials=4))
    assert (home / "line" / "spec.yaml").read_bytes() == kept, "what is refused changes no total"
    assert len(sweeps.read("line", home).study.trials) == 2


def test_a_study_that_cannot_be_written_ends_the_sweep_and_says_why(
    own: Path, home: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(study: Study, number: int, *_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Study, "tell", full)
        result = tuning.sweep(spec(own, "good", trials=8))
    assert result.halted is not None and "No space left on device" in result.halted
    assert {trial.state for trial in result.trials} == {State.INTERRUPTED}
    assert sweeps.read("line", home).parent.info.status == "FAILED"
    again = tuning.sweep(spec(own, "good", trials=8))
    assert [trial.state.has_ended for trial in again.trials] == [True] * 8
    sweeps.assert_they_agree(again, sweeps.read("line", home))


def test_an_end_that_the_disk_did_not_take_costs_no_epoch(
    own: Path, home: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = BatchingBackend._append

    def full_at_the_end(self: BatchingBackend, logs: list[dict[str, Any]]) -> None:
        if any(log.get("state") == TrialState.COMPLETE for log in logs):
            self._failure = OSError(28, "No space left on device")
        append(self, logs)

    with monkeypatch.context() as disk:
        disk.setattr(BatchingBackend, "_append", full_at_the_end)
        with pytest.raises(tuning.SweepError, match=r"No space left on device.*tuning resume line"):
            tuning.sweep(spec(own, "good", trials=1))
    assert list((home / "line" / "resume").glob("*.pt")), "its last state is kept"
    left = sweeps.read("line", home)
    assert {run.info.status for run in left.children.values()} == {"SCHEDULED"}, "none is left RUNNING"
    assert "tuning.best_trial" not in left.parent.data.tags, "nobody hears of what the next driver undoes"
    again = tuning.sweep(spec(own, "good", trials=1))
    assert again.states == {"completed": 1} and not list((home / "line" / "resume").iterdir())
    sweeps.assert_they_agree(again, sweeps.read("line", home))


def test_a_storage_that_cannot_be_written_ends_the_sweep_and_costs_no_trial(
    own: Path, home: Path, ray_cluster: Any
) -> None:
    tuning.sweep(spec(own, "good", trials=1))
    checkpoints, aside = home / "line" / "checkpoints", home / "line" / "aside"
    checkpoints.rename(aside)
    checkpoints.write_text("a file where a folder should be")
    result = tuning.sweep(spec(own, "good", trials=3))
    assert result.halted is not None
    assert f"{home}/line cannot be written" in result.halted and f"{checkpoints}" in result.halted
    assert result.states == {"completed": 1, "interrupted": 1}, "no trial is to blame"
    checkpoints.unlink()
    aside.rename(checkpoints)
    again = tuning.sweep(spec(own, "good", trials=3))
    assert again.states == {"completed": 3}
    sweeps.assert_they_agree(again, sweeps.read("line", home))


@pytest.mark.parametrize("at", ["claim", "open_study"], ids=["before it has a folder", "later"])
def test_of_several_sweeps_one_that_cannot_go_on_ends_alone(
    home: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], at: str
) -> None:
    reached = getattr(drive, at)

    def broken(*given: Any) -> Any:
        name = given[1] if at == "claim" else given[0].paths.name
        if name == "all-net":
            raise OSError(5, "Input/output error")
        return reached(*given)

    monkeypatch.setattr(drive, at, broken)
    monkeypatch.setattr(models, "CATALOG", {name: models.CATALOG[name] for name in ("net", "quick_net")})
    assert cli.main(["sweep", "all", "--trials", "1", "--epochs", "1", "--json"]) == 1
    said = capsys.readouterr()
    assert "error: all-net: The sweep 'all-net' could not go on: [Errno 5]" in said.err
    failed, done = json.loads(said.out)["sweeps"]
    assert (failed["sweep"], failed["states"], failed["best"]) == ("all-net", {}, None)
    assert "Input/output error" in failed["error"]
    assert (done["sweep"], done["states"]) == ("all-quick_net", {"completed": 1})


def test_a_sweep_without_a_completed_trial_is_a_fault_though_it_has_a_best_one() -> None:
    pruned = TrialRecord(
        number=0, state=State.PRUNED, hyperparameters={}, values={1: 0.5}, value=0.5, epoch=1
    )
    result = run.SweepResult(name="x", home="/", trials=[pruned], best=pruned, total=1, wall_s=1.0)
    assert "without one completed trial" in str(run.fault(result))
    failed = replace(result, trials=[replace(pruned, state=State.FAILED)], best=None)
    assert "cause.txt" in str(run.fault(failed))


def test_where_all_diverged_the_rates_that_were_tried_are_named() -> None:
    trials = [TrialRecord(number=n, state=State.DIVERGED, hyperparameters={"lr": 10.0**-n}) for n in range(3)]
    result = run.SweepResult(name="x", home="/", trials=trials, best=None, total=3, wall_s=1.0)
    assert "All diverged, with lr from 0.01 to 1: scale inputs and targets" in str(run.fault(result))


def test_a_node_with_another_version_ends_the_sweep_with_both_named(
    own: Path, home: Path, ray_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "versions", lambda: {"torch": "1.13.0"})
    result = tuning.sweep(spec(own, "good", trials=2, cohort=1))
    assert result.halted is not None
    assert "torch must be the same on all nodes: on the driver's it is 1.13.0, on " in result.halted
    assert torch.__version__.partition("+")[0] in result.halted
    assert {trial.state for trial in result.trials} == {State.INTERRUPTED}, "no trial is to blame"


def test_a_total_is_never_less_than_the_trials_that_have_begun(own: Path, home: Path) -> None:
    """Those that were interrupted are trained, too: they are not left over for ever."""
    planned = plan.prepare(spec(own, "good", trials=8))
    settle.make_home(planned.paths)
    planned = replace(planned, spec=settle.settle_spec(planned.spec, planned.paths))
    study = settle.open_study(planned)
    for trial in study.ask_many(3)[:1]:
        study.report(trial.number, 1, 0.5)
        study.tell(trial.number, State.COMPLETED)
    fewer = settle.open_study(replace(planned, spec=replace(planned.spec, trials=2)))
    assert fewer.spec.trials == 3


def test_a_total_that_is_less_than_the_trials_that_have_begun_is_said_and_not_kept(
    own: Path, home: Path, ray_cluster: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tuning.sweep(spec(own, "good", trials=2))
    tuning.sweep(spec(own, "good", trials=1))
    assert "--trials 1: 2 trials have begun, which stay and count" in capsys.readouterr().err
    assert notation.load(home / "line" / "spec.yaml").trials == 2


@pytest.mark.parametrize("lost", ["gone", "empty", "begun anew"])
def test_a_study_that_was_lost_is_not_begun_anew_over_what_is_left_of_its_trials(
    own: Path, home: Path, lost: str
) -> None:
    planned = plan.prepare(spec(own, "good"))
    settle.make_home(planned.paths)
    planned = replace(planned, spec=settle.settle_spec(planned.spec, planned.paths))
    for file in ("checkpoints/trial-00000.pt", "resume/cohort-a.pt"):
        storage.write(str(planned.paths.folder / file), b"of a trial")
    if lost == "empty":
        planned.paths.journal.touch()
    elif lost == "begun anew":
        Study(planned.spec, planned.paths.journal, write=True)
    with pytest.raises(tuning.SweepError, match="It has 1 checkpoint and 1 resume state, so this is not"):
        settle.open_study(planned)
    assert (planned.paths.folder / "resume/cohort-a.pt").read_bytes() == b"of a trial"
