"""Key maps: how each implementation names SegFormer's tensors, and ours.

A dialect is a list of renamings applied in order, each a regular expression on the whole key.
What is stored in one piece there and in two here (or the other way round) is split or joined
afterwards, and 1x1 convolutions become linear layers, by shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from segpipe.errors import UnknownDialectError

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class DialectRules:
    """How one implementation names things.

    Attributes:
        signature: a key that only this dialect has, as a regular expression.
        renamings: (pattern, replacement) pairs.
        ignored: keys that hold nothing a model needs.
    """

    signature: str
    renamings: tuple[tuple[str, str], ...]
    ignored: str = r"$^"


# Stages count from 1 in NVlabs's keys; these stand for i-1 in a replacement.
_STAGE_FROM_ONE = {str(number): str(number - 1) for number in range(1, 5)}

_NVLABS_BLOCK = (
    (r"attn\.(q|kv|proj)\.", r"attention.\1."),
    (r"attn\.sr\.", "attention.reduction.proj."),
    (r"attn\.norm\.", "attention.reduction.norm."),
    (r"mlp\.dwconv\.dwconv\.", "mlp.depthwise."),
)

DIALECTS: dict[str, DialectRules] = {
    "segpipe": DialectRules(
        signature=r"^encoder\.stages\.0\.embed\.proj\.weight$",
        renamings=(),
    ),
    "nvlabs": DialectRules(
        signature=r"^(backbone\.)?patch_embed1\.proj\.weight$",
        renamings=(
            (r"^(backbone\.)?patch_embed<stage>\.", r"encoder.stages.<stage>.embed."),
            (r"^(backbone\.)?block<stage>\.(\d+)\.", r"encoder.stages.<stage>.blocks.\2."),
            (r"^(backbone\.)?norm<stage>\.", r"encoder.stages.<stage>.norm."),
            *_NVLABS_BLOCK,
            (r"^head\.", "classifier."),
            (r"^decode_head\.linear_c<stage>\.proj\.", r"head.levels.<stage>."),
            (r"^decode_head\.linear_fuse\.conv\.", "head.fuse."),
            (r"^decode_head\.linear_fuse\.bn\.", "head.norm."),
            (r"^decode_head\.linear_pred\.", "head.classifier."),
        ),
        # A classifier of mmsegmentation's base class that SegFormer's head never calls.
        ignored=r"^decode_head\.conv_seg\.",
    ),
    "mmseg": DialectRules(
        signature=r"^(backbone\.)?layers\.0\.0\.projection\.weight$",
        renamings=(
            (r"^(backbone\.)?layers\.(\d)\.0\.projection\.", r"encoder.stages.\2.embed.proj."),
            (r"^(backbone\.)?layers\.(\d)\.0\.norm\.", r"encoder.stages.\2.embed.norm."),
            (r"^(backbone\.)?layers\.(\d)\.1\.(\d+)\.", r"encoder.stages.\2.blocks.\3."),
            (r"^(backbone\.)?layers\.(\d)\.2\.", r"encoder.stages.\2.norm."),
            (r"attn\.attn\.in_proj_(weight|bias)$", r"attention.qkv.\1"),
            (r"attn\.attn\.out_proj\.", "attention.proj."),
            (r"attn\.sr\.", "attention.reduction.proj."),
            (r"attn\.norm\.", "attention.reduction.norm."),
            (r"ffn\.layers\.0\.", "mlp.fc1."),
            (r"ffn\.layers\.1\.", "mlp.depthwise."),
            (r"ffn\.layers\.4\.", "mlp.fc2."),
            (r"^decode_head\.convs\.(\d)\.conv\.", r"head.levels.\1."),
            (r"^decode_head\.convs\.(\d)\.bn\.", r"head.level_norms.\1."),
            (r"^decode_head\.fusion_conv\.conv\.", "head.fuse."),
            (r"^decode_head\.fusion_conv\.bn\.", "head.norm."),
            (r"^decode_head\.conv_seg\.", "head.classifier."),
        ),
    ),
    "huggingface": DialectRules(
        signature=r"(^|\.)(patch_embeddings\.0\.proj|stages\.0\.patch_embeddings\.proj)\.weight$",
        renamings=(
            (r"^segformer\.", ""),
            (r"^(encoder\.)?patch_embeddings\.(\d)\.proj\.", r"encoder.stages.\2.embed.proj."),
            (r"^(encoder\.)?patch_embeddings\.(\d)\.layer_norm\.", r"encoder.stages.\2.embed.norm."),
            (r"^(encoder\.)?block\.(\d)\.(\d+)\.", r"encoder.stages.\2.blocks.\3."),
            (r"^(encoder\.)?layer_norm\.(\d)\.", r"encoder.stages.\2.norm."),
            # transformers 5 keeps these names in memory.
            (r"^stages\.(\d)\.patch_embeddings\.proj\.", r"encoder.stages.\1.embed.proj."),
            (r"^stages\.(\d)\.patch_embeddings\.layer_norm\.", r"encoder.stages.\1.embed.norm."),
            (r"^stages\.(\d)\.blocks\.", r"encoder.stages.\1.blocks."),
            (r"^stages\.(\d)\.layer_norm\.", r"encoder.stages.\1.norm."),
            (r"\.(layer_norm_1|layernorm_before)\.", ".norm1."),
            (r"\.(layer_norm_2|layernorm_after)\.", ".norm2."),
            (r"attention\.(self\.query|q_proj)\.", "attention.q."),
            (r"attention\.(self\.key|k_proj)\.", "attention.k."),
            (r"attention\.(self\.value|v_proj)\.", "attention.v."),
            (r"attention\.(output\.dense|o_proj)\.", "attention.proj."),
            (r"attention\.(self\.sr|sequence_reduction\.sequence_reduction)\.", "attention.reduction.proj."),
            (r"attention\.(self|sequence_reduction)\.layer_norm\.", "attention.reduction.norm."),
            (r"mlp\.dense1\.", "mlp.fc1."),
            (r"mlp\.dense2\.", "mlp.fc2."),
            (r"mlp\.dwconv\.dwconv\.", "mlp.depthwise."),
            (r"^decode_head\.(linear_c|linear_projections)\.(\d)\.proj\.", r"head.levels.\2."),
            (r"^decode_head\.linear_fuse\.", "head.fuse."),
            (r"^decode_head\.batch_norm\.", "head.norm."),
            (r"^decode_head\.classifier\.", "head.classifier."),
        ),
    ),
    "libai": DialectRules(
        signature=r"^(segformer\.)?patch_embeds\.0\.proj\.weight$",
        renamings=(
            (r"^segformer\.", ""),
            (r"^head\.linear_c\.(\d)\.proj\.", r"decode_head.levels.\1."),
            (r"^head\.linear_fuse\.", "decode_head.fuse."),
            (r"^head\.batch_norm\.", "decode_head.norm."),
            (r"^head\.linear_pred\.", "decode_head.classifier."),
            (r"^head\.(weight|bias)$", r"classifier.\1"),
            (r"^decode_head\.", "head."),
            (r"^patch_embeds\.(\d)\.", r"encoder.stages.\1.embed."),
            (r"^blocks\.(\d)\.(\d+)\.", r"encoder.stages.\1.blocks.\2."),
            (r"^layer_norms\.(\d)\.", r"encoder.stages.\1.norm."),
            *_NVLABS_BLOCK,
            (r"mlp\.dense_h_to_4h\.", "mlp.fc1."),
            (r"mlp\.dense_4h_to_h\.", "mlp.fc2."),
        ),
    ),
}
# The same network in a second framework: identical keys, another preprocessing contract.
DIALECTS["easycv"] = DIALECTS["mmseg"]


def detect_dialect(keys: Iterable[str], *, origin: str) -> str:
    """The dialect that a file's keys are written in ("mmseg" stands for EasyCV too)."""
    names = list(keys)
    for dialect, rules in DIALECTS.items():
        if any(re.search(rules.signature, name) for name in names):
            return dialect
    raise UnknownDialectError(
        f"{origin} names its tensors like no implementation that segpipe knows "
        f"(first: {', '.join(names[:3]) or 'none'}). "
        f"Known: {', '.join(DIALECTS)}. Is it a SegFormer or Mix Transformer checkpoint?"
    )


