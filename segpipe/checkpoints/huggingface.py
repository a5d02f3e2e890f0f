"""Hugging Face's SegFormer: its tensor names, its `config.json` and its `preprocessor_config.json`."""

from __future__ import annotations

from typing import Any

from segpipe.configuration import (
    MAX_CLASSES,
    Configuration,
    CropResize,
    ExactResize,
    InferenceConfig,
    LabelSet,
    ModelConfig,
    PipelineConfig,
    PreprocessorConfig,
    ShortSideResize,
)
from segpipe.errors import InputError
from segpipe.models import (
    EncoderConfig,
    HeadConfig,
    MitConfig,
    NormEps,
    SegformerConfig,
    Variant,
    encoder_shape,
    head_channels,
)

from .foreign_document import (
    ForeignDocument,
    described,
    distinct_names,
    ignore_index_for,
    known_labels,
    numbered_names,
    with_nothing,
)
from .implementation import Implementation, Procedure
from .key_map import KeyMap, OneOutput, Pack, Prefix, Rename, Spelling
from .segformer_shapes import MIT_WEIGHT, OTHER_HEAD, read_shape, task_of

CONFIG_FILE, PREPROCESSOR_FILE = "config.json", "preprocessor_config.json"
# Every LayerNorm of that implementation has PyTorch's own eps; its `layer_norm_eps` is written but not used.
NORM_EPS = NormEps(patch=1e-5, reduction=1e-5, block=1e-5, stage=1e-5)

HUGGINGFACE = Implementation(
    key_map=KeyMap(
        signature=(
            "segformer.encoder.patch_embeddings.0.proj.weight",
            "segformer.patch_embeddings.0.proj.weight",
            "encoder.patch_embeddings.0.proj.weight",
            "patch_embeddings.0.proj.weight",
            "segformer.stages.0.patch_embeddings.proj.weight",
            "stages.0.patch_embeddings.proj.weight",
        ),
        needs=MIT_WEIGHT,
        excluded=OTHER_HEAD,
        rules=(
            Prefix("segformer.encoder.", ("patch_embeddings.", "block.", "layer_norm.")),
            Spelling("segformer.*", "*"),
            Spelling("encoder.patch_embeddings.*", "patch_embeddings.*"),
            Spelling("encoder.block.*", "block.*"),
            Spelling("encoder.layer_norm.*", "layer_norm.*"),
            # transformers 5 keeps these names in memory.
            Spelling("stages.{stage}.patch_embeddings.*", "patch_embeddings.{stage}.*"),
            Spelling("stages.{stage}.blocks.*", "block.{stage}.*"),
            Spelling("stages.{stage}.layer_norm.*", "layer_norm.{stage}.*"),
            Spelling("*.layernorm_before.*", "*.layer_norm_1.*"),
            Spelling("*.layernorm_after.*", "*.layer_norm_2.*"),
            Spelling("*.attention.q_proj.*", "*.attention.self.query.*"),
            Spelling("*.attention.k_proj.*", "*.attention.self.key.*"),
            Spelling("*.attention.v_proj.*", "*.attention.self.value.*"),
            Spelling("*.attention.o_proj.*", "*.attention.output.dense.*"),
            Spelling("*.attention.sequence_reduction.sequence_reduction.*", "*.attention.self.sr.*"),
            Spelling("*.attention.sequence_reduction.layer_norm.*", "*.attention.self.layer_norm.*"),
            Spelling("decode_head.linear_projections.*", "decode_head.linear_c.*"),
            Rename("patch_embeddings.{stage}.proj.*", "encoder.stages.{stage}.embed.proj.*"),
            Rename("patch_embeddings.{stage}.layer_norm.*", "encoder.stages.{stage}.embed.norm.*"),
            Rename("block.{stage}.{block}.*", "encoder.stages.{stage}.blocks.{block}.*"),
            Rename("layer_norm.{stage}.*", "encoder.stages.{stage}.norm.*"),
            Rename("*.layer_norm_{n}.*", "*.norm{n}.*"),
            Rename("*.attention.self.query.*", "*.attention.q.*"),
            Rename("*.attention.self.key.*", "*.attention.k.*"),
            Rename("*.attention.self.value.*", "*.attention.v.*"),
            Pack(("*.attention.k.*", "*.attention.v.*"), "*.attention.kv.*"),
            Rename("*.attention.output.dense.*", "*.attention.proj.*"),
            Rename("*.attention.self.sr.*", "*.attention.reduction.proj.*"),
            Rename("*.attention.self.layer_norm.*", "*.attention.reduction.norm.*"),
            Rename("*.mlp.dense{n}.*", "*.mlp.fc{n}.*"),
            Rename("*.mlp.dwconv.dwconv.*", "*.mlp.depthwise.*"),
            Rename("decode_head.linear_c.{level}.proj.*", "head.levels.{level}.*"),
            Rename("decode_head.linear_fuse.*", "head.fuse.*"),
            Rename("decode_head.batch_norm.*", "head.norm.*"),
            Rename("decode_head.classifier.*", "head.classifier.*"),
            # Its loss for one label is a binary cross-entropy.
            OneOutput(0.5),
        ),
    ),
    procedure=Procedure(InferenceConfig(upsampling="one-step")),
    norm_eps=NORM_EPS,
)

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
BILINEAR = 2
_MAX_SIDE = 65536
Rgb = tuple[float, float, float]
_CLASSIFICATION = "SegformerForImageClassification"
_SEGMENTATION = "SegformerForSemanticSegmentation"


