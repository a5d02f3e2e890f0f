"""Segmenter's decoders: one linear layer, and the mask transformer (Strudel et al. 2021, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..layers import initialize_linear
from ..vit.config import HEAD_DIM, check_heads
from ..vit.encoder import BlockConfig, attention_weights, transformer_blocks
from .config import SegmenterHeadConfig


class LinearDecoder(nn.Module):
    """One linear layer for each patch.

    Args:
        dim: channels D of the encoder.
        num_classes: K.
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(dim, num_classes)
        initialize_linear(self.classifier)

    def forward(self, features: Tensor) -> Tensor:
        """(B, h, w, D) → (B, K, h, w)."""
        return self.classifier(features).permute(0, 3, 1, 2)


class MaskTransformer(nn.Module):
    """Patches and one token per class attend to each other; a logit is the cosine between the two.

    Args:
        encoder_dim: channels of the encoder.
        num_classes: K.
        config: depth, width, rates, eps.
    """

    def __init__(self, encoder_dim: int, num_classes: int, config: SegmenterHeadConfig) -> None:
        super().__init__()
        dim = config.dim or encoder_dim
        heads = config.heads or max(1, dim // HEAD_DIM)
        check_heads(dim, heads, where="model.head")
        block = BlockConfig(dim, heads, config.mlp_ratio, config.dropout, config.norm_eps)
        self.embed = nn.Linear(encoder_dim, dim)
        self.blocks = transformer_blocks(block, config.depth, config.drop_path_rate)
        self.norm = nn.LayerNorm(dim, eps=config.output_norm_eps)
        self.patch_projection = nn.Parameter(torch.empty(dim, dim).normal_(std=dim**-0.5))
        self.class_projection = nn.Parameter(torch.empty(dim, dim).normal_(std=dim**-0.5))
        self.classifier = ClassTokens(dim, num_classes, config.output_norm_eps)
        self.apply(initialize_linear)

    def forward(self, features: Tensor) -> Tensor:
        """(B, h, w, D) → (B, K, h, w)."""
        num_patches = features.shape[1] * features.shape[2]
        tokens = self.norm(self.blocks(self._tokens(features)))  # (B, N + K, D)
        patches = functional.normalize(tokens[:, :num_patches] @ self.patch_projection, dim=-1)
        classes = functional.normalize(tokens[:, num_patches:] @ self.class_projection, dim=-1)
        logits = self.classifier.norm(patches @ classes.transpose(1, 2))  # (B, N, K)
        return logits.unflatten(1, features.shape[1:3]).permute(0, 3, 1, 2)

    def attention_map(self, features: Tensor, layer: int) -> Tensor:
        """(B, h, w, D) → (B, M, N + K, N + K) softmax weights of one block, numbered from 0."""
        return attention_weights(self.blocks, self._tokens(features), layer)

    def _tokens(self, features: Tensor) -> Tensor:
        """Return (B, N + K, D), patches row by row, then classes."""
        classes = self.classifier.tokens.expand(features.shape[0], -1, -1)
        return torch.cat([self.embed(features.flatten(1, 2)), classes], dim=1)


class ClassTokens(nn.Module):
    """All that depends on the classes in the mask transformer: their tokens, and the norm over their logits."""

    def __init__(self, dim: int, num_classes: int, eps: float) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(1, num_classes, dim))
        self.norm = nn.LayerNorm(num_classes, eps=eps)
        nn.init.trunc_normal_(self.tokens, std=0.02)
