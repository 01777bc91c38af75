"""Stacked twins: modules that compute for K trials at once what the ones they replace compute for one.

They are put in place from outside and run under `torch.func.vmap`: each sees one trial's tensors. They
stand in for what `vmap` cannot carry (dropout and batch norm hold rate and momentum as Python floats,
recurrent layers have no batching rule), or carries slowly (linear layers). Parameters and buffers stay
as they are, under their names. What differs between trials stays outside: masks are set before each
step, batch statistics are collected after it.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuning.engine.layers import CHANNELWISE, ELEMENTWISE, mask_shape
from tuning.engine.recurrent import StackedRecurrent


class StackedDropout(nn.Module):
    """Multiplies by the masks that were set; while `shapes` is a list, notes which masks are wanted."""

    def __init__(self, layer: str, module: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.channelwise = type(module) in CHANNELWISE
        self.masks: list[Tensor] = []
        """One per call within a step."""
        self.shapes: list[torch.Size] | None = None
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        if self.shapes is not None:
            self.shapes.append(mask_shape(x, channelwise=self.channelwise))
            return x
        self.calls += 1
        return x * self.masks[self.calls - 1]


class StackedBatchNorm(nn.Module):
    """Batch norm that leaves the update of its running statistics to the stack, which knows each momentum.

    Args:
        statistics: to which each call in training appends the layer's name, and the mean and the unbiased
            variance of the batch.
    """

    running_mean: Tensor
    running_var: Tensor
    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        layer: str,
        module: nn.modules.batchnorm._BatchNorm,
        statistics: list[tuple[str, Tensor, Tensor]],
    ) -> None:
        super().__init__()
        self.layer = layer
        self.eps = module.eps
        self.statistics = statistics
        self.tracks = module.track_running_stats and module.running_mean is not None
        self.weight, self.bias = module.weight, module.bias
        for name, buffer in module.named_buffers():
            self.register_buffer(name, buffer)
        self._check_input_dim: Callable[[Tensor], None] = module._check_input_dim

    def forward(self, x: Tensor) -> Tensor:
        self._check_input_dim(x)
        if not (self.training and self.tracks):
            mean, variance = (self.running_mean, self.running_var) if self.tracks else (None, None)
            return self._normalised(x, mean, variance, not self.tracks)
        mean, variance = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        y = self._normalised(x, mean, variance, True)  # with momentum 1 the batch's own are left in them
        self.statistics.append((self.layer, mean, variance))
        return y

    def _normalised(self, x: Tensor, mean: Tensor | None, variance: Tensor | None, of_batch: bool) -> Tensor:
        def apply(x: Tensor) -> Tensor:
            return F.batch_norm(x, mean, variance, self.weight, self.bias, of_batch, 1.0, self.eps)

        # As StackedLinear leaves it, (features, rows) in memory, which is one image of `features` channels.
        return apply(x.mT.unsqueeze(0)).squeeze(0).mT if x.dim() == 2 else apply(x)


class StackedLinear(nn.Module):
    """A linear layer over (features, rows) in memory: ten times as fast where features are few.

    Many small products of (out, in) by (in, rows) run along the rows, which are many, instead of along
    the features. Where the rows are fewer, and no gradient is wanted, it is torch's own.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, module: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = module.weight, module.bias

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() < 2 or (not self.training and 2 * x.shape[:-1].numel() <= min(self.weight.shape)):
            return F.linear(x, self.weight, self.bias)
        y: Tensor = self.weight @ x.flatten(0, -2).mT
        if self.bias is not None:
            y = y + self.bias[:, None]
        return y.mT.unflatten(0, x.shape[:-1]) if x.dim() > 2 else y.mT


class RunningStatistics:
    """Updates the running statistics of K trials, each with its own momentum, as batch norm does.

    Args:
        models: one per trial, before twins were put in.
        tensors: stacked, by name.
    """

    def __init__(self, models: Sequence[nn.Module], tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self._shares: dict[str, Tensor | None] = {}
        """Weight of the newest batch by layer, (trials, 1); None where all batches weigh the same."""
        for layer, module in models[0].named_modules():
            if isinstance(module, NORMS) and module.running_mean is not None:
                momenta = [model.get_submodule(layer).momentum for model in models]
                like = tensors[_in(layer, "running_mean")]
                self._shares[layer] = (
                    None
                    if module.momentum is None
                    else torch.tensor(momenta, dtype=torch.float64).to(like)[:, None]
                )

    def update(self, layer: str, mean: Tensor, variance: Tensor) -> None:
        """Take in the statistics of one batch, (trials, features) each."""
        tracked = self._tensors[_in(layer, "num_batches_tracked")].add_(1)
        share = self._shares[layer]
        if share is None:
            share = (1 / tracked.to(torch.float64)).to(mean)[:, None]
        for name, new in (("running_mean", mean), ("running_var", variance)):
            running = self._tensors[_in(layer, name)]
            running.mul_(1 - share).addcmul_(new, share)


def _in(layer: str, name: str) -> str:
    return f"{layer}.{name}".lstrip(".")


NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
RECURRENT = (nn.RNN, nn.GRU, nn.LSTM)


DROPOUTS = (*ELEMENTWISE, *CHANNELWISE)
TWINNED = (*DROPOUTS, *NORMS, *RECURRENT, nn.Linear)


def has_twin(module: nn.Module) -> bool:
    """Whether a twin can stand in: not for subclasses, nor with hooks, which may compute otherwise."""
    has_hooks = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
    return type(module) in TWINNED and not has_hooks


def replace(template: nn.Module, statistics: list[tuple[str, Tensor, Tensor]]) -> dict[str, nn.Module]:
    """Put every twin below `template.model`, or in its place; return them by layer, as the model names it."""
    placed: dict[str, nn.Module] = {}
    for name, module in list(template.named_modules()):
        for child_name, child in list(module.named_children()):
            if has_twin(child):
                layer = f"{name}.{child_name}".lstrip(".").partition(".")[2]
                placed[layer] = _twin(layer, child, statistics).train(child.training)
                setattr(module, child_name, placed[layer])
    return placed


def _twin(layer: str, module: nn.Module, statistics: list[tuple[str, Tensor, Tensor]]) -> nn.Module:
    if isinstance(module, NORMS):
        return StackedBatchNorm(layer, module, statistics)
    if isinstance(module, RECURRENT):
        return StackedRecurrent(module)
    return StackedLinear(module) if isinstance(module, nn.Linear) else StackedDropout(layer, module)
