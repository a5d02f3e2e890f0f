"""What a `configuration.json` can say: one document for a preset, a published model and a finished run.

`training.py` beside this file has the sections that only training reads.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from msgspec import Meta

from .fields import Byte, Name, Pixels, PositiveFloat, Section, Share, Size
from .training import DatasetConfig, EvaluationConfig, ParallelConfig, TrainConfig

FORMAT_VERSION = 1
MAX_CLASSES = 65534
Classes = Annotated[int, Meta(ge=1, le=MAX_CLASSES)]
Color = tuple[Byte, Byte, Byte]
# One number per stage; the limits keep a document from asking for more memory than any machine has.
Channels = Annotated[int, Meta(ge=1, le=16384)]
Blocks = Annotated[int, Meta(ge=1, le=512)]
Factor = Annotated[int, Meta(ge=1, le=256)]
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
Dialect = Literal["segpipe", "huggingface", "easycv", "mmseg", "nvlabs", "libai"]


class NormEps(Section, frozen=True, kw_only=True):
    """LayerNorm eps by place; it differs between the implementations that published weights."""

    patch: PositiveFloat = 1e-5
    """After each overlap patch embedding."""
    reduction: PositiveFloat = 1e-5
    """On the reduced keys and values of attention."""
    block: PositiveFloat = 1e-6
    """norm1 and norm2 of each block."""
    stage: PositiveFloat = 1e-6
    """After the last block of each stage."""


class EncoderConfig(Section, frozen=True, kw_only=True):
    """Mix Transformer. What is null follows from the variant."""

    drop_path_rate: Share = 0.1
    """Stochastic depth of the last block; it grows linearly from 0."""
    norm_eps: NormEps = NormEps()
    """LayerNorm eps of the implementation that the weights come from."""
    dims: tuple[Channels, Channels, Channels, Channels] | None = None
    """Channels of the four stages."""
    depths: tuple[Blocks, Blocks, Blocks, Blocks] | None = None
    """Blocks of the four stages."""
    heads: tuple[Factor, Factor, Factor, Factor] | None = None
    """Attention heads of the four stages."""
    reductions: tuple[Factor, Factor, Factor, Factor] | None = None
    """By how much keys and values are reduced, per side."""
    mlp_ratio: Factor = 4
    """Hidden channels of the Mix-FFN over its input channels."""


class HeadConfig(Section, frozen=True, kw_only=True):
    """SegFormer's decode head."""

    type: Literal["mlp", "conv"] = "mlp"
    """mlp: linear per level (NVlabs, Hugging Face, LiBai); conv: convolution, BN, ReLU (mmsegmentation, EasyCV)."""
    channels: Channels | None = None
    """Width of the head; null: 256 for b0 and b1, else 768."""
    dropout: Share = 0.1
    """Channel dropout before the classifier."""


Variant = Literal["b0", "b1", "b2", "b3", "b4", "b5"]


class SegformerConfig(Section, tag="segformer", frozen=True, kw_only=True):
    """Mix Transformer encoder with a decode head; logits at stride 4."""

    variant: Variant = "b0"
    """Size of the encoder, from b0 (3.3 M parameters) to b5 (81 M)."""
    num_classes: Classes
    """Outputs of the network; may exceed the names by trailing void outputs."""
    head: HeadConfig = HeadConfig()
    """The decode head."""
    encoder: EncoderConfig = EncoderConfig()
    """The Mix Transformer."""
    pixel_mean: tuple[float, float, float] = IMAGENET_MEAN
    """Subtracted from RGB values 0–255."""
    pixel_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = IMAGENET_STD
    """RGB values are divided by it."""
    size_multiple: Factor = 1
    """Pictures are zero-padded right and bottom to a multiple of it."""


class MitConfig(Section, tag="mit", frozen=True, kw_only=True):
    """Mix Transformer with a linear classifier on the mean of the last stage."""

    variant: Variant = "b0"
    """Size of the encoder, from b0 (3.3 M parameters) to b5 (81 M)."""
    num_classes: Classes = 1000
    """Outputs of the classifier."""
    encoder: EncoderConfig = EncoderConfig()
    """The Mix Transformer."""
    pixel_mean: tuple[float, float, float] = IMAGENET_MEAN
    """Subtracted from RGB values 0–255."""
    pixel_std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = IMAGENET_STD
    """RGB values are divided by it."""
    size_multiple: Factor = 1
    """Pictures are zero-padded right and bottom to a multiple of it."""


