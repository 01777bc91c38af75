"""A cohort's members train in step, and each ends for its own reasons."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.trials import CPU, run, settings
from tuning.engine import checkpoint, cohort
from tuning.records import Cohort, Member, State, TrialSpec


def members(*hyperparameters: dict[str, Any], epoch: int = 0) -> tuple[Member, ...]:
    return tuple(
        Member(trial=TrialSpec(number=number, hyperparameters=found), epoch=epoch)
        for number, found in enumerate(hyperparameters)
    )


def test_members_report_epoch_by_epoch_as_if_each_were_alone() -> None:
    spec, splits = settings("net", epochs=3)
    task = Cohort(id="a", members=members({"lr": 0.1}, {"lr": 0.01, "dropout": 0.3}), until=3)
    epochs = [reports for reports, _ in cohort.train(task, spec, splits, device=CPU, resume={})]
    assert [[(r.trial, r.epoch) for r in reports] for reports in epochs] == [
        [(0, epoch), (1, epoch)] for epoch in (1, 2, 3)
    ]
    alone = Cohort(id="b", members=task.members[1:], until=3)
    for together, (single, _) in zip(
        epochs, cohort.train(alone, spec, splits, device=CPU, resume={}), strict=True
    ):
        assert together[1].metrics == single[0].metrics


def test_a_member_that_raises_or_diverges_ends_alone(tmp_path: Path) -> None:
    file = tmp_path / "touchy.py"
    file.write_text(
        "import torch\n"
        "class Touchy(torch.nn.Module):\n"
        "    def __init__(self, scale=1.0):\n"
        "        super().__init__()\n"
        "        self.out, self.scale, self.calls = torch.nn.Linear(1, 1), scale, 0\n"
        "    def forward(self, x):\n"
        "        self.calls += self.training\n"
        "        if self.scale < 0 and self.calls > 2:\n"
        "            raise ArithmeticError('touched')\n"
        "        return self.out(x) * self.scale\n"
    )
    spec, splits = settings("net", epochs=3, batch_size=40)
    spec = type(spec)(
        **{**{f: getattr(spec, f) for f in spec.__slots__}, "model": f"{file}:Touchy", "search": {}}
    )
    task = Cohort(id="a", members=members({"lr": 0.1}, {"scale": -1.0}, {"scale": 1e30}), until=3)
    reports = [r for found, _ in cohort.train(task, spec, splits, device=CPU, resume={}) for r in found]
    ends = {report.trial: report for report in reports}
    assert (ends[0].state, ends[0].epoch) == (State.RUNNING, 3)
    assert (ends[1].state, ends[1].epoch) == (State.FAILED, 2)
    assert "ArithmeticError: touched" in str(ends[1].error)
    assert (ends[2].state, ends[2].epoch) == (State.DIVERGED, 1)


def test_a_member_whose_resume_state_was_lost_is_trained_again_to_where_the_others_are() -> None:
    spec, splits = settings("net", epochs=4)
    _, state = run(spec, splits, 2, lr=0.1)
    plain = {**state.to_plain(), "trial": 0}
    task = Cohort(id="a", members=members({"lr": 0.1}, {"lr": 0.01}, epoch=2), until=3)
    ((reports, trainings),) = list(cohort.train(task, spec, splits, device=CPU, resume={0: plain}))
    assert [(report.trial, report.epoch) for report in reports] == [(0, 3), (1, 1), (1, 2), (1, 3)]
    assert [training.epoch for training in trainings] == [3, 3]


def test_resume_state_of_all_members_is_one_file(tmp_path: Path) -> None:
    spec, splits = settings("net", epochs=2)
    task = Cohort(id="a", members=members({"lr": 0.1}, {"lr": 0.01}), until=2)
    first = next(cohort.train(task, spec, splits, device=CPU, resume={}))
    checkpoint.save_resume(str(tmp_path / "cohort-a.pt"), first[1])
    loaded = checkpoint.load_resume(str(tmp_path / "cohort-a.pt"))
    assert sorted(loaded) == [0, 1]
    assert torch.equal(loaded[1]["model"]["hidden.weight"], first[1][1].model["hidden.weight"])
    later = Cohort(id="c", members=members({"lr": 0.1}, {"lr": 0.01}, epoch=1), until=2)
    whole = [r.metrics for found, _ in cohort.train(task, spec, splits, device=CPU, resume={}) for r in found]
    rest = [
        r.metrics for found, _ in cohort.train(later, spec, splits, device=CPU, resume=loaded) for r in found
    ]
    assert rest == whole[2:]


@pytest.mark.parametrize("content", [b"", b"half a fi", b"PK\x03\x04torn"])
def test_a_torn_resume_file_is_refused_as_such(tmp_path: Path, content: bytes) -> None:
    from tuning.errors import CheckpointError

    (tmp_path / "torn.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="torn"):
        checkpoint.load_resume(str(tmp_path / "torn.pt"))
