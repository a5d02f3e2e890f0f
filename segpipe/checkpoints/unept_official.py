"""UN-EPT's official implementation: its tensor names, and what a checkpoint's shapes say."""

from __future__ import annotations

from segpipe.configuration import Configuration, InferenceConfig, PipelineConfig, PreprocessorConfig, ShortSideResize
from segpipe.errors import InputError
from segpipe.models import DeitConfig, ResNetConfig, UneptConfig
from segpipe.names import Tasks

from .implementation import Checkpoint, Implementation, Recognizer, with_meta
from .key_map import KeyMap, Pointwise, Rename
from .mmseg import RESNET_BACKBONE
from .timm import BACKBONE, VIT_WEIGHT, find_vit_variant

# The published number; the tensors say only heads times points.
HEADS = 8
STRIDE = 8
_ADVICE = "Convert it with a preset that says what it is"
_PYRAMID, _QUERIES = "context_branch.encoder.layers.{layer}", "context_branch.decoder.layers.{layer}"
_OUR_PYRAMID, _OUR_QUERIES = "context.pyramid_layers.{layer}", "context.query_layers.{layer}"

UNEPT = Implementation(
    key_map=KeyMap(
        signature=("context_branch.level_embed",),
        needs="context.level_embeddings",
        rules=(
            Rename("layers.*", "pyramid.*"),
            Rename("spatial_branch.convblock{layer+1}.conv1.*", "spatial.layers.{layer}.conv.*"),
            Rename("spatial_branch.convblock{layer+1}.bn.*", "spatial.layers.{layer}.norm.*"),
            Rename("query_embed.weight", "queries"),
            Rename("cls.*", "classifier.*"),
            *(
                rule
                for theirs, ours in (("mask_head", "mask_head"), ("dir_head", "direction_head"))
                for rule in (
                    Rename(f"{theirs}.0.*", f"{ours}.0.conv.*"),
                    Rename(f"{theirs}.1.*", f"{ours}.0.norm.*"),
                    Rename(f"{theirs}.3.*", f"{ours}.2.*"),
                )
            ),
            Rename("context_branch.level_embed", "context.level_embeddings"),
            Rename(f"{_PYRAMID}.norm{{n}}.*", f"{_OUR_PYRAMID}.norm{{n}}.*"),
            Rename(f"{_PYRAMID}.linear{{n}}.*", f"{_OUR_PYRAMID}.mlp.fc{{n}}.*"),
            Rename(f"{_PYRAMID}.self_attn.*", f"{_OUR_PYRAMID}.attention.*"),
            # Their norms are numbered as they were written, ours in the order of computation.
            Rename(f"{_QUERIES}.norm2.*", f"{_OUR_QUERIES}.norm1.*"),
            Rename(f"{_QUERIES}.norm1.*", f"{_OUR_QUERIES}.norm2.*"),
            Rename(f"{_QUERIES}.norm3.*", f"{_OUR_QUERIES}.norm3.*"),
            Rename(f"{_QUERIES}.linear{{n}}.*", f"{_OUR_QUERIES}.mlp.fc{{n}}.*"),
            Rename(f"{_QUERIES}.self_attn.in_proj_*", f"{_OUR_QUERIES}.self_attention.qkv.*"),
            Rename(f"{_QUERIES}.self_attn.out_proj.*", f"{_OUR_QUERIES}.self_attention.proj.*"),
            Rename(f"{_QUERIES}.cross_attn.*", f"{_OUR_QUERIES}.cross_attention.*"),
            Rename("context.*.sampling_offsets.*", "context.*.offsets.*"),
            Rename("context.*.attention_weights.*", "context.*.weights.*"),
            Rename("context.*.value_proj.*", "context.*.value.*"),
            Rename(f"{_OUR_PYRAMID}.attention.output_proj.*", f"{_OUR_PYRAMID}.attention.proj.*"),
            Rename(f"{_OUR_QUERIES}.cross_attention.output_proj.*", f"{_OUR_QUERIES}.cross_attention.proj.*"),
            Pointwise("pyramid.{level}.weight"),
            Pointwise("classifier.weight"),
            Rename("backbone.*", "encoder.*"),
            *RESNET_BACKBONE,
            *BACKBONE,
        ),
    ),
    pickled=with_meta,
)


def describe_unept(checkpoint: Checkpoint) -> Configuration:
    """Return the configuration of an UN-EPT checkpoint.

    The tensors say all but the number of heads, which is taken for 8, and a ResNet's strides and dilations. Windows
    are as large as the images of training, a third of that apart, as the recipes have them.
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
    points = checkpoint.length("context.pyramid_layers.0.attention.weights.weight")
    if not points or points % (HEADS * levels):
        raise InputError(
            f"{checkpoint.path} has {points} points over {levels} levels, which {HEADS} heads cannot share. {_ADVICE}."
        )
    side = checkpoint.square("queries", checkpoint.length("queries"), advice=_ADVICE)
    return UneptConfig(
        num_classes=checkpoint.length("classifier.bias"),
        encoder=_describe_encoder(checkpoint),
        levels=levels,
        dim=checkpoint.tensors["queries"].shape[1],
        heads=HEADS,
        points=points // (HEADS * levels),
        depth=checkpoint.count(r"context\.pyramid_layers\.(\d+)\."),
        hidden=checkpoint.length("context.pyramid_layers.0.mlp.fc1.weight"),
        query_grid=(side, side),
    )


def _describe_encoder(checkpoint: Checkpoint) -> DeitConfig | ResNetConfig:
    found = "deit" if VIT_WEIGHT in checkpoint.tensors else "res50"
    checkpoint.check_architecture(f"unept-{found}")
    return _describe_deit(checkpoint) if found == "deit" else _describe_resnet(checkpoint)


def _describe_deit(checkpoint: Checkpoint) -> DeitConfig:
    embed, positions = (checkpoint.tensors[f"encoder.{key}.weight"] for key in ("embed", "positions"))
    distilled = "encoder.distillation_token" in checkpoint.tensors
    patch_size = embed.shape[-1]
    side = patch_size * checkpoint.square("positions", positions.shape[1] - 1 - distilled, advice=_ADVICE)
    dim, depth = embed.shape[0], checkpoint.count(r"encoder\.blocks\.(\d+)\.")
    variant = find_vit_variant(dim, depth)
    return DeitConfig(
        variant=variant or "base",
        dim=None if variant else dim,
        depth=None if variant else depth,
        image_size=(side, side),
        patch_size=patch_size,
        distilled=distilled,
        mlp_ratio=checkpoint.length("encoder.blocks.0.mlp.fc1.weight") // dim,
    )


def _describe_resnet(checkpoint: Checkpoint) -> ResNetConfig:
    first, second, third, fourth = (checkpoint.count(rf"encoder\.stages\.{stage}\.(\d+)\.") for stage in range(4))
    return ResNetConfig(depths=(first, second, third, fourth), channels=checkpoint.length("encoder.stem.4.conv.weight"))


UNEPT_SHAPES = Recognizer(
    architectures=("unept-deit", "unept-res50"),
    signature="context.level_embeddings",
    describe=describe_unept,
)