ModelConfig = SegformerConfig | MitConfig


class LabelSet(Section, frozen=True, kw_only=True):
    """The label contract: what class indices mean. Embedded in every model folder."""

    names: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=MAX_CLASSES)]
    """Class names, by class index."""
    palette: tuple[Color, ...] | None = None
    """RGB per class; null: colours are generated."""
    ignore_index: Annotated[int, Meta(ge=0, le=65535)] = 255
    """Value of an encoded label that is no class: never trained on, never scored."""
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


class ShortSideResize(Section, tag="short_side", tag_field="mode", frozen=True, kw_only=True):
    """Keep the ratio: the short side becomes `size` unless the long side would exceed its limit."""

    size: Pixels
    """Pixels of the short side."""
    max_long_side: Pixels | None = None
    """Pixels that the long side must not exceed; null: no limit."""
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


class PreprocessorConfig(Section, frozen=True, kw_only=True):
    """From a decoded RGB picture to what the network gets. The network itself normalises and pads."""

    resize: ShortSideResize | ExactResize | None = None
    """How the picture is resized before the network sees it; null: not at all."""


class InferenceConfig(Section, frozen=True, kw_only=True):
    """From a network to a label map."""

    mode: Literal["whole", "slide"] = "whole"
    """whole: the picture at once; slide: overlapping windows whose logits are averaged."""
    window: Size | None = None
    """(height, width) of a sliding window."""
    stride: Size | None = None
    """Step of the sliding window."""
    small_picture: Literal["keep", "pad", "enlarge"] = "keep"
    """What slide does with a picture that is smaller than the window.

    keep: the network sees it as it is (mmsegmentation); pad: with zeros up to the window (UN-EPT);
    enlarge: resized until the window fits in (Segmenter).
    """
    scales: Annotated[tuple[Annotated[float, Meta(gt=0.0, le=16.0)], ...], Meta(min_length=1, max_length=32)] = (1.0,)
    """Scales at which the picture is seen: factors of what the preprocessor resizes to."""
    flip: bool = False
    """See the mirrored picture too."""
    combine: Literal["probabilities", "logits"] = "probabilities"
    """What is averaged over scales and flips; windows of one look always average their logits."""
    upsampling: Literal["one-step", "two-step"] = "one-step"
    """one-step: logits straight to the picture (Hugging Face).

    two-step: to the network's input, then to the picture (mmsegmentation, EasyCV). Windows are always
    averaged at the network's input, so with slide both are the same.
    """

    def __post_init__(self) -> None:
        if self.mode == "slide" and (self.window is None or self.stride is None):
            raise ValueError("`mode` is 'slide', so `window` and `stride` are needed, e.g. [1024, 1024] and [768, 768]")
        window, stride = self.window or (1, 1), self.stride or (1, 1)
        if self.window is not None and (stride[0] > window[0] or stride[1] > window[1]):
            raise ValueError(f"`stride` {list(stride)} exceeds `window` {list(window)}: pixels would be left out")


class PipelineConfig(Section, frozen=True, kw_only=True):
    """Which pipeline opens the folder."""

    type: Name
    """A registered pipeline, e.g. image-segmentation."""


class PublishedScores(Section, frozen=True, kw_only=True):
    """What the publisher of the weights reports, in percent."""

    dataset: Name
    """Data set and split, e.g. ade20k val."""
    miou: Annotated[float, Meta(ge=0.0, le=100.0)] | None = None
    """Mean intersection over union."""
    pixel_accuracy: Annotated[float, Meta(ge=0.0, le=100.0)] | None = None
    """Share of the labelled pixels that are right."""
    how: str | None = None
    """How the figures were measured."""


class WeightsConfig(Section, frozen=True, kw_only=True):
    """Where a preset's weights live and who wrote them."""

    source: Annotated[str, Meta(min_length=1, max_length=300)]
    """modelscope:owner/name, hf:owner/name, package:file, https://… or file:///…"""
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
    """What else whoever uses the weights should know."""


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
    """From a picture to the network."""
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
        if self.labels is not None and len(self.labels.names) > self.model.num_classes:
            raise ValueError(
                f"`labels.names` has {len(self.labels.names)} names and `model.num_classes` is "
                f"{self.model.num_classes}; the network needs at least one output per name"
            )
