"""What a worker keeps of an epoch at which the driver ends its cohort."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tuning import attempts, paths, plan, storage
from tuning.engine import resume_state
from tuning.records import Cohort, Member, State, TrialSpec
from tuning.schedule import outbox, trainable
from tuning.schedule.messages import KEY, decode
from tuning.schedule.work import Work
from tuning.spec import SweepSpec


def test_the_epoch_in_which_a_member_ends_is_kept_of_the_others_where_the_sweep_is_interrupted(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver hears of the member's end, answers that the cohort shall stop, and Tune ends the thread."""
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
    told: list[tuple[int, State]] = []

    def interrupt(report: dict[str, Any]) -> None:
        told.extend((one.trial, one.state) for one in decode(report[KEY]).reports)
        raise SystemExit(0)

    monkeypatch.setattr(outbox.tune, "report", interrupt)
    with pytest.raises(SystemExit):
        trainable._train(task, work, planned.splits, torch.device("cpu"), 0.0)
    assert told == [(1, State.DIVERGED)]
    kept = resume_state.load(paths.resume_file(folder, paths.resume_name("c-1")))
    assert {number: state["epoch"] for number, state in kept.items()} == {0: 1}
    assert storage.exists(paths.checkpoint_file(folder, 1)) is False, "no epoch of it was finite"
