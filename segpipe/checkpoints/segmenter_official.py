"""Segmenter's official implementation: its tensor names, its `variant.yml`, and what a checkpoint's shapes say."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

from segpipe.configuration import (
    HALF_MEAN,
    HALF_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Configuration,
    InferenceConfig,
    LabelSet,
    PipelineConfig,
    PreprocessorConfig,
    ShortSideResize,
    load_preset,
    read_yaml,
)
from segpipe.errors import InputError
from segpipe.log import get_logger
from segpipe.models import VIT_VARIANTS, SegmenterConfig, SegmenterHeadConfig, VitConfig, VitVariant
from segpipe.names import Tasks

from .foreign_document import ForeignDocument, described
from .implementation import Checkpoint, Document, Implementation, Recognizer
from .key_map import KeyMap, Rename, Unused
from .timm import BACKBONE, VIT_WEIGHT, find_vit_variant

logger = get_logger(__name__)

VARIANT_FILE = "variant.yml"
MAX_RATIOS = {"ade20k": 4, "cityscapes": 2, "pascal_context": 8}
"""Long side over short side that evaluation allows, by data set."""
LABEL_PRESETS = {
    "ade20k": "segformer-b0-ade20k",
    "cityscapes": "segformer-b0-cityscapes",
    "pascal_context": "segmenter-large-pascal-context",
}
PIXEL_STATISTICS = {"vit": (HALF_MEAN, HALF_STD), "deit": (IMAGENET_MEAN, IMAGENET_STD)}
HEADS: dict[str, Literal["mask", "linear"]] = {"mask_transformer": "mask", "linear": "linear"}
STRIDES = {480: 320, 768: 512}
"""Crop → step of the windows, where the published recipes have other than the crop itself."""


def read_segmenter_variant(path: Path) -> Configuration:
    """Return the configuration that a `variant.yml` describes.

    Windows and steps are those of evaluation during training (`inference_kwargs`); images smaller than the
    window are enlarged, and the short side becomes `im_size`, as where the scores were measured.
    """
    source = ForeignDocument(read_yaml(path), str(path))
    return described(lambda: _build_configuration(source), origin=str(path))


def describe_segmenter(checkpoint: Checkpoint) -> Configuration:
    """Return the configuration of a Segmenter checkpoint.

    Without a `variant.yml`, windows are as large as the images of training, images are not resized, the eps are
    the official implementation's, and pixels are normalized as DeiT's where there is a distillation token.
    """
    if not any(f"head.classifier.{key}" in checkpoint.tensors for key in ("bias", "norm.bias")):
        raise checkpoint.encoder_alone("decoder of Segmenter")
    variant_file = DOCUMENT.find(checkpoint.path.parent)
    if variant_file is not None:
        configuration = read_segmenter_variant(variant_file)
    else:
        logger.info("There is no %s beside %s: its shapes are read", VARIANT_FILE, checkpoint.path)
        configuration = _describe_shapes(checkpoint)
    model = cast(SegmenterConfig, configuration.model)
    prefix = "segmenter-deit" if model.encoder.distilled else "segmenter"
    checkpoint.check_architecture(f"{prefix}-{model.variant}-{model.head.type}")
    return configuration


def _build_configuration(source: ForeignDocument) -> Configuration:
    model = _build_model(source)
    return Configuration(
        model=model,
        labels=_known_labels(source, model.num_classes),
        preprocessor=PreprocessorConfig(resize=_build_resize(source)),
        inference=_windows(
            source.integer("inference_kwargs.window_size", model.encoder.image_size[0]),
            source.integer("inference_kwargs.window_stride", model.encoder.image_size[0]),
        ),
        pipeline=PipelineConfig(type=Tasks.image_segmentation),
    )


def _build_model(source: ForeignDocument) -> SegmenterConfig:
    dim, depth, heads = (source.integer(f"net_kwargs.{key}") for key in ("d_model", "n_layers", "n_heads"))
    variant = find_vit_variant(dim, depth, heads)
    source.require("net_kwargs.normalization", *PIXEL_STATISTICS)
    mean, std = PIXEL_STATISTICS[source.get("net_kwargs.normalization", "vit")]
    encoder = VitConfig(
        image_size=_image_size(source),
        patch_size=source.integer("net_kwargs.patch_size"),
        distilled=source.switch("net_kwargs.distilled", False),
        drop_path_rate=source.share("net_kwargs.drop_path_rate", 0.1),
        dropout=source.share("net_kwargs.dropout", 0.0),
        dim=None if variant else dim,
        depth=None if variant else depth,
        heads=None if variant else heads,
    )
    return SegmenterConfig(
        variant=variant or "tiny",
        num_classes=source.integer("net_kwargs.n_cls"),
        head=_build_head(source),
        encoder=encoder,
        pixel_mean=mean,
        pixel_std=std,
    )


def _image_size(source: ForeignDocument) -> tuple[int, int]:
    """Return (height, width) from a list or one number."""
    path = "net_kwargs.image_size"
    if isinstance(source.get(path), int):
        return source.integer(path), source.integer(path)
    return source.pair(path, "is neither a number of pixels nor a height and a width")


def _build_head(source: ForeignDocument) -> SegmenterHeadConfig:
    source.require("net_kwargs.decoder.name", *HEADS, is_given=True)
    kind = HEADS[source.get("net_kwargs.decoder.name")]
    if kind == "linear":
        return SegmenterHeadConfig(type=kind)
    return SegmenterHeadConfig(
        type=kind,
        depth=source.integer("net_kwargs.decoder.n_layers", 2),
        dropout=source.share("net_kwargs.decoder.dropout", 0.1),
        drop_path_rate=source.share("net_kwargs.decoder.drop_path_rate", 0.0),
    )


def _build_resize(source: ForeignDocument) -> ShortSideResize:
    name = source.get("dataset_kwargs.dataset")
    ratio = MAX_RATIOS.get(name) if isinstance(name, str) else None
    default = source.get("dataset_kwargs.image_size") or source.get("inference_kwargs.window_size")
    side = source.integer("inference_kwargs.im_size", default)
    return ShortSideResize(size=side, max_long_side=ratio * side if ratio else None, library="opencv")


def _known_labels(source: ForeignDocument, num_classes: int) -> LabelSet | None:
    name = source.get("dataset_kwargs.dataset")
    preset = LABEL_PRESETS.get(name) if isinstance(name, str) else None
    labels = load_preset(preset).labels if preset else None
    return labels if labels is not None and len(labels.names) == num_classes else None


def _windows(window: int, stride: int) -> InferenceConfig:
    """Return square windows as Segmenter's evaluation uses them."""
    return InferenceConfig(
        mode="slide",
        window=(window, window),
        stride=(stride, stride),
        small_picture="enlarge",
        scale_rounding="down",
        upsampling="two-step",
    )


