"""From a foreign checkpoint or folder to a model folder of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import msgspec
from torch import Tensor

from segpipe.configuration import (
    Configuration,
    EncoderConfig,
    HeadConfig,
    InferenceConfig,
    LabelSet,
    MitConfig,
    NormEps,
    PipelineConfig,
    PreprocessorConfig,
    SegformerConfig,
    ShortSideResize,
    load_preset,
)
from segpipe.configuration.schema import Variant
from segpipe.errors import InputError, UnknownNameError
from segpipe.hub import Hub, ModelFolder, atomic_folder
from segpipe.names import Tasks, unknown_name_message

from .dialects import detect_dialect, translate
from .loading import write_model_folder
from .mit import VARIANTS, Shape
from .weights import CheckpointMeta, read_meta, read_tensors

ARCHITECTURES = tuple(f"{family}-{variant}" for family in ("segformer", "mit") for variant in VARIANTS)
MMCV_RESIZE = PreprocessorConfig(resize=ShortSideResize(size=512, max_long_side=2048, library="opencv"))


def convert(
    source: str | Path,
    to: str | Path,
    *,
    architecture: str | None = None,
    num_classes: int | None = None,
    labels: LabelSet | Sequence[str] | None = None,
    preset: str | None = None,
) -> ModelFolder:
    """Write a model folder from any checkpoint or folder whose tensor names are known.

    Args:
        source: a .pth, .pt, .bin or .safetensors file, a folder (ModelScope, Hugging Face or ours) or a model's name.
        to: the folder to write; it must not exist yet, or be empty.
        architecture: segformer-b0 … b5 or mit-b0 … b5; else read from the source's configuration or its tensors.
        num_classes: checked against the weights.
        labels: class names; else what the source says, else "class 0", "class 1", ….
        preset: take the whole configuration from this preset.
    """
    target = Path(to)
    if architecture is not None and preset is not None:
        raise InputError(f"architecture={architecture!r} and preset={preset!r} both say what the model is. Give one.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists and is not empty. Name a new folder, or remove it first.")
    folder = _open_source(source, architecture, preset)
    configuration = _with_labels(folder.configuration, labels)
    _check_classes(configuration, num_classes, origin=str(source))
    with atomic_folder(target) as in_progress:
        write_model_folder(replace(folder, configuration=configuration, name=target.name), in_progress)
    return ModelFolder.open(target)


def _open_source(source: str | Path, architecture: str | None, preset: str | None) -> ModelFolder:
    """The source with a configuration: its own, the preset's, or one made from the tensors."""
    path = Path(source)
    if path.is_file():
        tensors = read_tensors(path)
        dialect = detect_dialect(tensors, origin=str(path))
        configuration = (
            load_preset(preset) if preset else describe_checkpoint(tensors, dialect, architecture, read_meta(path))
        )
        return ModelFolder(path.parent, configuration, path, dialect, path.name)
    folder = Hub().resolve(source)
    if folder.weights is None:
        raise InputError(f"{source} has no weights to convert. Name a folder or a file that has.")
    if architecture is not None:
        raise InputError(f"{source} says itself what it is; leave architecture={architecture!r} out.")
    return replace(folder, configuration=load_preset(preset)) if preset else folder


