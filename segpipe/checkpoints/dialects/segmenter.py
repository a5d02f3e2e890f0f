"""What a checkpoint of Segmenter says: by the `variant.yml` beside it, else by its shapes."""

from __future__ import annotations

import math
import os
from typing import cast

from segpipe.checkpoints.segmenter_settings import (
    PIXEL_STATISTICS,
    VARIANT_FILE,
    read_segmenter_variant,
    segmenter_inference,
)
from segpipe.configuration import (
    Configuration,
    PipelineConfig,
    SegmenterConfig,
    SegmenterHeadConfig,
    VitConfig,
    VitVariant,
)
from segpipe.errors import InputError
from segpipe.log import get_logger
from segpipe.models import VIT_VARIANTS
from segpipe.names import Tasks

from .families import Checkpoint, Family

logger = get_logger(__name__)

# Crop → step of the windows, where the published recipes have other than the crop itself.
STRIDES = {480: 320, 768: 512}


def describe_segmenter(checkpoint: Checkpoint) -> Configuration:
    """The configuration of a Segmenter checkpoint.

    Without a `variant.yml`, windows are as large as the pictures of training, pictures are not resized, the eps are
    the official implementation's, and pixels are normalised as DeiT's where there is a distillation token.
    """
    if not any(f"head.classifier.{key}" in checkpoint.tensors for key in ("bias", "norm.bias")):
        raise checkpoint.encoder_alone("decoder of Segmenter")
    variant_file = checkpoint.path.parent / VARIANT_FILE
    if os.path.isfile(variant_file):
        configuration = read_segmenter_variant(variant_file)
    else:
        logger.info("There is no %s beside %s: its shapes are read", VARIANT_FILE, checkpoint.path)
        configuration = _describe_shapes(checkpoint)
    _check_architecture(checkpoint, cast(SegmenterConfig, configuration.model))
    return configuration


def architecture_of(model: SegmenterConfig) -> str:
    """The name that `convert` gives to such a network."""
    return f"segmenter-{'deit-' if model.encoder.distilled else ''}{model.variant}-{model.head.type}"


def _check_architecture(checkpoint: Checkpoint, model: SegmenterConfig) -> None:
    found = architecture_of(model)
    if checkpoint.architecture not in (None, found):
        raise InputError(
            f"{checkpoint.path} holds weights of {found}, not of {checkpoint.architecture}. "
            "Leave architecture out, or name another file."
        )


def _describe_shapes(checkpoint: Checkpoint) -> Configuration:
    distilled = "encoder.distillation_token" in checkpoint.tensors
    mean, std = PIXEL_STATISTICS["deit" if distilled else "vit"]
    patch_size = checkpoint.shape("encoder.embed.weight", 4)[-1]
    side = patch_size * _table_side(checkpoint, extra=1 + distilled)
    kind = "linear" if "head.classifier.bias" in checkpoint.tensors else "mask"
    model = SegmenterConfig(
        variant=_recognise(checkpoint),
        num_classes=checkpoint.length("head.classifier.bias") or checkpoint.length("head.classifier.norm.bias"),
        head=SegmenterHeadConfig(
            type="linear" if kind == "linear" else "mask",
            depth=checkpoint.count(r"head\.blocks\.(\d+)\.") or 2,
        ),
        encoder=VitConfig(image_size=(side, side), patch_size=patch_size, distilled=distilled),
        pixel_mean=mean,
        pixel_std=std,
    )
    return Configuration(
        model=model,
        labels=checkpoint.labels(model.num_classes),
        inference=segmenter_inference(side, STRIDES.get(side, side)),
        pipeline=PipelineConfig(type=Tasks.image_segmentation),
    )


def _recognise(checkpoint: Checkpoint) -> VitVariant:
    """The variant by the channels and blocks that the tensors have."""
    dim, depth = checkpoint.length("encoder.norm.weight"), checkpoint.count(r"encoder\.blocks\.(\d+)\.")
    for variant, shape in VIT_VARIANTS.items():
        if (shape.dim, shape.depth) == (dim, depth):
            return cast(VitVariant, variant)
    raise InputError(
        f"The tensors have {dim} channels and {depth} blocks, which is none of {', '.join(VIT_VARIANTS)}. "
        f"Put the {VARIANT_FILE} of the training beside {checkpoint.path}, or convert a folder of ours."
    )


def _table_side(checkpoint: Checkpoint, *, extra: int) -> int:
    """Patches per side of the table of positions, which must be square: its shape says no more."""
    patches = checkpoint.shape("encoder.positions.weight", 3)[1] - extra
    side = math.isqrt(max(patches, 0))
    if side * side != patches or not side:
        raise InputError(
            f"The table of positions has {patches} patches, and only a square one says its sides by itself. "
            f"Put the {VARIANT_FILE} of the training beside {checkpoint.path}."
        )
    return side


SEGMENTER_FAMILY = Family(
    architectures=(
        *(f"segmenter-{variant}-{head}" for variant in VIT_VARIANTS for head in ("mask", "linear")),
        *(f"segmenter-deit-{variant}-{head}" for variant in ("tiny", "small", "base") for head in ("mask", "linear")),
    ),
    signature=r"^encoder\.embed\.weight$",
    describe=describe_segmenter,
)
