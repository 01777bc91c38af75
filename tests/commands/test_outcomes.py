"""What `tuning sweep` and `tuning resume` say of a sweep when it ends."""

import re
from pathlib import Path
from typing import Any

import pytest

from tuning import storage
from tuning.cli import main
from tuning.commands.sweep import outcome
from tuning.endings import Ending
from tuning.run import SweepResult
from tuning.study import Study
from tuning.trust import verdict


def ended(demo: Any, ending: Ending | None) -> SweepResult:
    """Return how the sweep `demo` ended: as far as its outcome asks, the rest is read anew."""
    trials = Study(demo.spec, demo.paths.journal, write=False).trials()
    where = demo.paths
    return SweepResult(
        name=where.name, home=str(where.home), trials=trials, best=None, total=9, wall_s=1.0, ending=ending
    )


def test_after_ctrl_c_a_trial_is_named_that_is_ahead_of_the_best_that_counts(
    demo: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    _, text, code = outcome(ended(demo, Ending.INTERRUPTED))
    assert code == 130
    first, ahead = text.splitlines()
    assert first.endswith("best val_loss=0.25 (trial 1)")
    assert ahead.strip() == "(of those that completed; trial 3, interrupted, has 0.125)"
    assert capsys.readouterr().err == "interrupted; resume with: tuning resume demo\n"


def test_a_sweep_that_ends_says_how_to_learn_whether_its_best_is_real_until_it_was_asked(demo: Any) -> None:
    _, text, code = outcome(ended(demo, None))
    assert code == 0
    assert "is it real  tuning confirm demo" in text.splitlines()
    one = verdict.summary(1, 0.25, [(0.25, {"test_loss": 0.3}), (0.26, {"test_loss": 0.4})], "val_loss")
    assert one is not None
    study = Study(demo.spec, demo.paths.journal, write=True)
    study.facts.set_confirmation(verdict.judge("val_loss", "min", 2, [one]).to_plain())
    assert "is it real" not in outcome(ended(demo, None))[1]


@pytest.mark.parametrize(
    "command", [["report"], ["confirm"], ["best"], ["inspect"], ["export", "--to", "x.pt"]]
)
def test_a_sweep_that_died_before_anything_was_settled_says_that_it_has_nothing_yet(
    command: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage.write(str(home / "young" / "spec.yaml"), b"model: net\nname: young\nid: 1-2-3\ntrials: 2\n")
    assert main([command[0], "young", *command[1:]]) == 1
    assert re.search(
        r"has no .*trial.* \(0 of 2 have ended\); go on with `tuning resume young`", capsys.readouterr().err
    )
