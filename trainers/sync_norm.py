"""Batch normalization over the batches of all processes, on any backend (torch's own needs GPUs)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from segpipe import distributed


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose statistics in training are those of the global batch."""

    def forward(self, features: Tensor) -> Tensor:
        """Normalize (B, C, H, W) to (B, C, H, W)."""
        if not self.training or distributed.world_size() == 1:
            return super().forward(features)
        values = features.float()
        count = values.new_full((1,), values.numel() / values.shape[1])
        sums, total = _AllSum.apply(torch.cat([values.sum(dim=(0, 2, 3)), count])).split([self.num_features, 1])
        mean = sums / total
        # The mean first: E[x²] - E[x]² in float32 loses a variance that is small beside the mean.
        centered = values - mean[:, None, None]
        variance = _AllSum.apply(centered.square().sum(dim=(0, 2, 3))) / total
        self._track(mean.detach(), variance.detach(), float(total.detach()))
        scale = self.weight / torch.sqrt(variance + self.eps)
        return (centered * scale[:, None, None] + self.bias[:, None, None]).to(features.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: float) -> None:
        """Keep running statistics as BatchNorm2d keeps them: with the unbiased variance."""
        assert self.running_mean is not None
        assert self.running_var is not None
        momentum = self.momentum if self.momentum is not None else 0.1
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * count / max(count - 1.0, 1.0), momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def apply_synced_norms(model: nn.Module) -> None:
    """Turn every BatchNorm2d of a model into one over all processes, in place; parameters stay the same objects."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncedBatchNorm2d


class _AllSum(torch.autograd.Function):
    """The sum over all processes; each one's gradient is the sum of all gradients of it."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        return distributed.all_sum(values)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return distributed.all_sum(gradient.contiguous())
