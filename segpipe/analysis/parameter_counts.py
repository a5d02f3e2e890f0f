"""How many learnable numbers a network has, worked out without torch, so that the list of models is quick."""

from __future__ import annotations

import math

from segpipe.configuration import MitConfig, ModelConfig, SegformerConfig, SegmenterConfig, UneptConfig

# Without the classifier. A test builds every preset's network and counts.
_SEGFORMER = {
    ("b0", "mlp"): 3_714_144,
    ("b1", "mlp"): 13_677_248,
    ("b2", "mlp"): 27_346_624,
    ("b3", "mlp"): 47_222_464,
    ("b4", "mlp"): 63_993_024,
    ("b5", "mlp"): 84_593_344,
    ("b0", "conv"): 3_715_168,
    ("b1", "conv"): 13_678_272,
    ("b2", "conv"): 27_349_696,
    ("b3", "conv"): 47_225_536,
    ("b4", "conv"): 63_996_096,
    ("b5", "conv"): 84_596_416,
}
# The same of MiT, and the channels that its classifier reads.
_MIT = {
    "b0": (3_319_392, 256),
    "b1": (13_151_424, 512),
    "b2": (24_196_288, 512),
    "b3": (44_072_128, 512),
    "b4": (60_842_688, 512),
    "b5": (81_443_008, 512),
}
_VIT = {"tiny": (192, 12), "small": (384, 12), "base": (768, 12), "large": (1024, 24)}
"""Channels and blocks."""
_UNEPT = {"deit-base": 94_803_776, "res50": 32_319_392}


def num_parameters(model: ModelConfig) -> int:
    """Return the learnable numbers of a network. torch is imported only for networks of unusual shape."""
    known = known_parameters(model)
    if known is not None:
        return known
    from segpipe.models import build_outline

    return sum(parameter.numel() for parameter in build_outline(model).parameters())


def known_parameters(model: ModelConfig) -> int | None:
    """Learnable numbers of a network; None for one of unusual shape, which has to be built to be counted."""
    match model:
        case SegformerConfig() | MitConfig():
            return _count_mit_based(model)
        case SegmenterConfig():
            return _count_segmenter(model)
        case UneptConfig():
            return _count_unept(model)


def _count_mit_based(model: SegformerConfig | MitConfig) -> int | None:
    encoder = model.encoder
    if encoder.mlp_ratio != 4 or encoder.dims or encoder.depths or encoder.heads or encoder.reductions:
        return None
    if isinstance(model, MitConfig):
        trunk, channels = _MIT[model.variant]
        return trunk + model.num_classes * (channels + 1)
    width = 256 if model.variant in ("b0", "b1") else 768
    if model.head.channels not in (None, width):
        return None
    return _SEGFORMER[model.variant, model.head.type] + model.num_classes * (width + 1)


def _count_segmenter(model: SegmenterConfig) -> int:
    """Extra tokens, patches, positions, blocks and the last norm of the encoder, and the decoder."""
    encoder, head, classes = model.encoder, model.head, model.num_classes
    usual_dim, usual_depth = _VIT[model.variant]
    dim, depth = encoder.dim or usual_dim, encoder.depth or usual_depth
    extra = 2 if encoder.distilled else 1
    patches = math.prod(-(-side // encoder.patch_size) for side in encoder.image_size)
    rows = 3 * encoder.patch_size**2 + patches + 2 * extra + 3
    trunk = dim * rows + depth * _count_block(dim, encoder.mlp_ratio)
    if head.type == "linear":
        return trunk + classes * (dim + 1)
    width = head.dim or dim
    decoder = width * (dim + 1) + head.depth * _count_block(width, head.mlp_ratio) + 2 * width + 2 * width**2
    return trunk + decoder + classes * (width + 2)


def _count_block(dim: int, mlp_ratio: int) -> int:
    """Two norms, attention and MLP."""
    return 4 * dim + 4 * dim * (dim + 1) + mlp_ratio * dim * (2 * dim + 1) + dim


def _count_unept(model: UneptConfig) -> int | None:
    usual = UneptConfig(num_classes=model.num_classes, encoder=type(model.encoder)())
    return _UNEPT[model.variant] + model.num_classes * (model.dim + 1) if model == usual else None
