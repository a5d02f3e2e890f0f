"""EasyCV, which ModelScope's SegFormers come from: their `configuration.json`. Its tensors have mmseg's names."""

from __future__ import annotations

from typing import Any

from segpipe.configuration import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Configuration,
    InferenceConfig,
    LabelSet,
    PipelineConfig,
    PreprocessorConfig,
    ShortSideResize,
)
from segpipe.errors import ConfigurationError
from segpipe.models import HeadConfig, SegformerConfig, head_channels
from segpipe.names import PIPELINE_ALIASES, Tasks

from .foreign_document import ForeignDocument, described, distinct_names, ignore_index_for, known_labels, numbered_names
from .mmseg import MMSEG, NORM_EPS
from .segformer_shapes import HEADS, MLP_RATIO, REDUCTIONS, EncoderShape

EASYCV = MMSEG
"""The same network in a second framework: the same names, eps and pickles, and a document of its own."""
SHORT_SIDE, LONG_SIDE = 512, 2048
Rgb = tuple[float, float, float]
_NAME_PLACES = ("CLASSES", "dataset.train.data_source.classes", "dataset.val.data_source.classes")


def is_easycv(document: Any) -> bool:
    """Return whether a parsed `configuration.json` is one of EasyCV's."""
    model = document.get("model") if isinstance(document, dict) else None
    return isinstance(model, dict) and ("decode_head" in model or model.get("type") == "Segformer")


def configuration_from_easycv(document: Any, *, origin: str) -> Configuration:
    """Return the configuration that the document describes; what asks for plugins or remote code is ignored."""
    return described(lambda: _build_configuration(document, origin), origin=origin)


def _build_configuration(document: Any, origin: str) -> Configuration:
    source = ForeignDocument(_decode_tuples(document, origin=origin), origin)
    _check_architecture(source)
    model = _build_model(source)
    return Configuration(
        model=model,
        labels=_build_labels(source, num_classes=model.num_classes),
        preprocessor=PreprocessorConfig(resize=_build_resize(source)),
        inference=_build_inference(source),
        pipeline=PipelineConfig(type=_pipeline_type(source)),
    )


def _pipeline_type(source: ForeignDocument) -> str:
    """Return our name for EasyCV's pipeline; one of another name keeps it, for a plugin may have it."""
    stated = source.get("pipeline.type")
    if not isinstance(stated, str) or not stated:
        return Tasks.image_segmentation
    return PIPELINE_ALIASES.get(stated, stated)


def _decode_tuples(value: Any, *, origin: str) -> Any:
    """Return lists for jsonplus tuples, `{"__class__": "tuple", "__value__": […]}`; no other class is made."""
    if isinstance(value, list):
        return [_decode_tuples(item, origin=origin) for item in value]
    if not isinstance(value, dict):
        return value
    if "__class__" not in value:
        return {key: _decode_tuples(member, origin=origin) for key, member in value.items()}
    if value["__class__"] != "tuple" or not isinstance(value.get("__value__"), list):
        raise ConfigurationError(
            f"{origin}: __class__: {value['__class__']!r} asks for an object; only 'tuple' is read, "
            "since a document is data. Replace the object by plain JSON."
        )
    return _decode_tuples(value["__value__"], origin=origin)


def _check_architecture(source: ForeignDocument) -> None:
    source.require("model.backbone.type", "MixVisionTransformer", is_given=True)
    source.require("model.decode_head.type", "SegformerHead", is_given=True)
    source.require("model.backbone.in_channels", 3)
    source.require("model.backbone.num_stages", 4)
    source.require("model.backbone.patch_sizes", (7, 3, 3, 3))
    source.require("model.backbone.strides", (4, 2, 2, 2))
    source.require("model.backbone.out_indices", (0, 1, 2, 3))
    source.require("model.backbone.qkv_bias", True)
    source.require("model.decode_head.align_corners", False)
    source.require("model.decode_head.interpolate_mode", "bilinear")


def _build_model(source: ForeignDocument) -> SegformerConfig:
    shape = _encoder_shape(source)
    mean, std = _pixel_statistics(source)
    return SegformerConfig(
        variant=shape.variant,
        num_classes=source.integer("model.decode_head.num_classes"),
        head=HeadConfig(
            type="conv",
            channels=source.integer("model.decode_head.channels", head_channels(shape.variant, HeadConfig())),
            dropout=source.share("model.decode_head.dropout_ratio", 0.1),
        ),
        encoder=shape.encoder(drop_path_rate=source.share("model.backbone.drop_path_rate", 0.1), norm_eps=NORM_EPS),
        pixel_mean=mean,
        pixel_std=std,
        size_multiple=_size_divisor(source),
    )


