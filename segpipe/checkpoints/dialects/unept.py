"""What UN-EPT's checkpoints name their tensors, and open-mmlab's ResNet-V1c; what a checkpoint says of itself."""

from __future__ import annotations

import math
from typing import cast

from segpipe.configuration import (
    Configuration,
    DeitConfig,
    InferenceConfig,
    PipelineConfig,
    PreprocessorConfig,
    ResNetConfig,
    ShortSideResize,
    UneptConfig,
    VitVariant,
)
from segpipe.errors import InputError
from segpipe.models import VIT_VARIANTS
from segpipe.names import Tasks

from .families import Checkpoint, Family
from .rules import DialectRules
from .vit import TIMM_RENAMINGS

# The published number; the tensors say only heads times points.
HEADS = 8
STRIDE = 8

RESNET_RENAMINGS = (
    # Convolution, norm and ReLU count alike in the stem: 0 1 2, 3 4 5, 6 7 8.
    (r"^encoder\.stem\.(0|3|6)\.", r"encoder.stem.\1.conv."),
    (r"^encoder\.stem\.1\.", "encoder.stem.0.norm."),
    (r"^encoder\.stem\.4\.", "encoder.stem.2.norm."),
    (r"^encoder\.stem\.7\.", "encoder.stem.4.norm."),
    (r"^encoder\.stem\.3\.conv\.", "encoder.stem.2.conv."),
    (r"^encoder\.stem\.6\.conv\.", "encoder.stem.4.conv."),
    (r"^encoder\.layer<stage>\.(\d+)\.", r"encoder.stages.<stage>.\1."),
    (r"^(encoder\.stages\.\d\.\d+)\.conv(\d)\.", r"\1.conv\2.conv."),
    (r"^(encoder\.stages\.\d\.\d+)\.bn(\d)\.", r"\1.conv\2.norm."),
    (r"\.downsample\.0\.", ".shortcut.conv."),
    (r"\.downsample\.1\.", ".shortcut.norm."),
)

CONTEXT_RENAMINGS = (
    (r"^layers\.(\d)\.", r"pyramid.\1."),
    (r"^spatial_branch\.convblock<stage>\.conv1\.", r"spatial.layers.<stage>.conv."),
    (r"^spatial_branch\.convblock<stage>\.bn\.", r"spatial.layers.<stage>.norm."),
    (r"^query_embed\.weight$", "queries"),
    (r"^cls\.", "classifier."),
    (r"^(mask|dir)_head\.0\.", r"\1_head.0.conv."),
    (r"^(mask|dir)_head\.1\.", r"\1_head.0.norm."),
    (r"^(mask|dir)_head\.3\.", r"\1_head.2."),
    (r"^dir_head\.", "direction_head."),
    (r"^context_branch\.level_embed$", "context.level_embeddings"),
    (r"^context_branch\.encoder\.layers\.(\d+)\.self_attn\.", r"context.pyramid_layers.\1.attention."),
    (r"^context_branch\.encoder\.layers\.", "context.pyramid_layers."),
    # Theirs are numbered as they were written, ours in the order of computation.
    (r"^context_branch\.decoder\.layers\.(\d+)\.norm2\.", r"context.query_layers.\1.norm1."),
    (r"^context_branch\.decoder\.layers\.(\d+)\.norm1\.", r"context.query_layers.\1.norm2."),
    (r"^context_branch\.decoder\.layers\.(\d+)\.self_attn\.in_proj_", r"context.query_layers.\1.self_attention.qkv."),
    (
        r"^context_branch\.decoder\.layers\.(\d+)\.self_attn\.out_proj\.",
        r"context.query_layers.\1.self_attention.proj.",
    ),
    (r"^context_branch\.decoder\.layers\.(\d+)\.cross_attn\.", r"context.query_layers.\1.cross_attention."),
    (r"^context_branch\.decoder\.layers\.", "context.query_layers."),
    (r"attention\.sampling_offsets\.", "attention.offsets."),
    (r"attention\.attention_weights\.", "attention.weights."),
    (r"attention\.value_proj\.", "attention.value."),
    (r"attention\.output_proj\.", "attention.proj."),
    (r"^(context\..*)\.linear(\d)\.", r"\1.mlp.fc\2."),
)

UNEPT_DIALECTS: dict[str, DialectRules] = {
    "unept": DialectRules(
        signature=r"^context_branch\.level_embed$",
        renamings=(*CONTEXT_RENAMINGS, (r"^backbone\.", "encoder."), *RESNET_RENAMINGS, *TIMM_RENAMINGS),
    ),
    "resnet": DialectRules(
        signature=r"^stem\.0\.weight$",
        renamings=((r"^", "encoder."), *RESNET_RENAMINGS),
        ignored=r"^fc\.",
    ),
}


