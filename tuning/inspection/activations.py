"""What goes into each layer and what comes out of it, seen by forward hooks: of any `nn.Module`."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tuning.engine import solo
from tuning.engine.batches import Batch

LAYERS = nn.Linear | nn.modules.conv._ConvNd | nn.RNNBase | nn.RNNCellBase
NORMS = nn.modules.batchnorm._BatchNorm

MAX_VALUES = 50_000
"""Values of a tensor that are kept: drawn at random, the same ones each time."""

MAX_CALLS = 100
"""Calls of a layer that are kept, the first ones: a loop over time may have thousands."""


@dataclass(slots=True)
class Layer:
    """What was seen of one layer: tensors of one axis, one for each time that it was called."""

    kind: str
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    normalized: list[Tensor] = field(default_factory=list)
    """The outputs after the batch norm that takes them in; none without one."""


@torch.no_grad()
def record(
    model: nn.Module, batches: Iterable[Batch], *, carry: bool, batch_statistics: bool = False
) -> dict[str, Layer]:
    """Return what each layer with weights sees of these batches, by the layer's name, in order of calls.

    Layers are `LAYERS`, and batch norms that take in something else than a layer's output (the network's
    input, say). A layer that is called several times is counted together, up to `MAX_CALLS`. The model is
    in `eval()` mode afterwards, else as it was.

    Args:
        carry: whether a hidden state is handed from one batch to the next.
        batch_statistics: let batch norm take its statistics from each batch, as in training, and not its
            running ones, which say nothing before training.
    """
    found: dict[str, Layer] = {}
    last: dict[int, tuple[Layer, Any]] = {}  # by the memory of a layer's output, which is kept from new use

    def see_layer(name: str, module: nn.Module, given: Any, output: Any) -> None:
        layer = found.setdefault(name, Layer(type(module).__name__))
        out = output[0] if isinstance(output, tuple) else output
        if len(layer.outputs) < MAX_CALLS:
            layer.inputs.append(_values(given))
            layer.outputs.append(_values(out))
        last[_memory(out)] = layer, out

    def see_norm(name: str, module: nn.Module, given: Any, output: Any) -> None:
        layer, _ = last.get(_memory(given), (None, None))
        if layer is None:
            see_layer(name, module, given, output)
        elif len(layer.normalized) < MAX_CALLS:
            layer.normalized.append(_values(output))

    with _hooked(model.eval(), see_layer, see_norm), _batch_statistics(model if batch_statistics else None):
        hidden: Any = None
        for inputs, _ in batches:
            _, hidden = solo.predict(model, inputs, hidden, carry=carry)
            last.clear()
    return found


See = Callable[[str, nn.Module, Any, Any], None]
"""Sees a layer's name, the layer, its first argument and its output."""


@contextlib.contextmanager
def _hooked(model: nn.Module, see_layer: See, see_norm: See) -> Iterator[None]:
    def hook(see: See, name: str) -> Any:
        def called(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            see(name, module, args[0] if args else next(iter(named.values()), None), output)

        return called

    with contextlib.ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, LAYERS | NORMS):
                see = see_norm if isinstance(module, NORMS) else see_layer
                hooks.enter_context(module.register_forward_hook(hook(see, name), with_kwargs=True))
        yield


@contextlib.contextmanager
def _batch_statistics(model: nn.Module | None) -> Iterator[None]:
    """Let batch norms take the statistics of each batch, and leave the running ones as they are."""
    norms = [m for m in model.modules() if isinstance(m, NORMS)] if model is not None else []
    tracked = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.training, norm.track_running_stats = True, False
    try:
        yield
    finally:
        for norm, before in zip(norms, tracked, strict=True):
            norm.training, norm.track_running_stats = False, before


def has_batch_norm(model: nn.Module) -> bool:
    return any(isinstance(module, NORMS) for module in model.modules())


def _memory(tensor: Any) -> int:
    """Return where a tensor's values lie, which its views share: an LSTM's last step is one of its output."""
    return tensor.untyped_storage().data_ptr() if isinstance(tensor, Tensor) else 0


def _values(tensor: Any) -> Tensor:
    """Return a tensor's values, or enough of them; none of what is no dense tensor (a packed sequence)."""
    if not isinstance(tensor, Tensor) or tensor.is_complex():
        return torch.empty(0)
    flat = tensor.detach().reshape(-1)
    if flat.numel() > MAX_VALUES:
        generator = torch.Generator().manual_seed(0)
        flat = flat[torch.randint(flat.numel(), (MAX_VALUES,), generator=generator)]
    return flat.to(torch.float32, copy=True)  # what follows may write in place
