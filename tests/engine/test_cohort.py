"""A cohort's members train in step, together where they can, and each ends for its own reasons."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.trials import CPU, run, settings
from tuning.data import Splits
from tuning.engine import cohort, optimizers, resume_state, stacked
from tuning.engine.solo import Training
from tuning.engine.stacked import StackedTraining, members
from tuning.errors import CheckpointError
from tuning.records import Cohort, EpochReport, Member, State, TrialSpec
from tuning.spec import SweepSpec

NUMBERS = (
    {"lr": 1e-5, "momentum": 0.9, "dropout": 0.02, "bn_momentum": 0.1},
    {"lr": 3e-5, "momentum": 0.1, "dropout": 0.08, "bn_momentum": 0.9},
    {"lr": 1e-6, "momentum": 0.5, "dropout": 0.05, "bn_momentum": 0.5},
)
"""Three trials that differ in numbers only, so slow that no rounding grows to be seen."""


def task(*hyperparameters: dict[str, Any], epoch: int = 0, until: int = 3) -> Cohort:
    members = (
        Member(trial=TrialSpec(number=number, hyperparameters=found), epoch=epoch)
        for number, found in enumerate(hyperparameters)
    )
    return Cohort(id="a", members=tuple(members), until=until)


def train(
    given: Cohort, spec: SweepSpec, splits: Splits, resume: dict[int, dict[str, Any]] | None = None
) -> list[cohort.Epoch]:
    """Return every epoch; their reports stay, their states are those of the last."""
    return list(cohort.train(given, spec, splits, device=CPU, resume=resume or {}))


def reports_of(epochs: list[cohort.Epoch], number: int) -> list[EpochReport]:
    return [report for epoch in epochs for report in epoch.reports if report.trial == number]


def training(epoch: cohort.Epoch, number: int) -> Training:
    """Return a member's whole state."""
    ((kind, state),) = epoch.to_plain([number])[0].items()
    (member,) = [state] if kind == "single" else members(state, None)
    return Training(**member)


def own_model(tmp_path: Path, code: str) -> tuple[SweepSpec, Splits]:
    """Settings of a model that stands in a file of the user's own, as `Own`."""
    file = tmp_path / "own.py"
    file.write_text("import torch\n" + code)
    spec, splits = settings("net", epochs=3, batch_size=40)
    return replace(spec, model=f"{file}:Own", search={}), splits


def assert_close(together: list[EpochReport], alone: list[EpochReport]) -> None:
    assert [(r.trial, r.epoch, r.state) for r in together] == [(r.trial, r.epoch, r.state) for r in alone]
    for a, b in zip(together, alone, strict=True):
        assert a.metrics == pytest.approx(b.metrics, rel=1e-3)


def test_members_that_differ_in_numbers_train_as_one_program_and_report_as_if_alone() -> None:
    spec, splits = settings("batchnorm_net", epochs=3)
    epochs = train(task(*NUMBERS), spec, splits)
    assert isinstance(epochs[0].parts[0], StackedTraining)
    assert len(set(map(id, epochs[0].parts.values()))) == 1 and not epochs[0].notes
    assert [[(r.trial, r.epoch) for r in epoch.reports] for epoch in epochs] == [
        [(0, epoch), (1, epoch), (2, epoch)] for epoch in (1, 2, 3)
    ]
    for number, found in enumerate(NUMBERS):
        alone = replace(task(found, until=1), members=(task(*NUMBERS).members[number],))
        assert_close(reports_of(epochs, number)[:1], reports_of(train(alone, spec, splits), number))


def test_members_in_turn_train_to_the_bit_as_if_each_had_come_alone() -> None:
    spec, splits = settings("batchnorm_net", epochs=3)
    in_turn = train(replace(task(*NUMBERS), is_stacked=False), spec, splits)
    assert not any(epoch.stacks() or epoch.notes for epoch in in_turn)
    for number, member in enumerate(task(*NUMBERS).members):
        alone = train(replace(task(*NUMBERS), members=(member,)), spec, splits)
        found, expected = reports_of(in_turn, number), reports_of(alone, number)
        assert [report.metrics for report in found] == [report.metrics for report in expected]


