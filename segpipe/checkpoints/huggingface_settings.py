"""Hugging Face's `config.json` and `preprocessor_config.json` of SegFormer, in our words."""

from __future__ import annotations

from typing import Any

from segpipe.configuration import (
    MAX_CLASSES,
    Configuration,
    ExactResize,
    HeadConfig,
    InferenceConfig,
    LabelSet,
    MitConfig,
    ModelConfig,
    NormEps,
    PipelineConfig,
    PreprocessorConfig,
    SegformerConfig,
    ShortSideResize,
)
from segpipe.errors import ConfigurationError

from .settings_fields import (
    HEADS,
    MLP_RATIO,
    REDUCTIONS,
    EncoderShape,
    ForeignDocument,
    check_heads,
    distinct_names,
    ignore_index_for,
    known_labels,
    numbered_names,
    with_nothing,
)

# Every LayerNorm of that implementation has PyTorch's own eps; its `layer_norm_eps` is written but not used.
NORM_EPS = NormEps(patch=1e-5, reduction=1e-5, block=1e-5, stage=1e-5)
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
DEFAULT_SIZE = (512, 512)
BILINEAR = 2
Rgb = tuple[float, float, float]
_CLASSIFICATION = "SegformerForImageClassification"
_SEGMENTATION = "SegformerForSemanticSegmentation"


def configuration_from_huggingface(
    config: Any, preprocessor: Any, *, origin: str, preprocessor_origin: str
) -> Configuration:
    """The configuration that the two documents describe; an empty preprocessor document means that library's defaults.

    Logits go straight to the picture's size (one-step), as `post_process_semantic_segmentation` does. With one label,
    that library trains a sigmoid: here it becomes the second of two classes, see `segpipe.checkpoints.dialects.binary`.
    """
    model, pictures = ForeignDocument(config, origin), ForeignDocument(preprocessor, preprocessor_origin)
    model.require("model_type", ("segformer",), default=None)
    _check_architecture(model)
    names = _class_names(model)
    if len(names) == 1 and _architecture(model) == _CLASSIFICATION:
        raise model.error("id2label", "one label makes the classifier a regression of one number", "Use another model")
    if len(names) == 1:
        names = with_nothing(names[0])
    is_classification = _architecture(model) == _CLASSIFICATION
    try:
        return Configuration(
            task="image-classification" if is_classification else "image-segmentation",
            model=_build_model(model, pictures, num_classes=len(names)),
            labels=_build_labels(model, pictures, names),
            preprocessor=PreprocessorConfig(resize=_build_resize(pictures)),
            inference=InferenceConfig(upsampling="one-step"),
            pipeline=PipelineConfig(type="image-classification" if is_classification else "image-segmentation"),
        )
    except ConfigurationError:
        raise
    except ValueError as error:  # what our own document would not allow either
        raise ConfigurationError(f"{origin}: {error}. Correct one of the two.") from None


def _architecture(model: ForeignDocument) -> str:
    architectures = model.get("architectures", [_SEGMENTATION])
    name = architectures[0] if isinstance(architectures, list) and architectures else None
    if name not in (_SEGMENTATION, _CLASSIFICATION):
        raise model.error(
            "architectures",
            f"{name!r} is not supported; supported is {_SEGMENTATION} or {_CLASSIFICATION}",
            "Use another model",
        )
    return name


def _check_architecture(model: ForeignDocument) -> None:
    model.require("num_channels", (3,), default=3)
    model.require("num_encoder_blocks", (4,), default=4)
    model.require("patch_sizes", ((7, 3, 3, 3),), default=(7, 3, 3, 3))
    model.require("strides", ((4, 2, 2, 2),), default=(4, 2, 2, 2))
    model.require("hidden_act", ("gelu",), default="gelu")


def _build_model(model: ForeignDocument, pictures: ForeignDocument, *, num_classes: int) -> ModelConfig:
    shape = _encoder_shape(model)
    mean, std = _pixel_statistics(pictures)
    encoder = shape.encoder(drop_path_rate=model.share("drop_path_rate", 0.1), norm_eps=NORM_EPS)
    if _architecture(model) == _CLASSIFICATION:
        return MitConfig(
            variant=shape.variant, num_classes=num_classes, encoder=encoder, pixel_mean=mean, pixel_std=std
        )
    head = HeadConfig(
        type="mlp",
        channels=model.integer("decoder_hidden_size", 256),
        dropout=model.share("classifier_dropout_prob", 0.1),
    )
    return SegformerConfig(
        variant=shape.variant, num_classes=num_classes, head=head, encoder=encoder, pixel_mean=mean, pixel_std=std
    )


def _encoder_shape(model: ForeignDocument) -> EncoderShape:
    ratios = model.four("mlp_ratios", (MLP_RATIO,) * 4)
    if len(set(ratios)) > 1:
        raise model.error(
            "mlp_ratios", f"{list(ratios)} differ; one ratio for all stages is supported", "Use another model"
        )
    shape = EncoderShape(
        dims=model.four("hidden_sizes", (32, 64, 160, 256)),
        depths=model.four("depths", (2, 2, 2, 2)),
        heads=model.four("num_attention_heads", HEADS),
        reductions=model.four("sr_ratios", REDUCTIONS),
        mlp_ratio=ratios[0],
    )
    check_heads(shape, model, "num_attention_heads")
    return shape


