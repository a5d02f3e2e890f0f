"""Vision Transformers as timm and DeiT store them, and Google's augreg series in Flax's arrays."""

from __future__ import annotations

from typing import cast

from segpipe.models import VIT_VARIANTS, VitVariant

from .implementation import Implementation
from .key_map import Heads, KeyMap, Pack, Permute, Rename, Spelling, Unused

VIT_WEIGHT = "encoder.embed.weight"
"""A tensor that every Vision Transformer of ours has."""
BACKBONE = (
    Rename("encoder.cls_token", "encoder.class_token"),
    Rename("encoder.dist_token", "encoder.distillation_token"),
    Rename("encoder.pos_embed", "encoder.positions.weight"),
    Rename("encoder.patch_embed.proj.*", "encoder.embed.*"),
    Rename("*.blocks.{block}.attn.*", "*.blocks.{block}.attention.*"),
)
"""Their names of a backbone, behind whatever prefix, as "encoder."."""

VIT = Implementation(
    KeyMap(
        signature=("patch_embed.proj.weight",),
        needs=VIT_WEIGHT,
        has_head=False,
        rules=(
            Unused("head.*"),
            Unused("head_dist.*"),
            Unused("pre_logits.*"),
            Rename("*", "encoder.*"),
            *BACKBONE,
        ),
    )
)


def find_vit_variant(dim: int, depth: int, heads: int | None = None) -> VitVariant | None:
    """Return the variant with these channels, blocks and heads, if there is one."""
    for name, shape in VIT_VARIANTS.items():
        if (shape.dim, shape.depth) == (dim, depth) and heads in (None, shape.heads):
            return cast(VitVariant, name)
    return None


_BLOCK, _OURS = "Transformer/encoderblock_{block}", "encoder.blocks.{block}"
_ATTENTION = f"{_BLOCK}/MultiHeadDotProductAttention_1"
HEAD_CHANNELS = 64
"""Of every network in the series. A file's tensors say it themselves, ours do not."""

# Read alone: nothing writes Flax's archives.
AUGREG = Implementation(
    KeyMap(
        signature=tuple(
            f"{prefix}Transformer/posembed_input/pos_embedding" for prefix in ("", "params/", "opt/target/")
        ),
        has_head=False,
        rules=(
            Spelling("params/*", "*"),
            Spelling("opt/target/*", "*"),
            Unused("opt/*"),
            Unused("head/*"),
            Unused("pre_logits/*"),
            Rename("cls", "encoder.class_token"),
            Rename("embedding/kernel", "encoder.embed.weight"),
            Rename("embedding/bias", "encoder.embed.bias"),
            Rename("Transformer/posembed_input/pos_embedding", "encoder.positions.weight"),
            Rename("Transformer/encoder_norm/scale", "encoder.norm.weight"),
            Rename("Transformer/encoder_norm/bias", "encoder.norm.bias"),
            Rename(f"{_BLOCK}/LayerNorm_0/scale", f"{_OURS}.norm1.weight"),
            Rename(f"{_BLOCK}/LayerNorm_0/bias", f"{_OURS}.norm1.bias"),
            Rename(f"{_BLOCK}/LayerNorm_2/scale", f"{_OURS}.norm2.weight"),
            Rename(f"{_BLOCK}/LayerNorm_2/bias", f"{_OURS}.norm2.bias"),
            Rename(f"{_BLOCK}/MlpBlock_3/Dense_{{n}}/kernel", f"{_OURS}.mlp.fc{{n+1}}.weight"),
            Rename(f"{_BLOCK}/MlpBlock_3/Dense_{{n}}/bias", f"{_OURS}.mlp.fc{{n+1}}.bias"),
            Rename(f"{_ATTENTION}/out/kernel", f"{_OURS}.attention.proj.weight"),
            Rename(f"{_ATTENTION}/out/bias", f"{_OURS}.attention.proj.bias"),
            Pack(
                tuple(f"{_ATTENTION}/{part}/kernel" for part in ("query", "key", "value")),
                f"{_OURS}.attention.qkv.weight",
                dim=1,
            ),
            Pack(
                tuple(f"{_ATTENTION}/{part}/bias" for part in ("query", "key", "value")), f"{_OURS}.attention.qkv.bias"
            ),
            # Kernels have their inputs first, and attention's heads apart: (D, M, D / M) and (M, D / M, D).
            Heads(f"{_OURS}.attention.qkv.weight", 1, HEAD_CHANNELS),
            Heads(f"{_OURS}.attention.qkv.bias", 0, HEAD_CHANNELS),
            Heads(f"{_OURS}.attention.proj.weight", 0, HEAD_CHANNELS),
            Permute(f"{_OURS}.attention.*.weight", (1, 0)),
            Permute(f"{_OURS}.mlp.*.weight", (1, 0)),
            Permute("encoder.embed.weight", (3, 2, 0, 1)),
            # What else there is must be reported as unexpected, and so lies in the encoder.
            Spelling("Transformer/*", "encoder.*"),
        ),
    )
)