def _describe_shapes(checkpoint: Checkpoint) -> Configuration:
    distilled = "encoder.distillation_token" in checkpoint.tensors
    mean, std = PIXEL_STATISTICS["deit" if distilled else "vit"]
    patch_size = checkpoint.shape("encoder.embed.weight", 4)[-1]
    patches = checkpoint.shape("encoder.positions.weight", 3)[1] - 1 - distilled
    side = patch_size * checkpoint.square(
        "positions", patches, advice=f"Put the {VARIANT_FILE} of the training beside it"
    )
    model = SegmenterConfig(
        variant=_recognize(checkpoint),
        num_classes=checkpoint.length("head.classifier.bias") or checkpoint.length("head.classifier.norm.bias"),
        head=SegmenterHeadConfig(
            type="linear" if "head.classifier.bias" in checkpoint.tensors else "mask",
            depth=checkpoint.count(r"head\.blocks\.(\d+)\.") or 2,
        ),
        encoder=VitConfig(image_size=(side, side), patch_size=patch_size, distilled=distilled),
        pixel_mean=mean,
        pixel_std=std,
    )
    return Configuration(
        model=model,
        labels=checkpoint.labels(model.num_classes),
        inference=_windows(side, STRIDES.get(side, side)),
        pipeline=PipelineConfig(type=Tasks.image_segmentation),
    )


def _recognize(checkpoint: Checkpoint) -> VitVariant:
    """Return the variant by the channels and blocks that the tensors have."""
    dim, depth = checkpoint.length("encoder.norm.weight"), checkpoint.count(r"encoder\.blocks\.(\d+)\.")
    variant = find_vit_variant(dim, depth)
    if variant is None:
        raise InputError(
            f"The tensors have {dim} channels and {depth} blocks, which is none of {', '.join(VIT_VARIANTS)}. "
            f"Put the {VARIANT_FILE} of the training beside {checkpoint.path}, or convert a folder of ours."
        )
    return variant


DOCUMENT = Document(VARIANT_FILE, read_segmenter_variant)
SEGMENTER = Implementation(
    key_map=KeyMap(
        signature=("encoder.patch_embed.proj.weight",),
        needs="encoder.norm.weight",
        excluded=("context.*", "encoder.stages.*", "encoder.stem.*"),
        rules=(
            # The classifiers of ImageNet, which the encoder keeps and segmentation never calls.
            Unused("encoder.head.*"),
            Unused("encoder.head_dist.*"),
            Unused("encoder.pre_logits.*"),
            Rename("decoder.head.*", "head.classifier.*"),
            Rename("decoder.cls_emb", "head.classifier.tokens"),
            Rename("decoder.mask_norm.*", "head.classifier.norm.*"),
            Rename("decoder.proj_dec.*", "head.embed.*"),
            Rename("decoder.proj_patch", "head.patch_projection"),
            Rename("decoder.proj_classes", "head.class_projection"),
            Rename("decoder.decoder_norm.*", "head.norm.*"),
            Rename("decoder.blocks.*", "head.blocks.*"),
            *BACKBONE,
        ),
    ),
    document=DOCUMENT,
    pickled=lambda tensors, configuration: {"model": tensors, "n_cls": configuration.model.num_classes},
)

SEGMENTER_SHAPES = Recognizer(
    architectures=(
        *(f"segmenter-{variant}-{head}" for variant in VIT_VARIANTS for head in ("mask", "linear")),
        *(f"segmenter-deit-{variant}-{head}" for variant in ("tiny", "small", "base") for head in ("mask", "linear")),
    ),
    signature=VIT_WEIGHT,
    describe=describe_segmenter,
)
