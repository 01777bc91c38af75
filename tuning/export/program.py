"""A trained model as one program of `torch.export`: for any number of rows, and compared with the model.

The program is called as the model is. A model that hands its hidden state on (`engine.solo.predict`) takes it
as a second input, which the model itself lets stand for zeros: `output, hidden = program(input, hidden)`. Of
one that returns more beside its output and takes none of it, the program returns the output alone.
"""

import contextlib
import inspect
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from tuning.errors import SweepError, at_line, one_line

BATCHES = (1, 2, 7)
"""Numbers of rows with which a program is compared with its model."""

RTOL, ATOL = 1e-3, 1e-5
"""How far outputs may lie apart: what `torch.onnx` allows for other kernels in float32."""

BATCH = "batch"


@dataclass(frozen=True, slots=True)
class Slot:
    """An input or output of a program: its axes are numbers, or `batch`."""

    name: str
    dtype: torch.dtype
    axes: tuple[int | str, ...]

    def shape(self, rows: int) -> tuple[int, ...]:
        return tuple(rows if isinstance(axis, str) else axis for axis in self.axes)

    def __str__(self) -> str:
        axes = ", ".join(map(str, self.axes)) + ("," if len(self.axes) == 1 else "")
        return f"{self.name}: {str(self.dtype).removeprefix('torch.')} ({axes})"


@dataclass(frozen=True, slots=True)
class Program:
    """A model's forward pass with its weights."""

    model: nn.Module
    """What was traced: the trained one, or that without what it returns beside its output."""
    exported: torch.export.ExportedProgram
    inputs: list[Slot]
    """The rows, then the tensors of a hidden state if there is one."""
    outputs: list[Slot]
    layout: Any
    """How the hidden state's tensors hang together; None without one."""
    difference: float
    """The largest one from the model's outputs, of `BATCHES`."""

    def arguments(self, rows: int) -> tuple[Any, ...]:
        """Return made-up inputs of so many rows, and the hidden state that stands at a beginning."""
        first, *hidden = self.inputs
        return _arguments(made_up(first, rows), [torch.zeros(h.shape(rows)) for h in hidden], self.layout)

    def encoded(self, notes: dict[str, str]) -> bytes:
        """Return the file that `torch.export.load` opens; `notes` are its `extra_files`."""
        buffer = io.BytesIO()
        with quiet():
            torch.export.save(self.exported, buffer, extra_files=notes)
        return buffer.getvalue()


def trace(model: nn.Module, shape: Sequence[int], dtype: torch.dtype) -> Program:
    """Return the program of a model in `eval()` mode on the CPU.

    Args:
        shape: of one row of its input.

    Raises:
        SweepError: when it is no program: it looks at values, say, or draws numbers by itself.
    """
    rows = Slot("input", dtype, (BATCH, *shape))
    try:
        with quiet(), torch.no_grad():
            model = _predictor(model, rows)
            hidden, layout = _hidden(model, rows)
            inputs = [rows, *hidden]
            zeros = [torch.zeros(one.shape(2)) for one in hidden]
            exported = torch.export.export(
                model,
                _arguments(made_up(rows, 2), zeros, layout),
                dynamic_shapes=_arguments(_dynamic(rows), [_dynamic(one) for one in hidden], layout),
            )
            _forget_files(exported)
            outputs = _outputs(model, rows)
            program = Program(model, exported, inputs, outputs, layout, 0.0)
            difference = compare(program, exported.module())
    except Exception as error:  # the model is the user's, and torch.export has a dozen types of its own
        raise SweepError(
            f"The model cannot be exported{at_line(error)}: {said(error)} An exported model is one fixed "
            "program: its forward pass must not branch on what stands in its tensors (`torch.where` does "
            "instead) or on how many rows there are, draw random numbers in eval mode, or start from a "
            "hidden state other than zeros; --format state_dict keeps the weights of any model."
        ) from error
    return replace(program, difference=difference)


