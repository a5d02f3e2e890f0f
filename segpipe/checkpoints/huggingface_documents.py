"""Our configuration of a SegFormer as Hugging Face's two documents, `config.json` and `preprocessor_config.json`."""

from __future__ import annotations

from typing import Any

from segpipe.configuration import (
    Configuration,
    CropResize,
    EncoderConfig,
    ExactResize,
    LabelSet,
    MitConfig,
    SegformerConfig,
    ShortSideResize,
)
from segpipe.errors import InputError

from .settings_fields import HEADS, REDUCTIONS, VARIANTS

_SHAPES = {variant: shape for shape, variant in VARIANTS.items()}
BILINEAR = 2


def huggingface_config(configuration: Configuration) -> dict[str, Any]:
    """The content of `config.json`.

    Outputs beyond the labels are named by their number. LayerNorm's eps is no part of it: that implementation always
    computes with 1e-5.

    Raises:
        InputError: another network than SegFormer with the all-MLP head, or MiT with its classifier.
    """
    model = configuration.model
    if not isinstance(model, SegformerConfig | MitConfig) or (
        isinstance(model, SegformerConfig) and model.head.type != "mlp"
    ):
        raise InputError(
            "Hugging Face's SegFormer has the all-MLP head or a classifier, and this network neither. "
            "Choose the dialect of an implementation that has the same network."
        )
    task: dict[str, Any] = {"architectures": ["SegformerForImageClassification"]}
    if isinstance(model, SegformerConfig):
        task = {
            "architectures": ["SegformerForSemanticSegmentation"],
            "classifier_dropout_prob": model.head.dropout,
            "decoder_hidden_size": model.head.channels or (256 if model.variant in ("b0", "b1") else 768),
        }
    names = _names(configuration.labels, model.num_classes)
    return {
        **task,
        "model_type": "segformer",
        **_encoder_fields(model.variant, model.encoder),
        "semantic_loss_ignore_index": configuration.labels.ignore_index if configuration.labels else 255,
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }


def huggingface_preprocessor(configuration: Configuration) -> dict[str, Any]:
    """The content of `preprocessor_config.json`, values of pixels in units of 1.

    A resize by the short side is written as well, and read again by segpipe; `SegformerImageProcessor` itself takes
    heights and widths alone. A crop, which it does not have, becomes a resize to the crop's size.
    """
    model, labels = configuration.model, configuration.labels
    resize = configuration.preprocessor.resize
    return {
        "image_processor_type": "SegformerImageProcessor",
        "do_resize": resize is not None,
        **_size_fields(resize),
        "resample": BILINEAR,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [float(f"{value / 255:.9g}") for value in model.pixel_mean],
        "image_std": [float(f"{value / 255:.9g}") for value in model.pixel_std],
        "do_reduce_labels": labels is not None and labels.raw_ids == tuple(range(1, len(labels.names) + 1)),
    }


def _encoder_fields(variant: str, encoder: EncoderConfig) -> dict[str, Any]:
    dims, depths = next(shape for name, shape in _SHAPES.items() if name == variant)
    return {
        "num_channels": 3,
        "num_encoder_blocks": 4,
        "patch_sizes": [7, 3, 3, 3],
        "strides": [4, 2, 2, 2],
        "hidden_act": "gelu",
        "hidden_sizes": list(encoder.dims or dims),
        "depths": list(encoder.depths or depths),
        "num_attention_heads": list(encoder.heads or HEADS),
        "sr_ratios": list(encoder.reductions or REDUCTIONS),
        "mlp_ratios": [encoder.mlp_ratio] * 4,
        "drop_path_rate": encoder.drop_path_rate,
    }


def _names(labels: LabelSet | None, num_classes: int) -> list[str]:
    known = list(labels.names) if labels is not None else []
    return known + [f"class {index}" for index in range(len(known), num_classes)]


def _size_fields(resize: object) -> dict[str, Any]:
    if isinstance(resize, ExactResize):
        return {"size": {"height": resize.size[0], "width": resize.size[1]}}
    if isinstance(resize, CropResize):
        return {"size": {"height": resize.crop[0], "width": resize.crop[1]}}
    if isinstance(resize, ShortSideResize):
        longest = {"longest_edge": resize.max_long_side} if resize.max_long_side is not None else {}
        return {"size": {"shortest_edge": resize.size, **longest}}
    return {}