def _encoder_shape(source: ForeignDocument) -> EncoderShape:
    heads = source.four("model.backbone.num_heads", HEADS)
    width = source.integer("model.backbone.embed_dims")
    first, second, third, fourth = (width * count for count in heads)
    return EncoderShape(
        dims=(first, second, third, fourth),
        depths=source.four("model.backbone.num_layers"),
        heads=heads,
        reductions=source.four("model.backbone.sr_ratios", REDUCTIONS),
        mlp_ratio=source.integer("model.backbone.mlp_ratio", MLP_RATIO),
    )


def _build_labels(source: ForeignDocument, *, num_classes: int) -> LabelSet:
    names, palette = _class_names(source, num_classes=num_classes), source.get("PALETTE")
    known = known_labels(names)
    colors = known.palette if known else None
    if isinstance(palette, list) and len(palette) >= len(names):
        colors = tuple(_color(source, index, color) for index, color in enumerate(palette[: len(names)]))
    return LabelSet(
        names=names,
        palette=colors,
        ignore_index=ignore_index_for(len(names)),
        raw_ids=known.raw_ids if known else None,
    )


def _class_names(source: ForeignDocument, *, num_classes: int) -> tuple[str, ...]:
    """Return the names, which may be fewer than the outputs: trailing outputs are void."""
    for path in _NAME_PLACES:
        names = source.get(path)
        if names is None:
            continue
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise source.error(path, "a list of class names is needed", "Correct it, or remove it")
        if len(names) > num_classes:
            raise source.error(
                path,
                f"{len(names)} names for {num_classes} outputs (model.decode_head.num_classes)",
                "Correct one of the two",
            )
        return distinct_names(names)
    return numbered_names(num_classes)


def _color(source: ForeignDocument, index: int, color: Any) -> tuple[int, int, int]:
    if not isinstance(color, list) or len(color) != 3 or not all(isinstance(c, int) and 0 <= c <= 255 for c in color):
        raise source.error(
            f"PALETTE[{index}]", f"{color!r} is not a color of three integers from 0 to 255", "Correct it"
        )
    red, green, blue = color
    return red, green, blue


def _build_resize(source: ForeignDocument) -> ShortSideResize:
    scale = next((step["img_scale"] for step in _test_steps(source) if step.get("img_scale")), [LONG_SIDE, SHORT_SIDE])
    scale = scale[0] if isinstance(scale, list) and len(scale) == 1 else scale
    if not isinstance(scale, list) or len(scale) != 2 or not all(isinstance(side, int) and side > 0 for side in scale):
        raise source.error(
            "dataset.val.pipeline", f"img_scale {scale!r} is not one pair of sides in pixels", "Correct it"
        )
    return ShortSideResize(size=min(scale), max_long_side=max(scale), library="opencv")


def _size_divisor(source: ForeignDocument) -> int:
    """Return what a step of the validation pipeline pads to; 1 without one, since neither network nor head pads."""
    step = next((step for step in _test_steps(source) if step.get("size_divisor")), {})
    return ForeignDocument(step, f"{source.origin}: dataset.val.pipeline").integer("size_divisor", 1)


def _pixel_statistics(source: ForeignDocument) -> tuple[Rgb, Rgb]:
    step = next((step for step in _test_steps(source) if str(step.get("type", "")).endswith("Normalize")), {})
    normalize = ForeignDocument(step, f"{source.origin}: dataset.val.pipeline")
    normalize.require("to_rgb", True)
    mean, std = normalize.three("mean", IMAGENET_MEAN), normalize.three("std", IMAGENET_STD)
    if min(std) <= 0:
        raise normalize.error("std", f"{list(std)}: values above 0 are needed", "Correct it")
    return mean, std


def _test_steps(source: ForeignDocument) -> list[dict[str, Any]]:
    """Return the steps of the validation pipeline, those inside MMMultiScaleFlipAug after it."""
    steps = source.get("dataset.val.pipeline", [])
    flat: list[dict[str, Any]] = []
    for step in steps if isinstance(steps, list) else []:
        inner = step.get("transforms", []) if isinstance(step, dict) else []
        flat += [item for item in [step, *(inner if isinstance(inner, list) else [])] if isinstance(item, dict)]
    return flat


def _build_inference(source: ForeignDocument) -> InferenceConfig:
    source.require("model.test_cfg.mode", "whole", "slide")
    if source.get("model.test_cfg.mode", "whole") == "whole":
        return InferenceConfig(scale_rounding="down", upsampling="two-step")
    window, stride = source.pair("model.test_cfg.crop_size"), source.pair("model.test_cfg.stride")
    return InferenceConfig(mode="slide", window=window, stride=stride, scale_rounding="down", upsampling="two-step")
