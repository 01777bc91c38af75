"""The stacked step as one compiled graph: a few fused kernels in the place of hundreds of operations.

A step is traced with `vmap` and autograd resolved (`make_fx`) and compiled by TorchInductor. A trace
holds what Python did once: what changes from step to step without being a tensor is looked for first,
and the graph's first results are compared with the step's own.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule
from torch.utils._pytree import tree_leaves

from tuning.engine import grouping
from tuning.errors import first_line

Function = Callable[..., Any]
"""Of (..., hidden state, inputs, targets) to any nesting of tensors, (trials, ...) each."""

HOT_S = 2.0
"""Seconds that a process spends in a step, for inputs of one shape, before it compiles that."""

TOLERANCE = 1e-2
"""Norm of what a graph may differ by from the step, relative to the norm of all results of a trial.

Rounding makes 1e-6 of it, in a few products of bfloat16 1e-3; another program makes 1.
"""

LARGEST = 1e6
"""Norm of the results above which a trial is on its way to diverge, and is not compared."""


class CannotCompile(Exception):
    """A step has to stay as it is; says why."""


@dataclass(slots=True)
class _Graph:
    """A step for inputs of one shape."""

    spent_s: float = 0.0
    run: Function | None = None
    """Compiled; None before, and where it cannot be."""
    was_tried: bool = False


Graphs = dict[Any, _Graph]


class Compiled:
    """A step that is compiled once it has taken `HOT_S`, for each shape of inputs by itself.

    Args:
        function: the step.
        module: whose Python attributes must stay as they are while it runs.
        graphs: to share with other stacks of the same structure (`shared`).
        name: tells one step of a stack from the other.
    """

    def __init__(self, function: Function, module: nn.Module, graphs: Graphs, name: str) -> None:
        self._function, self._module, self._graphs, self._name = function, module, graphs, name
        self.notes: list[str] = []
        """What was compiled or why it was not, for the user."""

    def __call__(self, *arguments: Any) -> Any:
        hidden, inputs, targets = arguments[-3:]
        key = self._name, inputs.shape, inputs.dtype, targets.shape, targets.dtype, hidden == ()
        graph = self._graphs.setdefault(key, _Graph())
        if graph.run is not None:
            with torch.no_grad():
                return graph.run(*arguments)
        start_s = time.perf_counter()
        found = self._function(*arguments)
        graph.spent_s += time.perf_counter() - start_s
        if graph.spent_s > HOT_S and not graph.was_tried:
            graph.was_tried = True
            try:
                graph.run = _compile(self._function, self._module, arguments)
                self.notes.append(f"compiled: the {self._name} of {len(tree_leaves(found)[0])} trials")
            except Exception as error:  # no compiler, an operation that it does not know, anything in between
                cause = getattr(error, "inner_exception", error)  # torch's tells of the backend alone
                said = first_line(cause, type(cause).__name__)
                self.notes.append(f"the {self._name} is not compiled: {said}")
        return found


_KEPT: list[tuple[nn.Module, dict[Any, Graphs]]] = []
"""Graphs of this process: a worker trains many cohorts of the same structure."""


def shared(model: nn.Module, key: Any) -> Graphs:
    """Return the graphs for all models that could be stacked with this one, and for the same key."""
    for known, graphs in _KEPT:
        if grouping.difference(known, model) is None:
            return graphs.setdefault(key, {})
    _KEPT.append((copy.deepcopy(model), {key: {}}))
    return _KEPT[-1][1][key]


def _compile(function: Function, module: nn.Module, arguments: tuple[Any, ...]) -> Function:
    """Return a step compiled; it runs on copies meanwhile, since it may change buffers.

    Copies have the strides of their originals, and share memory as these do (`copy.deepcopy`).

    Raises:
        CannotCompile: when it does not compute the same at every step, as far as can be seen.
    """
    before = _attributes(module)
    graph = _traced(function, arguments)
    if not _leaves_alone(graph, arguments):
        raise CannotCompile("the model changes a buffer in place")
    if graph.code != _traced(function, arguments).code:
        raise CannotCompile("what the model computes changes from step to step, other than by its tensors")
    if (changed := grouping.changed(before, _attributes(module))) is not None:
        raise CannotCompile(f"the model sets its `{changed}` at every step")
    # Its processes for compiling would outlive a worker that is killed.
    with torch._inductor.config.patch(compile_threads=1), torch.no_grad():
        run: Function = torch.compile(graph, dynamic=False)
        found = run(*copy.deepcopy(arguments))
    if not agree(found, function(*copy.deepcopy(arguments))):
        raise CannotCompile("the compiled step does not compute what the model does")
    return run


def _traced(function: Function, arguments: tuple[Any, ...]) -> GraphModule:
    from torch.fx.experimental.proxy_tensor import make_fx

    graph = make_fx(lambda *found: function(*found))(
        *copy.deepcopy(arguments)
    )  # of a method it counts `self`
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _leaves_alone(graph: GraphModule, arguments: tuple[Any, ...]) -> bool:
    """Whether a graph changes no argument: they share memory, which a compiler has to know of."""
    given = copy.deepcopy(arguments)
    with torch.no_grad():
        graph(*given)
    pairs = zip(tree_leaves(given), tree_leaves(arguments), strict=True)
    return all(torch.equal(after.nan_to_num(), before.nan_to_num()) for after, before in pairs)


def _attributes(module: nn.Module) -> dict[str, Any]:
    """Return copies of what the modules keep beside tensors; twins, which are ours, left out."""
    return {
        f"{name}.{key}".partition(".")[2]: copy.deepcopy(value)
        for name, part in module.named_modules()
        if not type(part).__module__.startswith(str(__package__))
        for key, value in grouping.own(part).items()
    }


def agree(found: Any, expected: Any) -> bool:
    """Whether two results are the same but for rounding, for every trial that does not diverge."""
    a, b = (
        torch.cat([leaf.detach().double().reshape(len(leaf), -1) for leaf in tree_leaves(results)], dim=1)
        for results in (found, expected)
    )
    size = b.norm(dim=1)
    differs = (a - b).norm(dim=1)
    return bool(((differs <= TOLERANCE * size) | ~(size < LARGEST)).all())