def test_members_are_grouped_by_structure_optimizer_and_batch_size() -> None:
    spec, splits = settings("net", epochs=1)
    given = task(
        {"lr": 0.1, "n_hidden": 4},
        {"lr": 0.2, "n_hidden": 8},
        {"lr": 0.3, "n_hidden": 4},
        {"lr": 0.4, "n_hidden": 4, "optimizer": "adam"},
        {"lr": 0.5, "n_hidden": 4, "batch_size": 8},
        {"lr": 0.6, "n_hidden": 8},
        {"lr": 0.7, "n_hidden": 4, "activation": "tanh"},
        {"lr": 0.8, "n_hidden": 4, "batch_size": 8},
        until=1,
    )
    (epoch,) = train(given, spec, splits)
    together: dict[int, list[int]] = {}
    for number, part in epoch.parts.items():
        together.setdefault(id(part), []).append(number)
    assert sorted(together.values()) == [[0, 2], [1, 5], [3], [4, 7], [6]]
    assert sorted(report.trial for report in epoch.reports) == list(range(8))


def test_a_member_that_diverges_ends_alone_and_leaves_the_others_bit_equal() -> None:
    spec, splits = settings("batchnorm_net", epochs=3)
    wild = {"lr": 1e30, "momentum": 0.0, "dropout": 0.05, "bn_momentum": 0.5}
    with_it = train(task(NUMBERS[0], wild, NUMBERS[1]), spec, splits)
    last = reports_of(with_it, 1)[-1]
    assert last.state is State.DIVERGED and last.epoch < 3
    tame = {**wild, "lr": 1e-3}
    without = train(task(NUMBERS[0], tame, NUMBERS[1]), spec, splits)
    for number in (0, 2):
        found, expected = (reports_of(epochs, number) for epochs in (with_it, without))
        assert [report.metrics for report in found] == [report.metrics for report in expected]
        a, b = (training(epochs[-1], number) for epochs in (with_it, without))
        assert a is not None and b is not None
        assert all(torch.equal(a.model[key], b.model[key]) for key in a.model)


def test_a_member_that_raises_ends_alone(tmp_path: Path) -> None:
    spec, splits = own_model(
        tmp_path,
        "class Own(torch.nn.Module):\n"
        "    def __init__(self, scale=1.0):\n"
        "        super().__init__()\n"
        "        self.out, self.scale, self.calls = torch.nn.Linear(1, 1), scale, 0\n"
        "    def forward(self, x):\n"
        "        self.calls += self.training\n"
        "        if self.scale < 0 and self.calls > 2:\n"
        "            raise ArithmeticError('touched')\n"
        "        return self.out(x) * self.scale\n",
    )
    epochs = train(task({"lr": 0.1}, {"scale": -1.0}, {"scale": 1e30}, {"lr": 0.2}), spec, splits)
    ends = [reports_of(epochs, number)[-1] for number in range(4)]
    assert [(end.state, end.epoch) for end in ends] == [
        (State.RUNNING, 3),
        (State.FAILED, 2),
        (State.DIVERGED, 1),
        (State.RUNNING, 3),
    ]
    assert "ArithmeticError: touched" in str(ends[1].error)


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        ("return self.out(x) if self.out(x).sum() > 0 else self.out(x)", "data-dependent control flow"),
        ("return torch.nn.functional.dropout(self.out(x), 0.1, self.training)", "random"),
        ("return self.out(x) + 0 * torch.histc(self.out(x).detach(), 4).sum()", "aten::histc"),
    ],
    ids=["control flow", "random operation", "no batching rule"],
)
def test_a_model_that_cannot_be_stacked_trains_one_by_one_and_says_why(
    tmp_path: Path, forward: str, reason: str
) -> None:
    spec, splits = own_model(
        tmp_path,
        "class Own(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.out = torch.nn.Linear(1, 1)\n"
        f"    def forward(self, x):\n        {forward}\n",
    )
    together = train(task({"lr": 0.1}, {"lr": 0.01}), spec, splits)
    notes = [note for epoch in together for note in epoch.notes]
    assert len(notes) == 1 and "train one by one" in notes[0] and reason in notes[0]
    assert "own.py:7, `" + forward.split()[0] in notes[0] and "\n" not in notes[0]
    for number, found in enumerate(({"lr": 0.1}, {"lr": 0.01})):
        alone = replace(task(found), members=(task({"lr": 0.1}, {"lr": 0.01}).members[number],))
        expected = reports_of(train(alone, spec, splits), number)
        assert [report.metrics for report in reports_of(together, number)] == [r.metrics for r in expected]


