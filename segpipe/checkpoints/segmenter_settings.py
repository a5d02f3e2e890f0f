"""The `variant.yml` beside a checkpoint of Segmenter's official implementation, in our words."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

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
    SegmenterConfig,
    SegmenterHeadConfig,
    ShortSideResize,
    VitConfig,
    VitVariant,
    build_configuration,
    load_preset,
    read_yaml,
    to_document,
)
from segpipe.errors import ConfigurationError

from .settings_fields import ForeignDocument

VARIANT_FILE = "variant.yml"
VIT_SHAPES: dict[tuple[int, int, int], VitVariant] = {
    (192, 12, 3): "tiny",
    (384, 12, 6): "small",
    (768, 12, 12): "base",
    (1024, 24, 16): "large",
}
"""Channels, blocks and heads → variant."""
MAX_RATIOS = {"ade20k": 4, "cityscapes": 2, "pascal_context": 8}
"""Long side over short side that evaluation allows, by data set."""
LABEL_PRESETS = {
    "ade20k": "segformer-b0-ade20k",
    "cityscapes": "segformer-b0-cityscapes",
    "pascal_context": "segmenter-large-pascal-context",
}
PIXEL_STATISTICS = {"vit": (HALF_MEAN, HALF_STD), "deit": (IMAGENET_MEAN, IMAGENET_STD)}
HEADS: dict[str, Literal["mask", "linear"]] = {"mask_transformer": "mask", "linear": "linear"}


def read_segmenter_variant(path: Path) -> Configuration:
    """The configuration that a `variant.yml` describes.

    Windows and steps are those of evaluation during training (`inference_kwargs`); pictures smaller than the
    window are enlarged, and the short side becomes `im_size`, as where the scores were measured.
    """
    configuration = configuration_from_variant(read_yaml(path), origin=str(path))
    return build_configuration(to_document(configuration), origin=f"{path} in segpipe's words")


def configuration_from_variant(document: Any, *, origin: str) -> Configuration:
    """The configuration of a parsed document; its sizes are not yet held against our limits."""
    source = ForeignDocument(document, origin)
    try:
        return _build_configuration(source)
    except ConfigurationError:
        raise
    except ValueError as error:  # what our own document would not allow either
        raise ConfigurationError(f"{origin}: {error}. Correct one of the two.") from None


def segmenter_inference(window: int, stride: int) -> InferenceConfig:
    """Square windows as Segmenter's evaluation uses them."""
    return InferenceConfig(
        mode="slide",
        window=(window, window),
        stride=(stride, stride),
        small_picture="enlarge",
        scale_rounding="down",
        upsampling="two-step",
    )


def _build_configuration(source: ForeignDocument) -> Configuration:
    model = _build_model(source)
    return Configuration(
        model=model,
        labels=_known_labels(source, model.num_classes),
        preprocessor=PreprocessorConfig(resize=_build_resize(source)),
        inference=segmenter_inference(
            source.integer("inference_kwargs.window_size", model.encoder.image_size[0]),
            source.integer("inference_kwargs.window_stride", model.encoder.image_size[0]),
        ),
        pipeline=PipelineConfig(type="image-segmentation"),
    )


def _build_model(source: ForeignDocument) -> SegmenterConfig:
    dim, depth, heads = (source.integer(f"net_kwargs.{key}") for key in ("d_model", "n_layers", "n_heads"))
    shape = dim, depth, heads
    known = shape in VIT_SHAPES
    source.require("net_kwargs.normalization", tuple(PIXEL_STATISTICS), default="vit")
    mean, std = PIXEL_STATISTICS[source.get("net_kwargs.normalization", "vit")]
    encoder = VitConfig(
        image_size=_image_size(source),
        patch_size=source.integer("net_kwargs.patch_size"),
        distilled=source.switch("net_kwargs.distilled", False),
        drop_path_rate=source.share("net_kwargs.drop_path_rate", 0.1),
        dropout=source.share("net_kwargs.dropout", 0.0),
        dim=None if known else dim,
        depth=None if known else depth,
        heads=None if known else heads,
    )
    return SegmenterConfig(
        variant=VIT_SHAPES.get(shape, "tiny"),
        num_classes=source.integer("net_kwargs.n_cls"),
        head=_build_head(source),
        encoder=encoder,
        pixel_mean=mean,
        pixel_std=std,
    )


def _image_size(source: ForeignDocument) -> tuple[int, int]:
    """(height, width) from a list or one number."""
    path = "net_kwargs.image_size"
    value = source.get(path)
    if isinstance(value, int):
        return source.integer(path), source.integer(path)
    if not isinstance(value, list) or len(value) != 2 or not all(type(side) is int and side > 0 for side in value):
        raise source.error(path, f"{value!r} is neither a number of pixels nor a height and a width", "Correct it")
    return value[0], value[1]


def _build_head(source: ForeignDocument) -> SegmenterHeadConfig:
    source.require("net_kwargs.decoder.name", tuple(HEADS), default=None)
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
