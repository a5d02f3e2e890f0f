"""The schema of a `configuration.json`: one document for a preset, a published model and a finished run.

`model_section.py` beside this file has the networks, `training.py` the sections that only training reads.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from msgspec import Meta

from segpipe.errors import ConfigurationError

from .fields import Byte, Name, Pixels, Section, Size
from .model_section import MAX_CLASSES, Dialect, ModelConfig
from .training import DatasetConfig, EvaluationConfig, ParallelConfig, TrainConfig

FORMAT_VERSION = 1
Color = tuple[Byte, Byte, Byte]


class LabelSet(Section, frozen=True, kw_only=True):
    """The label contract: what class indices mean. Embedded in every model folder."""

    names: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=MAX_CLASSES)]
    """Class names, by class index."""
    palette: tuple[Color, ...] | None = None
    """RGB per class; null: colors are generated."""
    ignore_index: Annotated[int, Meta(ge=0, le=65535)] = 255
    """Value of an encoded label that is not a class: never trained on, never scored."""
    raw_ids: tuple[Annotated[int, Meta(ge=0, le=65535)], ...] | None = None
    """The value that each class has in the data set's files; every other value is ignored.

    Null: values are class indices.
    """

    def __post_init__(self) -> None:
        for field in ("palette", "raw_ids"):
            values = getattr(self, field)
            if values is not None and len(values) != len(self.names):
                raise ValueError(
                    f"`{field}` has {len(values)} entries for {len(self.names)} names; it needs one per name"
                )
        if len(set(self.names)) != len(self.names):
            name, count = Counter(self.names).most_common(1)[0]
            raise ValueError(
                f"`names` has {name!r} {count} times; scores are listed by name, so each class needs its own"
            )
        if self.raw_ids is not None and len(set(self.raw_ids)) != len(self.raw_ids):
            raise ValueError("`raw_ids` names a value twice; each class needs its own")
        if self.ignore_index < len(self.names):
            raise ValueError(f"`ignore_index` {self.ignore_index} is also the class {self.names[self.ignore_index]!r}")


Library = Literal["opencv", "pillow"]
Rounding = Literal["nearest", "down"]


class ShortSideResize(Section, tag="short_side", tag_field="mode", frozen=True, kw_only=True):
    """Keep the ratio: the short side becomes `size` unless the long side would exceed its limit."""

    size: Pixels
    """Pixels of the short side."""
    max_long_side: Pixels | None = None
    """Pixels that the long side must not exceed; null: no limit."""
    multiple: Annotated[int, Meta(ge=1, le=1024)] | None = None
    """Then each side is resized up to a multiple of this, beyond `max_long_side` too; null: not at all.

    32 is the `AlignedResize` of NVlabs' SegFormer: an image of 480×640 becomes 512×683, and that 512×704.
    """
    rounding: Rounding = "nearest"
    """nearest: both sides become the nearest whole number of pixels (mmcv); down: the long side is cut (Hugging Face).

    An image of 97×131 whose short side becomes 256 is 256×346 by the one and 256×345 by the other.
    """
    library: Library = "opencv"
    """Whose bilinear filter; they differ when shrinking (Pillow's antialiases), so it is part of the model."""

    def __post_init__(self) -> None:
        if self.max_long_side is not None and self.max_long_side < self.size:
            raise ValueError(f"`max_long_side` {self.max_long_side} is less than the short side's `size` {self.size}")


class ExactResize(Section, tag="exact", tag_field="mode", frozen=True, kw_only=True):
    """Squash to (height, width)."""

    size: Size
    """(height, width) in pixels."""
    library: Library = "pillow"
    """Whose bilinear filter; they differ when shrinking (Pillow's antialiases), so it is part of the model."""


class CropResize(Section, tag="center_crop", tag_field="mode", frozen=True, kw_only=True):
    """Keep the ratio, the short side becomes `size`, then crop the middle; for image-classification alone."""

    size: Pixels = 256
    """Pixels of the short side."""
    crop: Size = (224, 224)
    """(height, width) that the network sees."""
    filter: Literal["bilinear", "bicubic"] = "bicubic"
    """Pillow's filter."""

    def __post_init__(self) -> None:
        if max(self.crop) > self.size:
            raise ValueError(f"`crop` {list(self.crop)} exceeds the short side's `size` {self.size}")


class PreprocessorConfig(Section, frozen=True, kw_only=True):
    """From a decoded RGB image to what the network gets. The network itself normalizes and pads."""

    resize: ShortSideResize | ExactResize | CropResize | None = None
    """How the image is resized before the network sees it; null: not at all."""


Scales = Annotated[tuple[Annotated[float, Meta(gt=0.0, le=16.0)], ...], Meta(min_length=1, max_length=32)]


class InferenceConfig(Section, frozen=True, kw_only=True):
    """From a network to a label map."""

    mode: Literal["whole", "slide"] = "whole"
    """whole: the image at once; slide: overlapping windows whose logits are averaged."""
    window: Size | None = None
    """(height, width) of a sliding window."""
    stride: Size | None = None
    """Step of the sliding window."""
    small_picture: Literal["keep", "pad", "enlarge"] = "keep"
    """What slide does with an image that is smaller than the window.

    keep: the network sees it as it is (mmsegmentation); pad: with zeros up to the window (UN-EPT);
    enlarge: resized until the window fits in (Segmenter).
    """
    scales: Scales = (1.0,)
    """Scales at which the image is seen: factors of what the preprocessor resizes to."""
    scale_rounding: Rounding = "nearest"
    """How the sides of an image that is not resized become whole numbers at a scale, before the ratio is fitted in.

    nearest: mmsegmentation 1.x, where 257×301 at 0.5 is 129×151; down: mmsegmentation 0.x, where it is 128×150.
    """
    flip: bool = False
    """See the mirrored image too."""
    combine: Literal["probabilities", "logits"] = "probabilities"
    """What is averaged over scales and flips; windows of one view always average their logits."""
    upsampling: Literal["one-step", "two-step"] = "one-step"
    """one-step: logits straight to the image (Hugging Face).

    two-step: to the network's input, then to the image (mmsegmentation, EasyCV). Windows are always
    averaged at the network's input, so with slide both are the same.
    """

    def __post_init__(self) -> None:
        if self.mode == "slide" and (self.window is None or self.stride is None):
            raise ValueError("`mode` is 'slide', so `window` and `stride` are needed, e.g. [1024, 1024] and [768, 768]")
        window, stride = self.window or (1, 1), self.stride or (1, 1)
        if self.window is not None and (stride[0] > window[0] or stride[1] > window[1]):
            raise ValueError(f"`stride` {list(stride)} exceeds `window` {list(window)}: pixels would be left out")


class PipelineConfig(Section, frozen=True, kw_only=True):
    """The pipeline that opens the folder."""

    type: Name
    """A registered pipeline, e.g. image-segmentation."""


class PublishedScores(Section, frozen=True, kw_only=True):
    """The scores that the publisher of the weights reports, in percent."""

    dataset: Name
    """Data set and split, e.g. ade20k val."""
    miou: Annotated[float, Meta(ge=0.0, le=100.0)] | None = None
    """Mean intersection over union."""
    miou_multiscale: Annotated[float, Meta(ge=0.0, le=100.0)] | None = None
    """The same with several scales and mirrored views."""
    multiscale: Scales | None = None
    """The `inference.scales` of `miou_multiscale`, with `inference.flip`."""
    pixel_accuracy: Annotated[float, Meta(ge=0.0, le=100.0)] | None = None
    """Share of the labeled pixels that are right."""
    reported_by: Name | None = None
    """The one that measured the figures, as the `preprocessor` and the `inference` of this document do it.

    Null: as `how` says, whatever this document does.
    """
    how: str | None = None
    """What else one should know about the figures."""


class WeightsConfig(Section, frozen=True, kw_only=True):
    """The place and the terms of a preset's weights."""

    source: Annotated[str, Meta(min_length=1, max_length=300)] | None
    """modelscope:owner/name, hf:owner/name, package:file, https://… or file:///…

    Null: no public weights are available under a lasting address, and the model is trained from scratch.
    """
    revision: Name | None = None
    """Branch, tag or commit; null: the source's default."""
    file: Name | None = None
    """The weights file of the source; null: the usual names are looked for."""
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None
    """Digest of that file, where it is known beforehand."""
    dialect: Dialect = "segpipe"
    """Whose names the tensors have."""
    licence: str | None = None
    """Terms of the weights, in words."""
    scores: PublishedScores | None = None
    """What the publisher reports for these weights."""
    note: str | None = None
    """What else users of the weights should know."""


class Configuration(Section, frozen=True, kw_only=True):
    """A whole `configuration.json`. Sections that a folder does not need are null and are not written."""

    format_version: Annotated[int, Meta(ge=1)] = FORMAT_VERSION
    """Version of this format; a segpipe that is too old refuses the document."""
    framework: Literal["pytorch"] = "pytorch"
    """What runs the network; the key is ModelScope's."""
    task: Literal["image-segmentation", "image-classification"] = "image-segmentation"
    """What the network answers."""
    model: ModelConfig
    """The network."""
    labels: LabelSet | None = None
    """What class indices mean."""
    preprocessor: PreprocessorConfig = PreprocessorConfig()
    """From an image to the network."""
    inference: InferenceConfig = InferenceConfig()
    """From the network to a label map."""
    pipeline: PipelineConfig | None = None
    """Which pipeline opens the folder."""
    weights: WeightsConfig | None = None
    """Where the weights of a preset live."""
    dataset: DatasetConfig | None = None
    """The data of training and evaluation."""
    train: TrainConfig | None = None
    """The recipe."""
    parallel: ParallelConfig | None = None
    """How a run is spread over processes."""
    evaluation: EvaluationConfig | None = None
    """Evaluation during and after training."""

    def __post_init__(self) -> None:
        if self.task == "image-segmentation" and isinstance(self.preprocessor.resize, CropResize):
            raise ValueError(
                "`preprocessor.resize` is 'center_crop', which leaves pixels without a class; segmentation needs "
                "'short_side' or 'exact'"
            )
        if self.labels is not None and len(self.labels.names) > self.model.num_classes:
            raise ValueError(
                f"`labels.names` has {len(self.labels.names)} names and `model.num_classes` is "
                f"{self.model.num_classes}; the network needs at least one output per name"
            )
        if self.model.num_classes == 1:
            raise ConfigurationError(
                "`model.num_classes` is 1: with one output every pixel, or image, has the same class and score 1. Give "
                "what is not the class a name too, e.g. ['background', 'road'], and the network 2 outputs"
            )
