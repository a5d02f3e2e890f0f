"""The `config.yaml` that LiBai leaves beside a SegFormer's checkpoint, in our words."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from segpipe.configuration import (
    Configuration,
    CropResize,
    HeadConfig,
    InferenceConfig,
    MitConfig,
    ModelConfig,
    NormEps,
    PipelineConfig,
    PreprocessorConfig,
    SegformerConfig,
    build_configuration,
    parse_yaml,
    read_text,
    to_document,
)
from segpipe.errors import ConfigurationError
from segpipe.limits import limit

from .settings_fields import HEADS, MLP_RATIO, REDUCTIONS, EncoderShape, ForeignDocument, check_heads

LIBAI_FILE = "config.yaml"
NORM_EPS = NormEps(patch=1e-5, reduction=1e-5, block=1e-5, stage=1e-5)
_CLASSIFICATION = "SegformerForImageClassification"
_SEGMENTATION = ("SegformerForSemanticSegmentation", "SegformerSegmentationLoadImageNetPretrain")


def is_libai_file(path: Path) -> bool:
    """Whether a file is a configuration of LiBai whose model is a SegFormer."""
    if not os.path.isfile(path) or path.stat().st_size > limit("yaml_bytes"):
        return False
    section = _model_section(read_text(path))
    return "_target_" in section and any(name in section for name in (_CLASSIFICATION, *_SEGMENTATION))


def read_libai_configuration(path: Path) -> Configuration:
    """The configuration that a LiBai run had; of the document only the section `model` is read.

    `depths` says how many blocks there are. Files of B1 to B5 may also have `deptps`, a misspelling that LiBai never
    looked at: those networks were trained with the blocks of B0, and are built like that here.

    Raises:
        ConfigurationError: names the key that asks for something that segpipe does not have.
    """
    section = parse_yaml(_model_section(read_text(path)), origin=str(path))
    found = str(ForeignDocument(section, str(path)).get("model._target_")).rpartition(".")[2]
    if found not in (_CLASSIFICATION, *_SEGMENTATION):
        raise ConfigurationError(
            f"{path}: model._target_ is none of LiBai's classes of SegFormer. Name the configuration of one."
        )
    configuration = configuration_from_libai(section, class_name=found, origin=str(path))
    return build_configuration(to_document(configuration), origin=f"{path} in segpipe's words")


def configuration_from_libai(document: Any, *, class_name: str, origin: str) -> Configuration:
    """The configuration of a parsed {"model": {"cfg": …}}.

    Pictures are normalised with ImageNet's numbers. Those to be segmented are not resized, and logits go straight to
    the picture's size; those to be classified are resized to 256 and cropped to 224, as its recipe does.
    """
    fields = ForeignDocument(document, origin)
    is_classification = class_name == _CLASSIFICATION
    try:
        return Configuration(
            task="image-classification" if is_classification else "image-segmentation",
            model=_build_model(fields, is_classification=is_classification),
            preprocessor=PreprocessorConfig(resize=CropResize() if is_classification else None),
            inference=InferenceConfig(upsampling="one-step"),
            pipeline=PipelineConfig(type="image-classification" if is_classification else "image-segmentation"),
        )
    except ConfigurationError:
        raise
    except ValueError as error:  # what our own document would not allow either
        raise ConfigurationError(f"{origin}: {error}. Correct one of the two.") from None


def _model_section(text: str) -> str:
    """The lines of `model`. The rest names Python objects, which are nobody's to make."""
    lines = text.splitlines()
    start = next((index for index, line in enumerate(lines) if re.match(r"model:(\s|$)", line)), len(lines))
    following = (index for index in range(start + 1, len(lines)) if re.match(r"[^\s#]", lines[index]))
    return "\n".join(lines[start : next(following, len(lines))])


def _build_model(fields: ForeignDocument, *, is_classification: bool) -> ModelConfig:
    _check_fixed_fields(fields)
    shape = _encoder_shape(fields)
    encoder = shape.encoder(drop_path_rate=fields.share("model.cfg.drop_path_rate", 0.1), norm_eps=NORM_EPS)
    if is_classification:
        return MitConfig(
            variant=shape.variant, num_classes=fields.integer("model.cfg.num_classes", 1000), encoder=encoder
        )
    fields.require("model.cfg.decoder_in_channels", (shape.dims,), default=shape.dims)
    head = HeadConfig(
        type="mlp",
        channels=fields.integer("model.cfg.decoder_embedding_dim", 256),
        dropout=fields.share("model.cfg.decoder_dropout_prob", 0.1),
    )
    num_classes = fields.integer("model.cfg.num_classes", 19)
    return SegformerConfig(variant=shape.variant, num_classes=num_classes, head=head, encoder=encoder)


def _check_fixed_fields(fields: ForeignDocument) -> None:
    """What LiBai could change, and segpipe's network cannot."""
    fields.require("model.cfg.in_chans", (3,), default=3)
    fields.require("model.cfg.num_blocks", (4,), default=4)
    fields.require("model.cfg.patch_sizes", ((7, 3, 3, 3),), default=(7, 3, 3, 3))
    fields.require("model.cfg.strides", ((4, 2, 2, 2),), default=(4, 2, 2, 2))
    fields.require("model.cfg.qkv_bias", (True,), default=True)
    fields.require("model.cfg.qk_scale", (None, False), default=None)


def _encoder_shape(fields: ForeignDocument) -> EncoderShape:
    ratios = fields.four("model.cfg.mlp_ratios", (MLP_RATIO,) * 4)
    if len(set(ratios)) > 1:
        raise fields.error(
            "model.cfg.mlp_ratios", f"{list(ratios)} differ; one ratio for all stages is supported", "Use another model"
        )
    shape = EncoderShape(
        dims=fields.four("model.cfg.embed_dims"),
        depths=fields.four("model.cfg.depths", (2, 2, 2, 2)),
        heads=fields.four("model.cfg.num_heads", HEADS),
        reductions=fields.four("model.cfg.sr_ratios", REDUCTIONS),
        mlp_ratio=ratios[0],
    )
    check_heads(shape, fields, "model.cfg.num_heads")
    return shape
