"""How others name SegFormer's tensors (NVlabs, mmsegmentation and EasyCV, Hugging Face, LiBai) and what they made."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import torch
from msgspec.structs import replace

from segpipe.checkpoints.libai_settings import LIBAI_FILE, is_libai_file, read_libai_configuration
from segpipe.configuration import (
    LEVEL_STRIDE,
    Configuration,
    CropResize,
    EncoderConfig,
    HeadConfig,
    InferenceConfig,
    MitConfig,
    NormEps,
    PipelineConfig,
    PreprocessorConfig,
    SegformerConfig,
    ShortSideResize,
    Variant,
)
from segpipe.errors import InputError
from segpipe.models import VARIANTS, Shape
from segpipe.names import Tasks

from .binary import binary_as_two_classes
from .families import Checkpoint, Family
from .rules import DialectRules, Tensors

MMCV_RESIZE = ShortSideResize(size=512, max_long_side=2048, library="opencv")


def split_attention(tensors: Tensors) -> Tensors:
    """Attention in our two pieces, query and key-value, whether it is stored in one or in three."""
    return _join_keys_and_values(_split_packed_attention(tensors))


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


_NVLABS_BLOCK = (
    (r"attn\.(q|kv|proj)\.", r"attention.\1."),
    (r"attn\.sr\.", "attention.reduction.proj."),
    (r"attn\.norm\.", "attention.reduction.norm."),
    (r"mlp\.dwconv\.dwconv\.", "mlp.depthwise."),
)

SEGFORMER_DIALECTS: dict[str, DialectRules] = {
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
        reshape=split_attention,
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
        # Its decode head compares one output with 0.3 where its configuration names no threshold.
        reshape=binary_as_two_classes(split_attention, 0.3),
    ),
    "huggingface": DialectRules(
        signature=r"^(segformer\.)?((encoder\.)?patch_embeddings\.0\.proj|stages\.0\.patch_embeddings\.proj)\.weight$",
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
        # Its loss for one label is a binary cross-entropy.
        reshape=binary_as_two_classes(split_attention, 0.5),
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
        reshape=split_attention,
    ),
}
# The same network in a second framework: identical keys, another preprocessing contract.
SEGFORMER_DIALECTS["easycv"] = SEGFORMER_DIALECTS["mmseg"]


def describe_segformer(checkpoint: Checkpoint) -> Configuration:
    """A configuration from the tensors' shapes and the dialect; SegFormer, or MiT with its classifier."""
    beside = checkpoint.path.parent / LIBAI_FILE
    if checkpoint.dialect == "libai" and is_libai_file(beside):
        return _describe_libai(checkpoint, beside)
    tensors = checkpoint.tensors
    if checkpoint.architecture:
        family, variant = checkpoint.architecture.split("-")
    else:
        family, variant = _recognise(checkpoint)
    variant = cast(Variant, variant)
    encoder = EncoderConfig(norm_eps=NORM_EPS[checkpoint.dialect] if checkpoint.dialect in NORM_EPS else NormEps())
    needed = "classifier.bias" if family == "mit" else "head.classifier.bias"
    if needed not in tensors:
        what = "classifier" if family == "mit" else "decode head"
        raise checkpoint.encoder_alone(f"{what} of {family}-{variant}")
    num_classes = len(tensors[needed])
    labels = checkpoint.labels(num_classes)
    if family == "mit":
        model = MitConfig(variant=variant, num_classes=num_classes, encoder=encoder)
        return Configuration(
            task="image-classification",
            model=model,
            labels=labels,
            preprocessor=PreprocessorConfig(resize=CropResize()),
            pipeline=PipelineConfig(type=Tasks.image_classification),
        )
    resize, size_multiple, inference = _pipeline_of(checkpoint.dialect)
    return Configuration(
        model=SegformerConfig(
            variant=variant,
            num_classes=num_classes,
            head=HeadConfig(
                type="conv" if "head.level_norms.0.weight" in tensors else "mlp",
                channels=checkpoint.length("head.fuse.weight") or None,
            ),
            encoder=encoder,
            size_multiple=size_multiple,
        ),
        labels=labels,
        preprocessor=PreprocessorConfig(resize=resize),
        inference=inference,
        pipeline=PipelineConfig(type=Tasks.image_segmentation),
    )


def _pipeline_of(dialect: str) -> tuple[ShortSideResize | None, int, InferenceConfig]:
    """Resize, `size_multiple` and inference of the implementation whose names the tensors have.

    mmsegmentation does not pad; NVlabs resizes up to the multiple; neither do Hugging Face and LiBai pad. Our own pads.
    """
    if dialect == "mmseg":
        return MMCV_RESIZE, 1, InferenceConfig(upsampling="two-step")
    if dialect == "nvlabs":
        aligned = replace(MMCV_RESIZE, multiple=LEVEL_STRIDE)
        return aligned, 1, InferenceConfig(scale_rounding="down", upsampling="two-step")
    return None, LEVEL_STRIDE if dialect == "segpipe" else 1, InferenceConfig(upsampling="one-step")


def _describe_libai(checkpoint: Checkpoint, path: Path) -> Configuration:
    """What LiBai's own configuration beside the file says."""
    configuration = read_libai_configuration(path)
    model = configuration.model
    found = f"{configuration.model.__struct_config__.tag}-{model.variant}"
    if checkpoint.architecture not in (None, found):
        raise InputError(
            f"{path} says that {checkpoint.path.name} is a {found}, not a {checkpoint.architecture}. "
            "Leave architecture out, or move one of the two files."
        )
    return replace(configuration, labels=checkpoint.labels(model.num_classes))


def _recognise(checkpoint: Checkpoint) -> tuple[str, str]:
    """(family, variant) by the channels and depths that the tensors have."""
    family = "segformer" if "head.classifier.bias" in checkpoint.tensors else "mit"
    dims = tuple(checkpoint.length(f"encoder.stages.{stage}.norm.weight") for stage in range(4))
    depths = tuple(checkpoint.count(rf"encoder\.stages\.{stage}\.blocks\.(\d+)\.") for stage in range(4))
    for variant, shape in VARIANTS.items():
        if shape == Shape(dims, depths):
            return family, variant
    raise InputError(
        f"The tensors have the channels {dims} and depths {depths}, which is none of b0 to b5. "
        "Convert a folder whose configuration.json says what it is."
    )


def _equal_eps(value: float) -> NormEps:
    return NormEps(patch=value, reduction=value, block=value, stage=value)


NORM_EPS = {
    "nvlabs": NormEps(),
    "mmseg": _equal_eps(1e-6),
    "easycv": _equal_eps(1e-6),
    "huggingface": _equal_eps(1e-5),
    "libai": _equal_eps(1e-5),
}
"""The LayerNorm eps that an implementation computes with."""

SEGFORMER_FAMILY = Family(
    architectures=tuple(f"{family}-{variant}" for family in ("segformer", "mit") for variant in VARIANTS),
    signature=r"^encoder\.stages\.0\.embed\.",
    describe=describe_segformer,
)
