"""Describe SegFormer's checkpoints by their shapes: variant, head, and their implementation's preprocessing."""

from __future__ import annotations

import dataclasses
from typing import Literal, cast

from msgspec.structs import replace

from segpipe.configuration import (
    Configuration,
    CropResize,
    PipelineConfig,
    PreprocessorConfig,
    model_type,
)
from segpipe.errors import InputError
from segpipe.models import (
    MIT_VARIANTS,
    EncoderConfig,
    HeadConfig,
    MitConfig,
    NormEps,
    SegformerConfig,
    Variant,
)
from segpipe.names import Tasks

from .foreign_document import ForeignDocument, shown
from .implementation import Checkpoint, Recognizer

HEADS, REDUCTIONS = MIT_VARIANTS["b0"].heads, MIT_VARIANTS["b0"].reductions
MLP_RATIO = EncoderConfig().mlp_ratio
MIT_WEIGHT = "encoder.stages.0.embed.proj.weight"
"""A tensor that every Mix Transformer of ours has."""
OTHER_HEAD = ("head.level_norms.*",)
"""What the convolutional head has and the all-MLP head does not."""


@dataclasses.dataclass(frozen=True)
class EncoderShape:
    """The numbers that tell one Mix Transformer from another."""

    dims: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    reductions: tuple[int, int, int, int]
    mlp_ratio: int

    @property
    def variant(self) -> Variant:
        """The variant with these channels and blocks; b0 where there is none (every number is then written out)."""
        return find_variant(self.dims, self.depths) or "b0"

    def encoder(self, *, drop_path_rate: float, norm_eps: NormEps) -> EncoderConfig:
        """Return the encoder section; what follows from the variant stays null."""
        known = find_variant(self.dims, self.depths) is not None
        return EncoderConfig(
            drop_path_rate=drop_path_rate,
            norm_eps=norm_eps,
            dims=None if known else self.dims,
            depths=None if known else self.depths,
            heads=None if self.heads == HEADS else self.heads,
            reductions=None if self.reductions == REDUCTIONS else self.reductions,
            mlp_ratio=self.mlp_ratio,
        )


def find_variant(dims: tuple[int, ...], depths: tuple[int, ...]) -> Variant | None:
    """Return the variant with these channels and blocks, if there is one (Xie et al. 2021, table 6)."""
    found = (name for name, shape in MIT_VARIANTS.items() if (shape.dims, shape.depths) == (dims, depths))
    return cast("Variant | None", next(found, None))


def read_shape(
    document: ForeignDocument, prefix: str = "", *, dims: str, heads: str, default: tuple[int, ...] | None = None
) -> EncoderShape:
    """Return the shape that another library's document gives, whose keys are alike but for two.

    Kernels and strides are the paper's in every variant; others are refused.

    Args:
        prefix: of all keys.
        dims: the key of the channels.
        heads: the key of the attention heads.
        default: the channels where the document has none. If None, it must have them.
    """
    document.require(f"{prefix}patch_sizes", (7, 3, 3, 3))
    document.require(f"{prefix}strides", (4, 2, 2, 2))
    ratios = document.four(f"{prefix}mlp_ratios", (MLP_RATIO,) * 4)
    if len(set(ratios)) > 1:
        problem = f"{list(ratios)} differ; one ratio for all stages is supported"
        raise document.error(f"{prefix}mlp_ratios", problem, "Use another model")
    shape = EncoderShape(
        dims=document.four(f"{prefix}{dims}", default),
        depths=document.four(f"{prefix}depths", (2, 2, 2, 2)),
        heads=document.four(f"{prefix}{heads}", HEADS),
        reductions=document.four(f"{prefix}sr_ratios", REDUCTIONS),
        mlp_ratio=ratios[0],
    )
    if any(dim % count for dim, count in zip(shape.dims, shape.heads, strict=True)):
        problem = f"{shown(shape.heads)} heads cannot share {shown(shape.dims)} channels evenly"
        raise document.error(f"{prefix}{heads}", problem, "Correct one of the two")
    return shape


def task_of(is_classification: bool) -> Literal["image-segmentation", "image-classification"]:
    """Return the task of a Mix Transformer with its classifier, or of a SegFormer."""
    return Tasks.image_classification if is_classification else Tasks.image_segmentation


def describe_segformer(checkpoint: Checkpoint) -> Configuration:
    """Return the configuration of a SegFormer, or of a MiT with its classifier, by its document, else by its shapes."""
    document = checkpoint.implementation.document
    path = document.find(checkpoint.path.parent) if document else None
    if document and path:
        configuration = document.read(path)
        model = configuration.model
        checkpoint.check_architecture(f"{model_type(model)}-{model.variant}")
        return replace(configuration, labels=checkpoint.labels(model.num_classes))
    if checkpoint.architecture:
        family, variant = checkpoint.architecture.split("-")
    else:
        family, variant = _recognize(checkpoint)
    encoder = EncoderConfig(norm_eps=checkpoint.implementation.norm_eps or NormEps())
    describe = _describe_classifier if family == "mit" else _describe_dense
    return describe(checkpoint, cast(Variant, variant), encoder)


def _describe_classifier(checkpoint: Checkpoint, variant: Variant, encoder: EncoderConfig) -> Configuration:
    num_classes = checkpoint.length("classifier.bias")
    if not num_classes:
        raise checkpoint.encoder_alone(f"classifier of mit-{variant}")
    return Configuration(
        task="image-classification",
        model=MitConfig(variant=variant, num_classes=num_classes, encoder=encoder),
        labels=checkpoint.labels(num_classes),
        preprocessor=PreprocessorConfig(resize=CropResize()),
        pipeline=PipelineConfig(type=Tasks.image_classification),
    )


def _describe_dense(checkpoint: Checkpoint, variant: Variant, encoder: EncoderConfig) -> Configuration:
    num_classes = checkpoint.length("head.classifier.bias")
    if not num_classes:
        raise checkpoint.encoder_alone(f"decode head of segformer-{variant}")
    procedure = checkpoint.implementation.procedure
    return Configuration(
        model=SegformerConfig(
            variant=variant,
            num_classes=num_classes,
            head=HeadConfig(
                type="conv" if "head.level_norms.0.weight" in checkpoint.tensors else "mlp",
                channels=checkpoint.length("head.fuse.weight") or None,
            ),
            encoder=encoder,
            size_multiple=procedure.size_multiple,
        ),
        labels=checkpoint.labels(num_classes),
        preprocessor=PreprocessorConfig(resize=procedure.resize),
        inference=procedure.inference,
        pipeline=PipelineConfig(type=Tasks.image_segmentation),
    )


def _recognize(checkpoint: Checkpoint) -> tuple[str, str]:
    """Return family and variant by the channels and depths that the tensors have."""
    family = "segformer" if "head.classifier.bias" in checkpoint.tensors else "mit"
    dims = tuple(checkpoint.length(f"encoder.stages.{stage}.norm.weight") for stage in range(4))
    depths = tuple(checkpoint.count(rf"encoder\.stages\.{stage}\.blocks\.(\d+)\.") for stage in range(4))
    variant = find_variant(dims, depths)
    if variant is None:
        raise InputError(
            f"The tensors have the channels {dims} and depths {depths}, which is none of b0 to b5. "
            "Convert a folder whose configuration.json says what it is."
        )
    return family, variant


SEGFORMER_SHAPES = Recognizer(
    architectures=tuple(f"{family}-{variant}" for family in ("segformer", "mit") for variant in MIT_VARIANTS),
    signature=MIT_WEIGHT,
    describe=describe_segformer,
)