def describe_unept(checkpoint: Checkpoint) -> Configuration:
    """The configuration of an UN-EPT checkpoint.

    The tensors say all but the number of heads, which is taken for 8, and a ResNet's strides and dilations. Windows
    are as large as the pictures of training, a third of that apart, as the recipes have them.
    """
    if not checkpoint.length("context.level_embeddings"):
        raise checkpoint.encoder_alone("context branch of UN-EPT")
    model = _describe_model(checkpoint)
    side = model.query_grid[0] * STRIDE
    return Configuration(
        model=model,
        labels=checkpoint.labels(model.num_classes),
        preprocessor=PreprocessorConfig(resize=ShortSideResize(size=512, max_long_side=2048, library="opencv")),
        inference=InferenceConfig(
            mode="slide",
            window=(side, side),
            stride=(max(side // 3, 1), max(side // 3, 1)),
            small_picture="pad",
            scale_rounding="down",
            upsampling="two-step",
        ),
        pipeline=PipelineConfig(type=Tasks.image_segmentation),
    )


def _describe_model(checkpoint: Checkpoint) -> UneptConfig:
    levels = checkpoint.length("context.level_embeddings")
    shares = checkpoint.length("context.pyramid_layers.0.attention.weights.weight")
    if not shares or shares % (HEADS * levels):
        raise InputError(
            f"{checkpoint.path} has {shares} points over {levels} levels, which {HEADS} heads cannot share. "
            "Convert it with a preset that says what it is."
        )
    return UneptConfig(
        num_classes=checkpoint.length("classifier.bias"),
        encoder=_describe_encoder(checkpoint),
        levels=levels,
        dim=checkpoint.tensors["queries"].shape[1],
        heads=HEADS,
        points=shares // (HEADS * levels),
        depth=checkpoint.count(r"context\.pyramid_layers\.(\d+)\."),
        hidden=checkpoint.length("context.pyramid_layers.0.mlp.fc1.weight"),
        query_grid=_square(checkpoint, "queries", checkpoint.length("queries")),
    )


def _describe_encoder(checkpoint: Checkpoint) -> DeitConfig | ResNetConfig:
    found = "deit" if "encoder.embed.weight" in checkpoint.tensors else "res50"
    if checkpoint.architecture not in (None, f"unept-{found}"):
        raise InputError(
            f"{checkpoint.path} holds weights of unept-{found}, not of {checkpoint.architecture}. "
            "Leave architecture out, or name another file."
        )
    return _describe_deit(checkpoint) if found == "deit" else _describe_resnet(checkpoint)


def _describe_deit(checkpoint: Checkpoint) -> DeitConfig:
    embed, positions = (checkpoint.tensors[f"encoder.{key}.weight"] for key in ("embed", "positions"))
    distilled = "encoder.distillation_token" in checkpoint.tensors
    rows, columns = _square(checkpoint, "positions", positions.shape[1] - 1 - distilled)
    patch_size = embed.shape[-1]
    dim, depth = embed.shape[0], checkpoint.count(r"encoder\.blocks\.(\d+)\.")
    variants = [name for name, shape in VIT_VARIANTS.items() if (shape.dim, shape.depth) == (dim, depth)]
    return DeitConfig(
        variant=cast(VitVariant, variants[0] if variants else "base"),
        dim=None if variants else dim,
        depth=None if variants else depth,
        image_size=(rows * patch_size, columns * patch_size),
        patch_size=patch_size,
        distilled=distilled,
        mlp_ratio=checkpoint.length("encoder.blocks.0.mlp.fc1.weight") // dim,
    )


def _describe_resnet(checkpoint: Checkpoint) -> ResNetConfig:
    first, second, third, fourth = (checkpoint.count(rf"encoder\.stages\.{stage}\.(\d+)\.") for stage in range(4))
    return ResNetConfig(depths=(first, second, third, fourth), channels=checkpoint.length("encoder.stem.4.conv.weight"))


def _square(checkpoint: Checkpoint, name: str, cells: int) -> tuple[int, int]:
    """The sides of a table, which must be square: its shape says no more."""
    side = math.isqrt(max(cells, 0))
    if side * side != cells or not side:
        raise InputError(
            f"{checkpoint.path} has a table of {name} with {cells} cells, and only a square one says its sides by "
            "itself. Convert it with a preset that says them."
        )
    return side, side


UNEPT_FAMILY = Family(
    architectures=("unept-deit", "unept-res50"),
    signature=r"^context\.level_embeddings$",
    describe=describe_unept,
)