def compare(program: Program, run: Any) -> float:
    """Return by how much the outputs of `run` differ from the traced model's, at most.

    Args:
        run: takes what the program takes, and returns its outputs.

    Raises:
        ArithmeticError: when they differ by more than `RTOL` and `ATOL`.
    """
    largest = 0.0
    for rows in BATCHES:
        arguments = program.arguments(rows)
        with torch.no_grad():
            wanted = pytree.tree_leaves(
                program.model(arguments[0])
            )  # from a state of its own, which shall be zero
            found = pytree.tree_leaves(run(*arguments))
        for slot, one, other in zip(program.outputs, wanted, found, strict=True):
            apart = float((one - other).abs().nan_to_num().max()) if one.numel() else 0.0
            if not torch.allclose(one, other, rtol=RTOL, atol=ATOL, equal_nan=True):
                raise ArithmeticError(
                    f"for {rows} rows its {slot.name} differs from the trained model's by {apart:.3g}."
                )
            largest = max(largest, apart)
    return largest


def said(error: Exception) -> str:
    """Return the first sentence of an error: torch's go on for a page."""
    lines = str(error).strip().splitlines() or ["no reason is given."]
    sentence = re.split(r"(?<=[.!]) ", one_line(lines[0]), maxsplit=1)[0][:300]
    return f"{type(error).__name__}: {sentence.rstrip('.')}."


def made_up(slot: Slot, rows: int) -> Tensor:
    """Return inputs to try a model with: normal numbers, or of integers 0 and 1, the same ones each time."""
    generator = torch.Generator().manual_seed(rows)
    if slot.dtype.is_floating_point:
        return torch.randn(slot.shape(rows), dtype=slot.dtype, generator=generator)
    return torch.randint(0, 2, slot.shape(rows), dtype=slot.dtype, generator=generator)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what torch says of its own insides, in dozens of lines a model, off the screen."""
    disabled = logging.root.manager.disable
    nowhere = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(disabled)


class _FirstOutput(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, rows: Tensor) -> Any:
        return self.model(rows)[0]


def _predictor(model: nn.Module, rows: Slot) -> nn.Module:
    """Return the model without what it returns beside its output, unless that is a state which it takes."""
    returned = model(made_up(rows, 2))
    if not isinstance(returned, tuple):
        return model
    takes_state = len(returned) == 2 and getattr(model, "carry_hidden", True)
    try:
        inspect.signature(model.forward).bind(rows, returned[1:])
    except TypeError:
        takes_state = False
    return model if takes_state else _FirstOutput(model)


def _hidden(model: nn.Module, rows: Slot) -> tuple[list[Slot], Any]:
    """Return the tensors of the state that a model hands on, and how they hang together."""
    returned = model(made_up(rows, 2))
    if not isinstance(returned, tuple):
        return [], None
    tensors, layout = pytree.tree_flatten(returned[1])
    others = pytree.tree_leaves(model(made_up(rows, 3))[1])
    names = ["hidden"] if len(tensors) == 1 else [f"hidden_{i}" for i in range(len(tensors))]
    return [_slot(*found) for found in zip(names, tensors, others, strict=True)], layout


def _outputs(model: nn.Module, rows: Slot) -> list[Slot]:
    two, three = (pytree.tree_leaves(model(made_up(rows, count))) for count in (2, 3))
    rest = ["next_hidden"] if len(two) == 2 else [f"next_hidden_{i}" for i in range(len(two) - 1)]
    return [_slot(*found) for found in zip(["output", *rest], two, three, strict=True)]


def _slot(name: str, two: Tensor, three: Tensor) -> Slot:
    """Return what is known of a tensor from how it looks with two and with three rows."""
    axes = [n if n == other else BATCH for n, other in zip(two.shape, three.shape, strict=True)]
    return Slot(name, two.dtype, tuple(axes))


def _dynamic(slot: Slot) -> dict[int, Any]:
    return {i: torch.export.Dim(BATCH) for i, axis in enumerate(slot.axes) if axis == BATCH}


def _arguments(rows: Any, hidden: list[Any], layout: Any) -> tuple[Any, ...]:
    return (rows,) if layout is None else (rows, pytree.tree_unflatten(hidden, layout))


def _forget_files(exported: torch.export.ExportedProgram) -> None:
    """Take out of a program where on this machine its source lies: it is handed to others."""
    for module in exported.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
