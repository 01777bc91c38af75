"""Batch norm over the rows of all ranks. torch's own (`nn.SyncBatchNorm`) does not know the CPU."""

from typing import Any

import torch
from torch import Tensor, distributed, nn


class _Sum(torch.autograd.Function):
    """The sum over all ranks, of values and, on the way back, of gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


class _Synchronized(nn.modules.batchnorm._BatchNorm):
    """Takes mean and variance in two passes, as the squares of large numbers cancel in one."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        axes = [axis for axis in range(x.dim()) if axis != 1]
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        count = torch.tensor(x.numel() / x.shape[1], dtype=wide.dtype, device=x.device)
        distributed.all_reduce(count)
        column = [1, -1, *(1 for _ in axes[1:])]
        mean = _Sum.apply(wide.sum(axes)) / count
        centred = wide - mean.view(column)
        variance = _Sum.apply(centred.square().sum(axes)) / count
        self._keep(mean.detach(), variance.detach() * count / (count - 1))
        out = centred * (variance + self.eps).rsqrt().view(column)
        if self.affine:
            out = out * self.weight.view(column) + self.bias.view(column)
        narrow: Tensor = out.to(x.dtype)
        return narrow

    @torch.no_grad()
    def _keep(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(variance.to(self.running_var), share)


class _Synchronized1d(_Synchronized, nn.BatchNorm1d): ...


class _Synchronized2d(_Synchronized, nn.BatchNorm2d): ...


class _Synchronized3d(_Synchronized, nn.BatchNorm3d): ...


SYNCHRONIZED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: _Synchronized1d,
    nn.BatchNorm2d: _Synchronized2d,
    nn.BatchNorm3d: _Synchronized3d,
}


def synchronize(model: nn.Module) -> None:
    """Let a model's batch norms see the rows of all ranks; their parameters and buffers stay as they are."""
    for module in model.modules():
        if type(module) in SYNCHRONIZED:
            module.__class__ = SYNCHRONIZED[type(module)]