def _class_names(model: ForeignDocument) -> tuple[str, ...]:
    table = model.get("id2label")
    if table is None:
        count = _num_labels(model, default=2)
        return numbered_names(count)
    if not isinstance(table, dict) or not table:
        raise model.error("id2label", "an object of class index → name is needed", "Correct it, or remove it")
    count = _num_labels(model, default=len(table))
    if count != len(table):
        raise model.error(
            "id2label", f"{len(table)} names, and num_labels is {count}; they must agree", "Correct one of the two"
        )
    for index in range(count):
        if str(index) not in table:
            raise model.error("id2label", _gap(table, index), f"Number the classes from 0 to {count - 1}")
    names = [table[str(index)] for index in range(count)]
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise model.error(f"id2label.{index}", f"{name!r} is not a text", "Give the class's name")
    return distinct_names(names)


def _num_labels(model: ForeignDocument, *, default: int) -> int:
    count = model.integer("num_labels", default)
    if count > MAX_CLASSES:
        raise model.error("num_labels", f"{count} classes; at most {MAX_CLASSES} are supported", "Check the file")
    return count


def _gap(table: dict[str, Any], index: int) -> str:
    odd = next((key for key in table if not (key.isascii() and key.isdecimal() and str(int(key)) == key)), None)
    found = f"{odd!r} is no class index" if odd is not None else f"the largest index is {max(map(int, table))}"
    return f"class {index} of {len(table)} has no name: {found}"


def _build_labels(model: ForeignDocument, pictures: ForeignDocument, names: tuple[str, ...]) -> LabelSet:
    reduces = pictures.switch("do_reduce_labels", False) or pictures.switch("reduce_labels", False)
    known = known_labels(names)
    raw_ids = known.raw_ids if known else None
    ignore_index = model.get("semantic_loss_ignore_index", 255)
    if not isinstance(ignore_index, int) or not 0 <= ignore_index <= 65535:
        ignore_index = 255  # -100 and the like: no value that a label file could hold
    return LabelSet(
        names=names,
        palette=known.palette if known else None,
        ignore_index=ignore_index_for(len(names), ignore_index),
        # Reduced labels: 0 is unlabelled, the files hold class + 1.
        raw_ids=tuple(range(1, len(names) + 1)) if reduces else raw_ids,
    )


def _build_resize(pictures: ForeignDocument) -> ShortSideResize | ExactResize | None:
    pictures.require("do_center_crop", (False,), default=False)
    pictures.require("do_pad", (False,), default=False)
    if not pictures.switch("do_resize", True):
        return None
    pictures.require("resample", (BILINEAR,), default=BILINEAR)
    size = pictures.get("size")
    if size is None:
        return ExactResize(size=DEFAULT_SIZE, library="pillow")
    if isinstance(size, int):
        side = _side(pictures, "size")
        return ExactResize(size=(side, side), library="pillow")
    if isinstance(size, dict) and {"height", "width"} <= size.keys():
        return ExactResize(size=(_side(pictures, "size.height"), _side(pictures, "size.width")), library="pillow")
    if isinstance(size, dict) and "shortest_edge" in size:
        longest = _side(pictures, "size.longest_edge") if size.get("longest_edge") is not None else None
        shortest = _side(pictures, "size.shortest_edge")
        return ShortSideResize(size=shortest, max_long_side=longest, rounding="down", library="pillow")
    raise pictures.error(
        "size", f"{size!r} is not supported; an integer, height and width, or shortest_edge is", "Correct it"
    )


def _side(pictures: ForeignDocument, path: str) -> int:
    side = pictures.integer(path)
    if side > 65536:
        raise pictures.error(path, f"{side} pixels; at most 65536 are supported", "Correct it")
    return side


def _pixel_statistics(pictures: ForeignDocument) -> tuple[Rgb, Rgb]:
    """Mean and standard deviation in units of 0–255, whatever the rescale factor."""
    normalizes = pictures.switch("do_normalize", True)
    mean = pictures.three("image_mean", MEAN) if normalizes else (0.0, 0.0, 0.0)
    std = pictures.three("image_std", STD) if normalizes else (1.0, 1.0, 1.0)
    factor = pictures.number("rescale_factor", 1 / 255) if pictures.switch("do_rescale", True) else 1.0
    if factor <= 0 or min(std) <= 0:
        path = "rescale_factor" if factor <= 0 else "image_std"
        raise pictures.error(path, "a value above 0 is needed", "Correct it")
    # (x · factor - mean) / std = (x - mean / factor) / (std / factor); nine digits are more than float32 holds.
    return _divide(mean, factor), _divide(std, factor)


def _divide(color: Rgb, factor: float) -> Rgb:
    red, green, blue = (float(f"{value / factor:.9g}") for value in color)
    return red, green, blue