def test_a_model_that_fails_to_stack_in_a_later_epoch_goes_on_one_by_one(tmp_path: Path) -> None:
    spec, splits = own_model(
        tmp_path,
        "class Own(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.out, self.calls = torch.nn.Linear(1, 1), 0\n"
        "    def forward(self, x):\n"
        "        self.calls += self.training\n"
        "        y = self.out(x)\n"
        "        return y if self.calls < 3 or float(y.detach().sum()) else y\n",
    )
    epochs = train(task({"lr": 0.1}, {"lr": 0.01}), spec, splits)
    assert [len(epoch.notes) for epoch in epochs] == [0, 1, 0]
    assert [(r.trial, r.epoch) for r in epochs[1].reports] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    for number in (0, 1):
        found = {report.epoch: report.metrics for report in reports_of(epochs, number)}
        assert sorted(found) == [1, 2, 3]
    assert epochs[2].parts[0] is not epochs[2].parts[1]


def test_a_member_whose_resume_state_was_lost_is_trained_again_to_where_the_others_are() -> None:
    spec, splits = settings("net", epochs=4)
    _, state = run(spec, splits, 2, lr=0.1)
    plain = {**state.to_plain(), "trial": 0}
    (epoch,) = train(task({"lr": 0.1}, {"lr": 0.01}, epoch=2), spec, splits, {0: plain})
    assert [(report.trial, report.epoch) for report in epoch.reports] == [(0, 3), (1, 1), (1, 2), (1, 3)]
    trainings = [training(epoch, number) for number in (0, 1)]
    assert [found.epoch for found in trainings] == [3, 3]


def test_members_whose_resume_state_was_lost_train_together_all_the_same() -> None:
    spec, splits = settings("net", epochs=4)
    _, state = run(spec, splits, 2, lr=0.1)
    resume = {number: {**state.to_plain(), "trial": number} for number in (0, 1)}
    given = task({"lr": 0.1}, {"lr": 0.01}, {"lr": 0.2}, {"lr": 0.02}, epoch=2)
    (epoch,) = train(given, spec, splits, resume)
    assert epoch.notes == [] and epoch.stacks() == [[0, 1], [2, 3]]
    assert [training(epoch, number).epoch for number in range(4)] == [3, 3, 3, 3]


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adagrad", "adam"])
def test_resume_state_of_all_members_is_one_file_from_which_they_go_on(
    tmp_path: Path, optimizer: str
) -> None:
    spec, splits = settings("batchnorm_net", epochs=4)
    numbers = [{**found, "optimizer": optimizer} for found in NUMBERS]
    if optimizer == "adagrad":
        numbers = [{key: value for key, value in found.items() if key != "momentum"} for found in numbers]
    file = str(tmp_path / "cohort-a.pt")
    half = train(task(*numbers, until=2), spec, splits)[-1]
    resume_state.save(file, half.to_plain([0, 1, 2]))
    loaded = resume_state.load(file)
    assert sorted(loaded) == [0, 1, 2] and loaded[1]["epoch"] == 2 and len(loaded[1]["history"]) == 2

    whole = train(task(*numbers, until=4), spec, splits)
    rest = train(task(*numbers, epoch=2, until=4), spec, splits, loaded)
    for number in range(3):
        found, expected = reports_of(rest, number), reports_of(whole, number)[2:]
        assert [report.metrics for report in found] == [report.metrics for report in expected]
        a, b = (training(epochs[-1], number) for epochs in (rest, whole))
        assert a is not None and b is not None and a.history == b.history
        assert a.best is not None and b.best is not None and a.best["epoch"] == b.best["epoch"]
        assert all(
            torch.equal(a.best["state_dict"][key], b.best["state_dict"][key]) for key in b.best["state_dict"]
        )


def test_rows_that_a_cache_takes_one_by_one_come_to_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, splits = settings("batchnorm_net", epochs=4)
    together = train(task(*NUMBERS, until=4), spec, splits)
    monkeypatch.setattr(optimizers, "BLOCK", 1)
    monkeypatch.setattr(stacked, "LARGE", 1)
    one_by_one = train(task(*NUMBERS, until=4), spec, splits)
    for number in range(3):
        a, b = (training(epochs[-1], number) for epochs in (together, one_by_one))
        assert a is not None and b is not None and a.history == b.history
        assert a.best is not None and b.best is not None and a.best["epoch"] == b.best["epoch"]
        for key, tensor in a.best["state_dict"].items():
            assert torch.equal(tensor, b.best["state_dict"][key])