def describe_checkpoint(
    tensors: Mapping[str, Tensor], dialect: str, architecture: str | None, meta: CheckpointMeta
) -> Configuration:
    """A configuration for a bare checkpoint, from its shapes, its dialect and what it says of its classes."""
    ours = translate(tensors, dialect)
    family, variant = _parse_architecture(architecture) if architecture else _recognise(ours)
    eps = {"mmseg": _equal_eps(1e-6), "huggingface": _equal_eps(1e-5), "libai": _equal_eps(1e-5)}.get(
        dialect, NormEps()
    )
    encoder = EncoderConfig(norm_eps=eps)
    needed = "classifier.bias" if family == "mit" else "head.classifier.bias"
    if needed not in ours:
        raise InputError(
            f"These are weights of an encoder without the {'classifier' if family == 'mit' else 'decode head'} of "
            f"{family}-{variant}, and a model folder holds a whole network. Convert a checkpoint that has one."
        )
    if family == "mit":
        model = MitConfig(variant=variant, num_classes=len(ours["classifier.bias"]), encoder=encoder)
        return Configuration(task="image-classification", model=model, labels=_meta_labels(meta, model.num_classes))
    num_classes = len(ours["head.classifier.bias"])
    is_mmcv = dialect in ("mmseg", "nvlabs")
    return Configuration(
        model=SegformerConfig(
            variant=variant,
            num_classes=num_classes,
            head=HeadConfig(
                type="conv" if "head.level_norms.0.weight" in ours else "mlp",
                channels=ours["head.fuse.weight"].shape[0],
            ),
            encoder=encoder,
            size_multiple=32 if is_mmcv else 1,
        ),
        labels=_meta_labels(meta, num_classes),
        preprocessor=MMCV_RESIZE if is_mmcv else PreprocessorConfig(),
        inference=InferenceConfig(upsampling="two-step" if is_mmcv else "one-step"),
        pipeline=PipelineConfig(type=Tasks.image_segmentation),
    )


def _parse_architecture(architecture: str) -> tuple[str, Variant]:
    if architecture not in ARCHITECTURES:
        raise UnknownNameError(unknown_name_message("architecture", architecture, ARCHITECTURES))
    family, variant = architecture.split("-")
    return family, cast(Variant, variant)


def _recognise(tensors: Mapping[str, Tensor]) -> tuple[str, Variant]:
    """(family, variant) by the channels and depths that the tensors have."""
    family = "segformer" if "head.classifier.bias" in tensors else "mit"
    dims = tuple(len(tensors.get(f"encoder.stages.{stage}.norm.weight", ())) for stage in range(4))
    depths = tuple(
        len({match[1] for key in tensors if (match := re.match(rf"encoder\.stages\.{stage}\.blocks\.(\d+)\.", key))})
        for stage in range(4)
    )
    for variant, shape in VARIANTS.items():
        if shape == Shape(dims, depths):
            return family, cast(Variant, variant)
    raise InputError(
        f"The tensors have the channels {dims} and depths {depths}, which is none of b0 to b5. "
        "Convert a folder whose configuration.json says what it is."
    )


def _equal_eps(value: float) -> NormEps:
    return NormEps(patch=value, reduction=value, block=value, stage=value)


def _meta_labels(meta: CheckpointMeta, num_classes: int) -> LabelSet | None:
    if not meta.names or len(meta.names) > num_classes:
        return None
    has_palette = meta.palette is not None and len(meta.palette) == len(meta.names)
    return LabelSet(names=meta.names, palette=meta.palette if has_palette else None)


def _with_labels(configuration: Configuration, labels: LabelSet | Sequence[str] | None) -> Configuration:
    """The given labels, else the configuration's, else numbered ones."""
    if labels is None and configuration.labels is not None:
        return configuration
    outputs = configuration.model.num_classes
    if labels is None:
        labels = [f"class {index}" for index in range(outputs)]
    if not isinstance(labels, LabelSet) and len(labels) != outputs:
        raise InputError(
            f"The labels do not fit: {len(labels)} names for {outputs} outputs of the network. "
            "Give one name for each output, in their order."
        )
    try:
        chosen = labels if isinstance(labels, LabelSet) else _named_labels(tuple(labels))
        return msgspec.structs.replace(configuration, labels=chosen)
    except ValueError as error:
        raise InputError(f"The labels do not fit: {error}.") from error


def _named_labels(names: tuple[str, ...]) -> LabelSet:
    """Labels without colours; ignored is 255, or the largest 16-bit value where 255 is a class."""
    return LabelSet(names=names, ignore_index=255 if len(names) <= 255 else 65535)


def _check_classes(configuration: Configuration, num_classes: int | None, *, origin: str) -> None:
    if num_classes is not None and num_classes != configuration.model.num_classes:
        raise InputError(
            f"{origin} has weights for {configuration.model.num_classes} classes, not for {num_classes}. "
            "Leave num_classes out, or train a head for that many."
        )