def translate(tensors: Mapping[str, Tensor], dialect: str) -> Tensors:
    """A foreign state dict in our names; keys that no rule knows keep theirs and are reported when loading."""
    rules = DIALECTS[dialect]
    renamed = {
        _rename(key, rules.renamings): tensor for key, tensor in tensors.items() if not re.search(rules.ignored, key)
    }
    return _join_keys_and_values(_split_packed_attention(renamed))


def _rename(key: str, renamings: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in renamings:
        if "<stage>" not in pattern:
            key = re.sub(pattern, replacement, key)
            continue
        for theirs, ours in _STAGE_FROM_ONE.items():
            key = re.sub(pattern.replace("<stage>", theirs), replacement.replace("<stage>", ours), key)
    return key


def _split_packed_attention(tensors: Tensors) -> Tensors:
    """attention.qkv (3D, …), stacked query, key, value → attention.q (D, …) and attention.kv (2D, …)."""
    result: Tensors = {}
    for key, tensor in tensors.items():
        if ".attention.qkv." not in key:
            result[key] = tensor
            continue
        dim = tensor.shape[0] // 3
        result[key.replace(".qkv.", ".q.")] = tensor[:dim]
        result[key.replace(".qkv.", ".kv.")] = tensor[dim:]
    return result


def _join_keys_and_values(tensors: Tensors) -> Tensors:
    """attention.k and attention.v, each (D, …) → attention.kv (2D, …)."""
    result = {key: tensor for key, tensor in tensors.items() if not re.search(r"\.attention\.[kv]\.", key)}
    for key, tensor in tensors.items():
        partner = key.replace(".attention.k.", ".attention.v.")
        if partner != key and partner in tensors:
            result[key.replace(".attention.k.", ".attention.kv.")] = torch.cat([tensor, tensors[partner]])
        elif partner != key:
            result[key] = tensor
    result.update(
        {
            key: tensor
            for key, tensor in tensors.items()
            if ".attention.v." in key and key.replace(".attention.v.", ".attention.k.") not in tensors
        }
    )
    return result