def test_members_change_between_cohorts_and_engines_from_their_resume_state(tmp_path: Path) -> None:
    """Alone, in a stack of three, in a stack of two, alone again: as if alone throughout."""
    spec, splits = settings("batchnorm_net", epochs=4)
    given = task(*NUMBERS)
    state: dict[int, dict[str, Any]] = {}
    for epoch, together in enumerate([[(0,), (1,), (2,)], [(2, 0, 1)], [(1, 0), (2,)], [(0,), (1,), (2,)]]):
        found: dict[int, dict[str, Any]] = {}
        for index, chosen in enumerate(together):
            members = tuple(replace(given.members[number], epoch=epoch) for number in chosen)
            piece = Cohort(id=f"{epoch}-{index}", members=members, until=epoch + 1)
            resume = {number: state[number] for number in chosen if number in state}
            last = train(piece, spec, splits, resume)[-1]
            resume_state.save(str(tmp_path / "states.pt"), last.to_plain(chosen))
            found |= resume_state.load(str(tmp_path / "states.pt"))
        state = found
    for number in range(3):
        alone = train(replace(given, members=(given.members[number],), until=4), spec, splits)
        for metrics, report in zip(state[number]["history"], reports_of(alone, number), strict=True):
            assert metrics == pytest.approx(report.metrics, rel=1e-3)
        whole = training(alone[-1], number)
        assert state[number]["model"].keys() == whole.model.keys()


def test_a_resume_file_holds_no_member_that_has_ended(tmp_path: Path) -> None:
    spec, splits = settings("net", epochs=2)
    (first, *_) = cohort.train(task({"lr": 0.1}, {"lr": 0.2}), spec, splits, device=CPU, resume={})
    resume_state.save(str(tmp_path / "one.pt"), first.to_plain([1]))
    loaded = resume_state.load(str(tmp_path / "one.pt"))
    assert sorted(loaded) == [1]
    assert torch.equal(loaded[1]["model"]["hidden.weight"], training(first, 1).model["hidden.weight"])


@pytest.mark.parametrize("content", [b"", b"half a fi", b"PK\x03\x04torn"])
def test_a_torn_resume_file_is_refused_as_such(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "torn.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="torn"):
        resume_state.load(str(tmp_path / "torn.pt"))


ALONE = (
    "class Own(torch.nn.Module):\n"
    "    def __init__(self):\n"
    "        super().__init__()\n"
    "        self.out = torch.nn.Linear(1, 1)\n"
    "    def forward(self, x):\n"
    "        if self.out(x).sum() > 1e9: x = -x\n"  # so that it cannot be stacked
    "        if len(x) > 4: raise {error}\n"
    "        return self.out(x)\n"
)


@pytest.mark.parametrize(
    "error",
    [
        "torch.OutOfMemoryError('CUDA out of memory')",
        "MemoryError()",
        "torch.AcceleratorError('CUDA error: out of memory')",
        "RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`')",
    ],
)
def test_members_that_train_one_by_one_may_be_too_many_for_the_memory_too(tmp_path: Path, error: str) -> None:
    spec, splits = own_model(tmp_path, ALONE.replace("{error}", error))
    with pytest.raises((torch.OutOfMemoryError, MemoryError, RuntimeError)):
        train(task({"lr": 0.1}, {"lr": 0.01}), spec, splits)
    (epoch,) = train(task({"lr": 0.1}), spec, splits)
    assert [report.state for report in epoch.reports] == [State.FAILED], "of one alone it is its own fault"


@pytest.mark.parametrize("trials", [1, 2])
def test_a_lost_device_is_no_fault_of_the_member_that_meets_it(tmp_path: Path, trials: int) -> None:
    error = "torch.AcceleratorError('CUDA error: device-side assert triggered')"
    spec, splits = own_model(tmp_path, ALONE.replace("{error}", error))
    with pytest.raises(torch.AcceleratorError):
        train(task(*[{"lr": 0.1}] * trials), spec, splits)


def test_the_last_line_of_a_failure_is_what_it_is_also_of_an_error_of_many_lines(tmp_path: Path) -> None:
    error = "RuntimeError('shapes differ\\nCompile with MORE=1 to learn more.')"
    spec, splits = own_model(tmp_path, ALONE.replace("{error}", error))
    (epoch,) = train(task({"lr": 0.1}), spec, splits)
    (report,) = epoch.reports
    assert report.error is not None and "Compile with MORE=1" in report.error
    assert report.error.splitlines()[-1] == "RuntimeError: shapes differ (at own.py:8)"
