"""How Vision Transformers name their tensors: Segmenter's checkpoints, timm and DeiT, Flax's augreg files."""

from __future__ import annotations

import re

import torch

from .rules import DialectRules, Tensors

# timm's names, behind whatever prefix they have.
TIMM_RENAMINGS = (
    (r"^encoder\.cls_token$", "encoder.class_token"),
    (r"^encoder\.dist_token$", "encoder.distillation_token"),
    (r"^encoder\.pos_embed$", "encoder.positions.weight"),
    (r"^encoder\.patch_embed\.proj\.", "encoder.embed."),
    (r"^(encoder|head)\.blocks\.(\d+)\.attn\.", r"\1.blocks.\2.attention."),
)

FLAX_BLOCK = (
    (r"/LayerNorm_0/", ".norm1."),
    (r"/LayerNorm_2/", ".norm2."),
    (r"/MultiHeadDotProductAttention_\d+/(query|key|value)/", r".attention.\1."),
    (r"/MultiHeadDotProductAttention_\d+/out/", ".attention.proj."),
    (r"/MlpBlock_\d+/Dense_0/", ".mlp.fc1."),
    (r"/MlpBlock_\d+/Dense_1/", ".mlp.fc2."),
)


def turn_flax_kernels(tensors: Tensors) -> Tensors:
    """Flax's kernels as torch's weights: outputs first, heads flattened, query, key and value in one piece."""
    turned = {key.replace(".kernel", ".weight"): _turn(key, tensor) for key, tensor in tensors.items()}
    packed: Tensors = {}
    for key, tensor in turned.items():
        parts = [key.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
        if ".attention.query." in key and all(part in turned for part in parts):
            packed[key.replace(".query.", ".qkv.")] = torch.cat([turned[part] for part in parts])
        elif not re.search(r"\.attention\.(query|key|value)\.", key) or key.replace(".key.", ".query.") not in turned:
            packed[key] = tensor
    return packed


def _turn(key: str, tensor: torch.Tensor) -> torch.Tensor:
    """One tensor: (h, w, in, out), (in, out), or attention's (D, M, D / M) and (M, D / M, D)."""
    if not key.endswith(".kernel"):
        return tensor.flatten() if ".attention." in key else tensor
    if ".attention.proj." in key:
        tensor = tensor.flatten(0, -2)
    elif ".attention." in key:
        tensor = tensor.flatten(1)
    return tensor.permute(3, 2, 0, 1) if tensor.dim() == 4 else tensor.transpose(0, -1)


VIT_DIALECTS: dict[str, DialectRules] = {
    "segmenter": DialectRules(
        signature=r"^encoder\.patch_embed\.proj\.weight$",
        renamings=(
            (r"^decoder\.head\.", "head.classifier."),
            (r"^decoder\.cls_emb$", "head.classifier.tokens"),
            (r"^decoder\.mask_norm\.", "head.classifier.norm."),
            (r"^decoder\.proj_dec\.", "head.embed."),
            (r"^decoder\.proj_patch$", "head.patch_projection"),
            (r"^decoder\.proj_classes$", "head.class_projection"),
            (r"^decoder\.decoder_norm\.", "head.norm."),
            (r"^decoder\.blocks\.", "head.blocks."),
            *TIMM_RENAMINGS,
        ),
        # The classifiers of ImageNet, which the encoder keeps and segmentation never calls.
        ignored=r"^encoder\.(head|head_dist|pre_logits)\.",
    ),
    "vit": DialectRules(
        signature=r"^patch_embed\.proj\.weight$",
        renamings=((r"^", "encoder."), *TIMM_RENAMINGS),
        ignored=r"^(head|head_dist|pre_logits)\.",
    ),
    "augreg": DialectRules(
        signature=r"^(opt/target/|params/)?Transformer/posembed_input/pos_embedding$",
        renamings=(
            (r"^(opt/target/|params/)?", ""),
            (r"^embedding/", "encoder.embed."),
            (r"^cls$", "encoder.class_token"),
            (r"^Transformer/posembed_input/pos_embedding$", "encoder.positions.weight"),
            (r"^Transformer/encoderblock_(\d+)/", r"encoder.blocks.\1/"),
            (r"^Transformer/encoder_norm/", "encoder.norm."),
            *FLAX_BLOCK,
            (r"\.scale$", ".weight"),
        ),
        ignored=r"^(opt/target/|params/)?(head|pre_logits)/|^opt/(?!target/)",
        reshape=turn_flax_kernels,
    ),
}
