"""A user's model that is edited between two commands of a sweep."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tuning import plan, references
from tuning.errors import RequestError
from tuning.plan import Plan
from tuning.settle import open_study, settle_spec, source_doubt
from tuning.spec import SweepSpec

NET = """
import torch

class Net(torch.nn.Sequential):
    def __init__(self, hidden=4):
        super().__init__(torch.nn.Linear(1, hidden), torch.nn.{activation}(), torch.nn.Linear(hidden, {out}))
    def forward(self, x):
        return super().forward(x)[:, :1]
"""


def planned(file: Path, activation: str = "ReLU", out: int = 1, more: str = "") -> Plan:
    """What the next command finds, in a process of its own, once the file is written so."""
    file.write_text(NET.format(activation=activation, out=out) + more)
    references.load_model.cache_clear()
    for name in [name for name in sys.modules if name.startswith(f"tuning_user_{file.stem}_")]:
        del sys.modules[name]
    found = plan.prepare(SweepSpec(model=f"{file}:Net", data="noisy_square", name="mine", epochs=2))
    return replace(found, spec=settle_spec(found.spec, found.paths))


def test_other_parameters_are_refused_once_a_trial_has_trained(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    study = open_study(planned(file))
    study.ask()
    study.report(0, 1, 0.5)
    with pytest.raises(RequestError, match=r"own.py:Net' must be what the sweep 'mine' began with"):
        open_study(planned(file, out=2))
    open_study(planned(file))


def test_what_is_mended_before_anything_has_trained_is_taken(home: Path, tmp_path: Path) -> None:
    """As a model that raised in every trial."""
    file = tmp_path / "own.py"
    open_study(planned(file)).ask()
    study = open_study(planned(file, out=2))
    study.report(0, 1, 0.5)
    with pytest.raises(RequestError, match="began with"):
        open_study(planned(file))


def test_a_model_may_keep_more_than_tensors(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    extra = "    def get_extra_state(self): return {}\n    def set_extra_state(self, state): pass\n"
    assert planned(file, more=extra).fitted.num_parameters == 13


def test_what_changes_no_parameter_is_the_users_to_judge(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    study = open_study(planned(file))
    study.ask()
    assert source_doubt(study, planned(file)) is None
    study.report(0, 1, 0.5)
    assert source_doubt(study, planned(file)) is None
    changed = planned(file, activation="Tanh")
    study = open_study(changed)
    said = source_doubt(study, changed)
    assert said is not None and "own.py:Net has changed since trials were trained" in said
    assert source_doubt(study, changed) is None, "it is said once"