def configuration_from_huggingface(
    config: Any, preprocessor: Any, *, origin: str, preprocessor_origin: str
) -> Configuration:
    """Return the configuration that the two documents describe.

    An empty preprocessor document means that library's defaults. Logits go straight to the image's size (one-step), as
    `post_process_semantic_segmentation` does. With one label, that library trains a sigmoid: here it becomes the
    second of two classes, see `key_map.OneOutput`.
    """
    model, images = ForeignDocument(config, origin), ForeignDocument(preprocessor, preprocessor_origin)
    return described(lambda: _build_configuration(model, images), origin=origin)


def huggingface_config(configuration: Configuration) -> dict[str, Any]:
    """Return the content of `config.json`.

    Outputs beyond the labels are named by their number. LayerNorm's eps is not among it: that implementation always
    computes with 1e-5.

    Raises:
        InputError: another network than SegFormer with the all-MLP head, or MiT with its classifier.
    """
    model = configuration.model
    if isinstance(model, SegformerConfig) and model.head.type == "mlp":
        head = {
            "architectures": [_SEGMENTATION],
            "classifier_dropout_prob": model.head.dropout,
            "decoder_hidden_size": head_channels(model.variant, model.head),
        }
    elif isinstance(model, MitConfig):
        head = {"architectures": [_CLASSIFICATION]}
    else:
        raise InputError(
            "Hugging Face's SegFormer has the all-MLP head or a classifier, and this network neither. "
            "Choose the dialect of an implementation that has the same network."
        )
    known = configuration.labels.names if configuration.labels else ()
    names = (*known, *numbered_names(model.num_classes)[len(known) :])
    return {
        **head,
        "model_type": "segformer",
        **_encoder_fields(model.variant, model.encoder),
        "semantic_loss_ignore_index": configuration.labels.ignore_index if configuration.labels else 255,
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }


def huggingface_preprocessor(configuration: Configuration) -> dict[str, Any]:
    """Return the content of `preprocessor_config.json`, values of pixels in units of 1.

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


def _build_configuration(model: ForeignDocument, images: ForeignDocument) -> Configuration:
    model.require("model_type", "segformer", is_given=True)
    model.require("num_channels", 3)
    model.require("num_encoder_blocks", 4)
    model.require("hidden_act", "gelu")
    names, is_classification = _class_names(model), _architecture(model) == _CLASSIFICATION
    if len(names) == 1 and is_classification:
        raise model.error("id2label", "one label makes the classifier a regression of one number", "Use another model")
    if len(names) == 1:
        names = with_nothing(names[0])
    return Configuration(
        task=task_of(is_classification),
        model=_build_model(model, images, num_classes=len(names), is_classification=is_classification),
        labels=_build_labels(model, images, names),
        preprocessor=PreprocessorConfig(resize=_build_resize(images)),
        inference=InferenceConfig(upsampling="one-step"),
        pipeline=PipelineConfig(type=task_of(is_classification)),
    )


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


def _build_model(
    model: ForeignDocument, images: ForeignDocument, *, num_classes: int, is_classification: bool
) -> ModelConfig:
    shape = read_shape(model, dims="hidden_sizes", heads="num_attention_heads", default=(32, 64, 160, 256))
    mean, std = _pixel_statistics(images)
    encoder = shape.encoder(drop_path_rate=model.share("drop_path_rate", 0.1), norm_eps=NORM_EPS)
    if is_classification:
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


def _class_names(model: ForeignDocument) -> tuple[str, ...]:
    table = model.get("id2label")
    if table is None:
        return numbered_names(model.integer("num_labels", 2, most=MAX_CLASSES))
    if not isinstance(table, dict) or not table:
        raise model.error("id2label", "an object of class index → name is needed", "Correct it, or remove it")
    count = model.integer("num_labels", len(table), most=MAX_CLASSES)
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


def _gap(table: dict[str, Any], index: int) -> str:
    odd = next((key for key in table if not (key.isascii() and key.isdecimal() and str(int(key)) == key)), None)
    found = f"{odd!r} is not a class index" if odd is not None else f"the largest index is {max(map(int, table))}"
    return f"class {index} of {len(table)} has no name: {found}"


def _build_labels(model: ForeignDocument, images: ForeignDocument, names: tuple[str, ...]) -> LabelSet:
    reduces = images.switch("do_reduce_labels", False) or images.switch("reduce_labels", False)
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


def _build_resize(images: ForeignDocument) -> ShortSideResize | ExactResize | None:
    images.require("do_center_crop", False)
    images.require("do_pad", False)
    if not images.switch("do_resize", True):
        return None
    images.require("resample", BILINEAR)
    size = images.get("size")
    if size is None:
        return ExactResize(size=(512, 512), library="pillow")
    if isinstance(size, int):
        side = images.integer("size", most=_MAX_SIDE)
        return ExactResize(size=(side, side), library="pillow")
    if isinstance(size, dict) and {"height", "width"} <= size.keys():
        return ExactResize(
            size=(images.integer("size.height", most=_MAX_SIDE), images.integer("size.width", most=_MAX_SIDE)),
            library="pillow",
        )
    if isinstance(size, dict) and "shortest_edge" in size:
        longest = images.integer("size.longest_edge", most=_MAX_SIDE) if size.get("longest_edge") is not None else None
        shortest = images.integer("size.shortest_edge", most=_MAX_SIDE)
        return ShortSideResize(size=shortest, max_long_side=longest, rounding="down", library="pillow")
    raise images.error(
        "size", f"{size!r} is not supported; an integer, height and width, or shortest_edge is", "Correct it"
    )


def _pixel_statistics(images: ForeignDocument) -> tuple[Rgb, Rgb]:
    """Return mean and standard deviation in units of 0–255, whatever the rescale factor."""
    normalizes = images.switch("do_normalize", True)
    mean = images.three("image_mean", MEAN) if normalizes else (0.0, 0.0, 0.0)
    std = images.three("image_std", STD) if normalizes else (1.0, 1.0, 1.0)
    factor = images.number("rescale_factor", 1 / 255) if images.switch("do_rescale", True) else 1.0
    if factor <= 0 or min(std) <= 0:
        path = "rescale_factor" if factor <= 0 else "image_std"
        raise images.error(path, "a value above 0 is needed", "Correct it")
    # (x · factor - mean) / std = (x - mean / factor) / (std / factor); nine digits are more than float32 holds.
    return _divide(mean, factor), _divide(std, factor)


def _divide(color: Rgb, factor: float) -> Rgb:
    red, green, blue = (float(f"{value / factor:.9g}") for value in color)
    return red, green, blue


def _encoder_fields(variant: Variant, encoder: EncoderConfig) -> dict[str, Any]:
    shape = encoder_shape(variant, encoder)
    return {
        "num_channels": 3,
        "num_encoder_blocks": 4,
        "patch_sizes": [7, 3, 3, 3],
        "strides": [4, 2, 2, 2],
        "hidden_act": "gelu",
        "hidden_sizes": list(shape.dims),
        "depths": list(shape.depths),
        "num_attention_heads": list(shape.heads),
        "sr_ratios": list(shape.reductions),
        "mlp_ratios": [encoder.mlp_ratio] * 4,
        "drop_path_rate": encoder.drop_path_rate,
    }


def _size_fields(resize: object) -> dict[str, Any]:
    if isinstance(resize, ExactResize):
        return {"size": {"height": resize.size[0], "width": resize.size[1]}}
    if isinstance(resize, CropResize):
        return {"size": {"height": resize.crop[0], "width": resize.crop[1]}}
    if isinstance(resize, ShortSideResize):
        longest = {"longest_edge": resize.max_long_side} if resize.max_long_side is not None else {}
        return {"size": {"shortest_edge": resize.size, **longest}}
    return {}
