"""What a worker keeps of an epoch at which the driver ends its cohort."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tuning import attempts, paths, plan, storage
from tuning.plan import Plan
from tuning.records import Cohort, Member, State, TrialSpec
from tuning.schedule import outbox, saving, trainable
from tuning.schedule.messages import KEY, decode
from tuning.schedule.work import Work
from tuning.spec import SweepSpec


def begun(tmp_path: Path) -> tuple[Cohort, Work, Plan]:
    """A cohort of two, of which the second diverges in its first epoch."""
    planned = plan.prepare(SweepSpec(model="net", epochs=3))
    trials = [TrialSpec(number=n, hyperparameters={"lr": lr}) for n, lr in enumerate((0.01, 1e30))]
    task = Cohort(id="c-1", members=tuple(Member(trial=trial) for trial in trials), until=3)
    folder = str(tmp_path)
    work = Work(
        spec=planned.spec,
        folder=folder,
        attempt=attempts.begin(folder),
        versions={},
        fingerprint="",
        num_outputs=1,
        data=None,
        gate=None,
        workers=1,
    )
    return task, work, planned


def test_the_epoch_in_which_a_member_ends_is_kept_of_the_others_where_the_sweep_is_interrupted(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver hears of the member's end, answers that the cohort shall stop, and Tune ends the thread."""
    task, work, planned = begun(tmp_path)
    told: list[tuple[int, State]] = []
    saved: list[dict[int, int]] = []

    def interrupt(report: dict[str, Any]) -> None:
        told.extend((one.trial, one.state) for one in decode(report[KEY]).reports)
        states = saving.resume_states(Cohort(id="c-1", members=task.members[:1], until=3), work)
        saved.append({number: state["epoch"] for number, state in states.items()})
        raise SystemExit(0)

    monkeypatch.setattr(outbox.tune, "report", interrupt)
    with pytest.raises(SystemExit):
        trainable._train(task, work, planned.splits, torch.device("cpu"), 0.0)
    assert told == [(1, State.DIVERGED)]
    assert saved == [{0: 1}], "before the driver hears of the end"
    assert storage.exists(paths.checkpoint_file(work.folder, 1)) is False, "no epoch of it was finite"


def test_once_the_end_is_told_the_others_go_on_from_the_cohorts_own_file(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    task, work, planned = begun(tmp_path)
    monkeypatch.setattr(outbox.tune, "report", lambda report: told.append(len(decode(report[KEY]).reports)))
    trainable._train(task, work, planned.splits, torch.device("cpu"), 0.0)
    assert sum(told) == 4, "three epochs of one, one of the other"
    assert storage.names(paths.resume_folder(str(tmp_path))) == [paths.resume_name("c-1")]
