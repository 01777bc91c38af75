"""Trials trained again as they were: every epoch and every weight comes again to the last bit."""

import itertools
import json
import platform
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tuning
from tests import trusted
from tests.test_cohorts import own
from tuning import ledger, paths, references, storage
from tuning.cli import main
from tuning.engine import machine
from tuning.records import State, TrialRecord
from tuning.spec import Resources, SweepSpec
from tuning.trust import record, replay
from tuning.trust.comparison import Row, near

Damage = Callable[[Path, int], None]


@pytest.fixture(scope="module")
def home(swept_to_trust: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return swept_to_trust


@pytest.fixture
def copy(swept_to_trust: Path, tmp_path: Path) -> Path:
    """A home of the test's own, with the same sweeps."""
    return trusted.copied(swept_to_trust, tmp_path / "copy")


def trials(home: Path, name: str) -> list[tuning.TrialRecord]:
    return ledger.open_sweep(name, str(home)).trials


def compared(home: Path, name: str, trial: tuning.TrialRecord) -> tuple[bool, bool]:
    """Return whether a trial came again to the last bit, and whether that was the standard."""
    found = replay.replay(name, trial.number, str(home)).comparison
    return found.is_equal and found.holds, found.exactly


# ---- the bits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["together", "alone"])
def test_every_trial_of_a_sweep_comes_again_to_the_last_bit(home: Path, name: str) -> None:
    found = [trial for trial in trials(home, name) if trial.values]
    assert len(found) >= 4
    assert {trial.number: compared(home, name, trial) for trial in found} == {
        trial.number: (True, True) for trial in found
    }


def test_the_sweep_of_cohorts_has_all_that_may_happen_to_a_trial(home: Path) -> None:
    """Else the test above would show less than it says."""
    found = trials(home, "together")
    assert {State.COMPLETED, State.PRUNED, State.DIVERGED} == {trial.state for trial in found}
    widths = [[width for _, _, width in trial.stacks] for trial in found]
    assert len({width for of_trial in widths for width in of_trial if width > 1}) > 1
    assert any(one != other for of_trial in widths for one, other in itertools.pairwise(of_trial))
    assert max(slot for trial in found for _, slot, _ in trial.stacks) > 1
    assert {"sgd", "adam", "adagrad"} == {trial.hyperparameters["optimizer"] for trial in found}
    assert all(width == 1 for trial in trials(home, "alone") for _, _, width in trial.stacks)


def test_in_a_stack_of_another_width_not_all_bits_would_be_the_same(copy: Path) -> None:
    journal = copy / "together" / "study.journal"
    alone = re.sub(r'"stacks":\[\[1,\d+,\d+\]', '"stacks":[[1,0,1]', journal.read_text())
    journal.write_text(alone)
    assert not all(compared(copy, "together", trial)[0] for trial in trials(copy, "together")[2:])


def test_one_that_ends_in_the_first_epoch_does_not_hide_where_the_others_train(home: Path) -> None:
    first, other, *_ = trials(home, "together")
    assert not other.values
    assert first.stacks[0] == [1, 0, other.width], "of the stack that both were in"


# Both in the second epoch, after the driver has heard of the first: deaths are counted from an epoch on.
KILL = """\
        if self.training and torch.is_grad_enabled() and len(x) > 4:
            time.sleep(0.15)
            self.steps = getattr(self, 'steps', 0) + 1
            deaths = len(list(self.folder.glob('killed-*')))
            if size > 2 and deaths < 2 and self.steps == 6 - 4 * deaths:
                journal = self.folder / 'home' / 'killed' / 'study.journal'
                while journal.read_text().count('"intermediate_value"') < 4:
                    time.sleep(0.01)
                (self.folder / f'killed-{deaths}').touch()
                os.kill(os.getpid(), signal.SIGKILL)
"""


def test_trials_whose_cohort_died_twice_and_went_on_in_halves_come_again_as_they_went(
    tmp_path: Path, ray_cluster: Any
) -> None:
    spec = own(tmp_path, KILL, name="killed", trials=4, cohort=4, batch_size=20, home=str(tmp_path / "home"))
    result = tuning.sweep(spec)
    assert len(list(tmp_path.glob("killed-*"))) == 2
    together, halves = zip(*(trial.stacks for trial in result.trials), strict=True)
    assert sorted(together) == [[1, slot, 4] for slot in range(4)]
    assert sorted(halves) == [[2, slot, 2] for slot in (0, 0, 1, 1)]
    assert [compared(tmp_path / "home", "killed", trial) for trial in result.trials] == [(True, True)] * 4


# ---- what was tampered with --------------------------------------------------------------------


def best(home: Path) -> tuning.TrialRecord:
    found = ledger.open_sweep("together", str(home)).best
    assert found is not None and found.value is not None
    return found


def history(home: Path, number: int) -> None:
    content = torch.load(paths.checkpoint_file(str(home / "together"), number), weights_only=True)
    content["history"][0]["train_loss"] *= 1 + 1e-12
    trusted.rewrite(home, "together", number, history=content["history"])


def weights(home: Path, number: int) -> None:
    state = torch.load(paths.checkpoint_file(str(home / "together"), number), weights_only=True)["state_dict"]
    state["out.weight"][0, 0] += 1e-6
    trusted.rewrite(home, "together", number, state_dict=state)


def hyperparameters(home: Path, number: int) -> None:
    trusted.rewrite(home, "together", number, hyperparameters={"lr": 0.5})


def study(home: Path, number: int) -> None:
    value = best(home).value
    assert value is not None
    trusted.told(home, "together", repr(value), repr(value * 0.9))


@pytest.mark.parametrize(
    ("damage", "verdict"),
    [
        (history, "1 of 9 epochs differ"),
        (weights, "the best weights differ"),
        (hyperparameters, "study and checkpoint have other hyperparameters"),
        (study, "1 of 9 epochs differ"),
    ],
)
def test_a_record_that_was_tampered_with_is_found(
    copy: Path, damage: Damage, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    number = best(copy).number
    damage(copy, number)
    assert main(["replay", "together", str(number), "--home", str(copy)]) == 1
    assert f"verdict     does NOT hold: {verdict}" in capsys.readouterr().out


# ---- on another machine ------------------------------------------------------------------------


def test_on_another_kind_of_device_it_is_compared_within_a_tolerance_and_said(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = best(copy)
    kind = json.dumps(trial.machines[0][1])
    trusted.told(copy, "together", kind, '"Abacus 3000"')
    assert main(["replay", "together", str(trial.number), "--home", str(copy)]) == 0
    said = capsys.readouterr().out
    assert "standard    equal within 2%, since rounding may differ:" in said
    assert f"it was trained on Abacus 3000, and again on {json.loads(kind)}" in said
    content = torch.load(paths.checkpoint_file(str(copy / "together"), trial.number), weights_only=True)
    content["history"][0]["val_loss"] *= 1.001
    trusted.rewrite(copy, "together", trial.number, history=content["history"], versions={"torch": "1.0"})
    assert main(["replay", "together", str(trial.number), "--home", str(copy)]) == 0, "within 2 %"
    assert "it was trained with torch 1.0, here is " in capsys.readouterr().out
    content["history"][0]["val_loss"] *= 1.1
    trusted.rewrite(copy, "together", trial.number, history=content["history"])
    assert main(["replay", "together", str(trial.number), "--home", str(copy)]) == 1


@pytest.mark.parametrize(
    ("one", "other", "is_near"),
    [
        (1.0, 1.0, True),
        (1.0, 1.019, True),
        (1.0, 1.03, False),
        (float("nan"), float("nan"), True),
        (float("nan"), 1.0, False),
        (float("inf"), float("inf"), True),
        (0.0, 1e-7, True),
    ],
)
def test_what_is_near(one: float, other: float, is_near: bool) -> None:
    assert near(one, other) is is_near


def test_a_value_that_the_study_has_of_a_training_before_a_death_may_round_otherwise() -> None:
    row = Row(
        epoch=2, recorded={"val_loss": 1.0}, replayed={"val_loss": 1.0}, told=1.0 + 1e-9, metric="val_loss"
    )
    assert not row.is_equal and not row.holds(exactly=True)
    assert replace(row, is_repeated=True).holds(exactly=True)
    assert not replace(row, is_repeated=True, told=2.0).holds(exactly=True)


def test_on_a_gpu_no_bits_are_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "kind", lambda device: "NVIDIA L4")
    trial = TrialRecord(number=0, state=State.COMPLETED, hyperparameters={}, machines=((1, "NVIDIA L4", 1),))
    spec = SweepSpec(model="net", resources=Resources(gpus=1))
    versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
    found = record.rounding(spec, trial, {"versions": versions}, (), torch.device("cuda:0"))
    assert found == ["it is trained on a GPU, where kernels may add in another order each time"]


# ---- what cannot be replayed -------------------------------------------------------------------


def test_a_trial_without_a_checkpoint_or_with_other_data_has_one_clear_message(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trusted.rewrite(copy, "together", 2, fingerprint="other")
    storage.remove(paths.checkpoint_file(str(copy / "together"), 3))
    assert main(["replay", "together", "2", "--home", str(copy)]) == 1
    assert "is not what trial 2 was trained on: its fingerprint differs" in capsys.readouterr().err
    assert main(["replay", "together", "3", "--home", str(copy)]) == 1
    assert "There is no checkpoint" in capsys.readouterr().err
    assert main(["replay", "together", "1", "--home", str(copy)]) == 2
    assert "Trial 1 diverged before one epoch was finite" in capsys.readouterr().err
    assert main(["replay", "together", "99", "--home", str(copy)]) == 2
    assert "has no trial 99; it has 0 to 15" in capsys.readouterr().err
    assert main(["replay", "other", "0", "--home", str(copy)]) == 2
    assert "other" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("0", "Trial 0 failed (ValueError: no): it has no whole curve"),
        (
            "1",
            "Trial 1 must have ended to be compared with, but it is interrupted; `tuning resume demo --home ",
        ),
    ],
)
def test_a_trial_without_a_whole_curve_is_refused(
    unfinished: Path, number: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", "demo", number, "--home", str(unfinished)]) == 2
    assert message in capsys.readouterr().err


# ---- what it says ------------------------------------------------------------------------------


def test_a_replay_is_told_epoch_by_epoch_and_as_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trial = best(home)
    assert main(["replay", "together", str(trial.number), "--home", str(home)]) == 0
    said = capsys.readouterr().out
    assert repr(trial.value) in said and said.count("  yes\n") == 9
    assert "standard    equal to the last bit" in said
    assert f"weights     of epoch {trial.epoch}: equal to the last bit" in said
    assert main(["replay", "together", str(trial.number), "--home", str(home), "--json"]) == 0
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (facts["holds"], facts["equal_bits"], facts["standard"], facts["why"]) == (True, True, "bits", [])
    assert [row["epoch"] for row in facts["epochs"]] == list(range(1, 10))
    assert all(row["recorded"] == row["replayed"] and row["equal"] for row in facts["epochs"])


def test_that_the_models_code_has_changed_since_is_said(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ledger.open_sweep("alone", str(copy)).spec.model
    trusted.told(copy, "alone", str(references.source_hash(model)), "0" * 64)
    assert main(["replay", "alone", "2", "--home", str(copy)]) == 0
    said = capsys.readouterr().out
    assert f"warning     the code of {model} has changed since trials were trained" in said
    assert main(["replay", "together", "2", "--home", str(copy)]) == 0
    assert "warning" not in capsys.readouterr().out


def test_a_trial_that_diverged_diverges_again(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trials(home, "together")[0].state is State.DIVERGED
    assert main(["replay", "together", "0", "--home", str(home), "--json"]) == 0
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert len(facts["epochs"]) == 3
    assert facts["epochs"][-1]["recorded"] == {"train_loss": None, "val_loss": None} and facts["equal_bits"]
