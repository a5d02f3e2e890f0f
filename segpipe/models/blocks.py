"""Blocks that run one after another and, where memory is short, keep only their inputs for the backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Blocks(nn.ModuleList):
    """A ModuleList that runs: each block takes what the one before it gave.

    With `is_checkpointed`, of each block only the input is kept in training, and the backward pass computes the rest
    again, with the same numbers drawn at random. Results and gradients are the same, bit for bit.
    """

    is_checkpointed = False

    def forward(self, features: Tensor, *shared: Any) -> Tensor:
        """Any shape that the blocks take, and what every block gets besides."""
        is_recomputed = self.is_checkpointed and self.training and torch.is_grad_enabled()
        for block in self:
            if is_recomputed:
                features = checkpoint(block, features, *shared, use_reentrant=False)
            else:
                features = block(features, *shared)
        return features
