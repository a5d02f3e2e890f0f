"""LiBai's SegFormer in OneFlow: its tensor names, and the `config.yaml` that training leaves beside a checkpoint."""

from __future__ import annotations

import os
import re
from pathlib import Path

from segpipe.configuration import (
    Configuration,
    CropResize,
    InferenceConfig,
    ModelConfig,
    PipelineConfig,
    PreprocessorConfig,
    parse_yaml,
    read_yaml_text,
)
from segpipe.errors import ConfigurationError
from segpipe.limits import limit
from segpipe.models import HeadConfig, MitConfig, NormEps, SegformerConfig

from .foreign_document import ForeignDocument, described
from .implementation import Document, Implementation, Procedure
from .key_map import Absent, KeyMap, Prefix, Rename
from .nvlabs import BLOCK
from .segformer_shapes import MIT_WEIGHT, OTHER_HEAD, read_shape, task_of

LIBAI_FILE = "config.yaml"
NORM_EPS = NormEps(patch=1e-5, reduction=1e-5, block=1e-5, stage=1e-5)
_CLASSIFICATION = "SegformerForImageClassification"
_SEGMENTATION = ("SegformerForSemanticSegmentation", "SegformerSegmentationLoadImageNetPretrain")


def is_libai_file(path: Path) -> bool:
    """Return whether a file is a configuration of LiBai whose model is a SegFormer."""
    if not os.path.isfile(path) or path.stat().st_size > limit("yaml_bytes"):
        return False
    section = _model_section(read_yaml_text(path))
    return "_target_" in section and any(name in section for name in (_CLASSIFICATION, *_SEGMENTATION))


def read_libai_configuration(path: Path) -> Configuration:
    """Return the configuration that a LiBai run had; of the document only the section `model` is read.

    Images are normalized with ImageNet's numbers. Those to be segmented are not resized, and logits go straight to the
    image's size; those to be classified are resized to 256 and cropped to 224, as its recipe does.

    `depths` says how many blocks there are. Files of B1 to B5 may also have `deptps`, a misspelling that LiBai never
    looked at: those networks were trained with the blocks of B0, and are built like that here.

    Raises:
        ConfigurationError: names the key that asks for something that segpipe does not have.
    """
    section = parse_yaml(_model_section(read_yaml_text(path)), origin=str(path))
    fields = ForeignDocument(section, str(path))
    found = str(fields.get("model._target_")).rpartition(".")[2]
    if found not in (_CLASSIFICATION, *_SEGMENTATION):
        raise ConfigurationError(
            f"{path}: model._target_ is none of LiBai's classes of SegFormer. Name the configuration of one."
        )
    return described(lambda: _build_configuration(fields, is_classification=found == _CLASSIFICATION), origin=str(path))


def _build_configuration(fields: ForeignDocument, *, is_classification: bool) -> Configuration:
    return Configuration(
        task=task_of(is_classification),
        model=_build_model(fields, is_classification=is_classification),
        preprocessor=PreprocessorConfig(resize=CropResize() if is_classification else None),
        inference=InferenceConfig(upsampling="one-step"),
        pipeline=PipelineConfig(type=task_of(is_classification)),
    )


def _model_section(text: str) -> str:
    """Return the lines of `model`. The rest names Python objects, which are never made."""
    lines = text.splitlines()
    start = next((index for index, line in enumerate(lines) if re.match(r"model:(\s|$)", line)), len(lines))
    following = (index for index in range(start + 1, len(lines)) if re.match(r"[^\s#]", lines[index]))
    return "\n".join(lines[start : next(following, len(lines))])


def _build_model(fields: ForeignDocument, *, is_classification: bool) -> ModelConfig:
    # What LiBai could change, and segpipe's network cannot.
    fields.require("model.cfg.in_chans", 3)
    fields.require("model.cfg.num_blocks", 4)
    fields.require("model.cfg.qkv_bias", True)
    fields.require("model.cfg.qk_scale", None, False)
    shape = read_shape(fields, "model.cfg.", dims="embed_dims", heads="num_heads")
    encoder = shape.encoder(drop_path_rate=fields.share("model.cfg.drop_path_rate", 0.1), norm_eps=NORM_EPS)
    if is_classification:
        return MitConfig(
            variant=shape.variant, num_classes=fields.integer("model.cfg.num_classes", 1000), encoder=encoder
        )
    fields.require("model.cfg.decoder_in_channels", shape.dims)
    head = HeadConfig(
        type="mlp",
        channels=fields.integer("model.cfg.decoder_embedding_dim", 256),
        dropout=fields.share("model.cfg.decoder_dropout_prob", 0.1),
    )
    num_classes = fields.integer("model.cfg.num_classes", 19)
    return SegformerConfig(variant=shape.variant, num_classes=num_classes, head=head, encoder=encoder)


LIBAI = Implementation(
    key_map=KeyMap(
        signature=("segformer.patch_embeds.0.proj.weight", "patch_embeds.0.proj.weight"),
        needs=MIT_WEIGHT,
        excluded=OTHER_HEAD,
        rules=(
            Prefix("segformer.", ("patch_embeds.", "blocks.", "layer_norms.")),
            Rename("patch_embeds.{stage}.*", "encoder.stages.{stage}.embed.*"),
            Rename("blocks.{stage}.{block}.*", "encoder.stages.{stage}.blocks.{block}.*"),
            Rename("layer_norms.{stage}.*", "encoder.stages.{stage}.norm.*"),
            *BLOCK,
            Rename("*.mlp.dense_h_to_4h.*", "*.mlp.fc1.*"),
            Rename("*.mlp.dense_4h_to_h.*", "*.mlp.fc2.*"),
            Rename("head.weight", "classifier.weight"),
            Rename("head.bias", "classifier.bias"),
            Rename("head.linear_c.{level}.proj.*", "head.levels.{level}.*"),
            Rename("head.linear_fuse.*", "head.fuse.*"),
            Rename("head.batch_norm.*", "head.norm.*"),
            Rename("head.linear_pred.*", "head.classifier.*"),
            # OneFlow's BatchNorm does not count its batches.
            Absent("*.num_batches_tracked"),
        ),
    ),
    document=Document(LIBAI_FILE, read_libai_configuration, is_libai_file),
    procedure=Procedure(InferenceConfig(upsampling="one-step")),
    norm_eps=NORM_EPS,
)
