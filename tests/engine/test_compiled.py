"""A compiled step computes what the step computes, or is not compiled, and that is said."""

import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._inductor.config
from torch import Tensor, nn

from tests.engine import stacks
from tuning.data import Splits
from tuning.engine import compiled
from tuning.engine.stack import Stack
from tuning.records import TrialSpec
from tuning.spec import SweepSpec

TRIALS: list[dict[str, Any]] = [
    {"lr": 1e-3, "momentum": 0.0, "dropout": 0.1, "bn_momentum": 0.05},
    {"lr": 3e-3, "momentum": 0.9, "dropout": 0.3, "bn_momentum": 0.3},
    {"lr": 1e-2, "momentum": 0.5, "dropout": 0.5, "bn_momentum": 0.9},
]

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="TorchInductor needs a C++ compiler")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compile at the first step, and share no graphs with other tests."""
    monkeypatch.setattr(compiled, "HOT_S", 0.0)
    monkeypatch.setattr(compiled, "_KEPT", [])
    yield
    torch._dynamo.reset()


class Small(nn.Module):
    """One layer of each kind, and a buffer that the model changes itself."""

    calls: Tensor
    always_counts = False

    def __init__(self, rate: float, momentum: float) -> None:
        super().__init__()
        self.hidden, self.norm = nn.Linear(1, 8), nn.BatchNorm1d(8, momentum=momentum)
        self.drop, self.out = nn.Dropout(rate), nn.Linear(8, 1)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training or self.always_counts:
            self.calls += 1
        y: Tensor = self.out(self.drop(torch.tanh(self.norm(self.hidden(x)))))
        return y


class AlwaysCounting(Small):
    """Changes its buffer also where it is measured."""

    always_counts = True


class Counting(Small):
    """Computes something else at every step, by a number that is no tensor."""

    steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        return super().forward(x) / self.steps


class Warming(Small):
    """Keeps count for a later step, in which it will compute something else."""

    steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        return super().forward(x) if self.steps < 1000 else x


class Drawing(Small):
    """Draws numbers that no stack knows of."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * random.random()


def small(kind: type[Small]) -> tuple[SweepSpec, Splits, Stack, list[stacks.Alone]]:
    """Return a stack of three models, to be compiled, and the same models alone."""
    spec, splits = stacks.documented("net", 60, batch_size=30)
    spec = replace(spec, compile=True)
    trials = [TrialSpec(number=number, hyperparameters=found) for number, found in enumerate(TRIALS)]
    torch.manual_seed(0)
    built = [kind(found["dropout"], found["bn_momentum"]).double() for found in TRIALS]
    stack = stacks.stacked(trials, built, spec, splits)
    return spec, splits, stack, [stacks.alone(t, m, spec) for t, m in zip(trials, built, strict=True)]


def graphs() -> list[compiled.Graphs]:
    return [found for _, by_key in compiled._KEPT for found in by_key.values()]


def has_compiled() -> bool:
    return any(graph.run is not None for found in graphs() for graph in found.values())


@needs_compiler
def test_compiled_steps_are_those_of_each_member_alone() -> None:
    spec, splits, stack, members = small(Small)
    assert stacks.steps_agree(stack, members, spec, splits) == 2 * 2 * 3
    assert stack.notes() == ["compiled: the step of 3 trials"] and has_compiled()


@needs_compiler
def test_compiled_steps_hand_on_the_hidden_state_of_a_recurrent_model() -> None:
    spec, splits = stacks.documented("rnn", 6)
    trials = [{"lr": 1e-3, "momentum": m} for m in (0.0, 0.5, 0.9)]
    stack, members = stacks.build(replace(spec, compile=True), splits, trials)
    assert stacks.steps_agree(stack, members, spec, splits) == 2 * 3 * stacks.batches(spec, splits).steps
    (found,) = graphs()
    assert all(graph.run is not None for graph in found.values())
    assert len(found) == 2, "the first batch has no hidden state yet"


@needs_compiler
def test_a_compiled_evaluation_measures_the_same() -> None:
    spec, splits, stack, _ = small(Small)
    first = stack.evaluate(stacks.batches(spec, splits).in_order())
    assert stack.notes() == ["compiled: the evaluation of 3 trials"]
    again = stack.evaluate(stacks.batches(spec, splits).in_order())
    assert again == [{"val_loss": pytest.approx(found["val_loss"], rel=1e-12)} for found in first]


def test_an_evaluation_that_changes_a_buffer_is_not_compiled() -> None:
    spec, splits, stack, _ = small(AlwaysCounting)
    stack.evaluate(stacks.batches(spec, splits).in_order())
    assert stack.notes() == ["the evaluation is not compiled: the model changes a buffer in place"]


@needs_compiler
def test_stacks_of_one_structure_share_their_graphs_and_others_do_not() -> None:
    spec, splits, stack, _ = small(Small)
    inputs, targets = next(stacks.batches(spec, splits).shuffled(0, 1))
    stack.gradients(inputs, targets, (), 0)
    assert stack.notes()
    _, _, second, _ = small(Small)
    second.gradients(inputs, targets, (), 0)
    assert not second.notes() and len(graphs()) == 1, "it found the graph that there was"
    _, _, other, _ = small(Warming)
    other.gradients(inputs, targets, (), 0)
    assert len(graphs()) == 2


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Counting, "what the model computes changes from step to step"),
        (Drawing, "what the model computes changes from step to step"),
        (Warming, "the model sets its `steps` at every step"),
    ],
)
def test_a_model_that_changes_other_than_by_tensors_stays_as_it_is(kind: type[Small], why: str) -> None:
    spec, splits, stack, _ = small(kind)
    stack.train_epoch(stacks.batches(spec, splits).shuffled(0, 1), 0)
    (note,) = stack.notes()
    assert why in note and not has_compiled()
    stack.train_epoch(stacks.batches(spec, splits).shuffled(0, 2), 2)
    assert not stack.notes(), "it is tried and said once"


def test_without_a_compiler_training_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing that was compiled before
    spec, splits, stack, members = small(Small)
    with torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}):
        assert stacks.steps_agree(stack, members, spec, splits) == 2 * 2 * 3
    (note,) = stack.notes()
    assert note.startswith("the step is not compiled: ") and "compiler" in note and not has_compiled()


@needs_compiler
def test_a_graph_that_computes_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_it = torch.compile

    def wrong(graph: Any, **options: Any) -> Any:
        run: Any = compile_it(graph, **options)
        return lambda *arguments: torch.utils._pytree.tree_map(lambda leaf: leaf * 1.1, run(*arguments))

    monkeypatch.setattr(torch, "compile", wrong)
    spec, splits, stack, members = small(Small)
    assert stacks.steps_agree(stack, members, spec, splits) == 2 * 2 * 3
    assert stack.notes() == [
        "the step is not compiled: the compiled step does not compute what the model does"
    ]


def test_results_agree_but_for_rounding_and_for_trials_that_diverge() -> None:
    expected = {"loss": torch.tensor([1.0, 2.0, torch.nan, 1e9]), "gradient": torch.ones(4, 5)}
    rounded = {"loss": torch.tensor([1.0001, 2.0, torch.nan, 2e9]), "gradient": torch.ones(4, 5)}
    assert compiled.agree(rounded, expected)
    other = {"loss": torch.tensor([1.1, 2.0, torch.nan, 1e9]), "gradient": torch.ones(4, 5)}
    assert not compiled.agree(other, expected)
