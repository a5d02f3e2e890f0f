"""The steps of the augmentation chain: `train.transforms` of a `configuration.json`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .fields import Byte, Interval, PositiveFloat, Section, Share, Size, check_interval

Degrees = Annotated[float, Meta(ge=-360.0, le=360.0)]
Shear = Annotated[float, Meta(ge=-80.0, le=80.0)]
Factor = Annotated[float, Meta(ge=0.0, le=100.0)]
Multiple = Annotated[int, Meta(ge=1, le=4096)]
Shift = Annotated[int, Meta(ge=-65536, le=65536)]
LabelValue = Annotated[int, Meta(ge=0, le=65535)]


class Transform(Section, tag_field="type", frozen=True, kw_only=True):
    """A step of the augmentation chain."""


class Resize(Transform, tag="resize", frozen=True, kw_only=True):
    """Keep the ratio and fit into size (short side, long side)."""

    size: Size
    """(short side, long side) that the image must fit into."""


class RandomResize(Transform, tag="random_resize", frozen=True, kw_only=True):
    """Resize by a factor drawn uniformly, keeping the ratio."""

    size: Size | None
    """(short side, long side) before the factor; null: the image's own."""
    ratio: Interval = (0.5, 2.0)
    """Least and greatest factor."""

    def __post_init__(self) -> None:
        check_interval("ratio", self.ratio)


class ResizeBetween(Transform, tag="resize_between", frozen=True, kw_only=True):
    """Resize into a size whose sides are drawn, each for itself, from those between two sizes."""

    least: Size
    """Least (short side, long side)."""
    greatest: Size
    """Greatest (short side, long side)."""

    def __post_init__(self) -> None:
        if min(self.least) > min(self.greatest) or max(self.least) > max(self.greatest):
            raise ValueError(
                f"`least` {list(self.least)} exceeds `greatest` {list(self.greatest)} on a side; swap the two"
            )


class ResizeChoice(Transform, tag="resize_choice", frozen=True, kw_only=True):
    """Resize into one of several sizes."""

    sizes: Annotated[tuple[Size, ...], Meta(min_length=1)]
    """(short side, long side) of each; all are equally likely."""


class AlignedResize(Transform, tag="aligned_resize", frozen=True, kw_only=True):
    """Resize, then resize up to a multiple of `multiple`."""

    size: Size
    """(short side, long side) that the image must fit into, before it is aligned."""
    multiple: Multiple = 32
    """Both sides are resized up to a multiple of it."""


class ResizePad(Transform, tag="resize_pad", frozen=True, kw_only=True):
    """Keep the ratio, fit into size and pad right and bottom up to it."""

    size: Size
    """(height, width) of the result."""
    value: Byte | None = None
    """Gray level of the added pixels; null: the model's pixel_mean, which is 0 after normalization."""


class RandomCrop(Transform, tag="random_crop", frozen=True, kw_only=True):
    """Crop to size; up to ten boxes are drawn while one class has too large a share."""

    size: Size
    """(height, width) of the crop; a smaller image stays as it is."""
    max_class_share: Share = 1.0
    """Below it must lie the share of each class in the labeled pixels, of which there are two at least.

    The tenth box is taken in any case. 1: any box will do.
    """
    probability: Share = 1.0
    """How often an image is cropped."""


class RandomResizedCrop(Transform, tag="random_resized_crop", frozen=True, kw_only=True):
    """Resize by a drawn factor, crop and pad to size."""

    size: Size
    """(height, width) of the result."""
    ratio: Interval = (0.5, 2.0)
    """Least and greatest factor."""
    value: Byte | None = None
    """Gray level of the added pixels; null: the model's pixel_mean, which is 0 after normalization."""

    def __post_init__(self) -> None:
        check_interval("ratio", self.ratio)


class RandomAreaCrop(Transform, tag="random_area_crop", frozen=True, kw_only=True):
    """Crop a part of a drawn area and shape and resize it to size; for images with one class each."""

    size: Size
    """(height, width) of the result."""
    area: tuple[Share, Share] = (0.08, 1.0)
    """Least and greatest share of the image's area."""
    ratio: Interval = (0.75, 4 / 3)
    """Least and greatest width / height of the part."""

    def __post_init__(self) -> None:
        check_interval("area", self.area)
        check_interval("ratio", self.ratio)


class CenterCrop(Transform, tag="center_crop", frozen=True, kw_only=True):
    """Crop to size around the center."""

    size: Size
    """(height, width) of the crop; a smaller image stays as it is."""


class Pad(Transform, tag="pad", frozen=True, kw_only=True):
    """Pad right and bottom to size: the image with `value`, the label with ignore_index."""

    size: Size
    """(height, width) that the image has at least, afterwards."""
    value: Byte | None = None
    """Gray level of the added pixels; null: the model's pixel_mean, which is 0 after normalization."""


class PadToMultiple(Transform, tag="pad_to_multiple", frozen=True, kw_only=True):
    """Pad right and bottom to a multiple: the image with `value`, the label with ignore_index."""

    multiple: Multiple = 32
    """Both sides become a multiple of it."""
    value: Byte | None = None
    """Gray level of the added pixels; null: the model's pixel_mean, which is 0 after normalization."""


class RandomFlip(Transform, tag="random_flip", frozen=True, kw_only=True):
    """Mirror."""

    probability: Share = 0.5
    """How often an image is mirrored."""
    direction: Literal["horizontal", "vertical"] = "horizontal"
    """horizontal: left becomes right; vertical: top becomes bottom."""


class RandomRotation(Transform, tag="random_rotation", frozen=True, kw_only=True):
    """Turn around the center by an angle drawn uniformly."""

    degrees: Annotated[float, Meta(ge=0.0, le=360.0)] = 10.0
    """Greatest angle, to either side."""
    probability: Share = 0.2
    """How often an image is turned."""
    expand: bool = False
    """Make the image as large as the turned one needs."""
    value: Byte | None = None
    """Gray level of the added pixels; null: the model's pixel_mean, which is 0 after normalization."""
    label_value: LabelValue | None = None
    """Label of the added pixels; null: ignore_index."""


class Affine(Transform, tag="affine", frozen=True, kw_only=True):
    """Turn, shear, scale and move around the center, by these amounts."""

    angle: Degrees = 0.0
    """Degrees, clockwise."""
    translate: tuple[Shift, Shift] = (0, 0)
    """(down, right) in pixels."""
    scale: PositiveFloat = 1.0
    """Factor."""
    shear: tuple[Shear, Shear] = (0.0, 0.0)
    """(along the vertical, along the horizontal) in degrees, up to 80."""
    probability: Share = 1.0
    """How often an image is transformed."""
    value: Byte | None = None
    """Gray level of the added pixels; null: the model's pixel_mean, which is 0 after normalization."""
    label_value: LabelValue | None = None
    """Label of the added pixels; null: ignore_index."""


class PhotometricDistortion(Transform, tag="photometric_distortion", frozen=True, kw_only=True):
    """Brightness, contrast, saturation and hue, each with probability 1/2."""

    brightness: Annotated[float, Meta(ge=0.0, le=255.0)] = 32.0
    """Most gray levels that are added or taken away."""
    contrast: Interval = (0.5, 1.5)
    """Least and greatest factor of the contrast."""
    saturation: Interval = (0.5, 1.5)
    """Least and greatest factor of the saturation."""
    hue: Annotated[int, Meta(ge=0, le=90)] = 18
    """Most steps of two degrees by which hues are turned."""

    def __post_init__(self) -> None:
        check_interval("contrast", self.contrast)
        check_interval("saturation", self.saturation)


class ColorJitter(Transform, tag="color_jitter", frozen=True, kw_only=True):
    """Brightness, contrast, saturation and hue, in this order, by these amounts."""

    brightness: Factor = 1.0
    """Factor of all values; 1 changes nothing."""
    contrast: Factor = 1.0
    """Factor of the distance from the mean gray; 1 changes nothing."""
    saturation: Factor = 1.0
    """Factor of the distance from each pixel's gray; 1 changes nothing."""
    hue: Annotated[float, Meta(ge=-0.5, le=0.5)] = 0.0
    """Turns of the color circle, between -0.5 and 0.5."""
    probability: Share = 1.0
    """How often an image is changed."""


class Gamma(Transform, tag="gamma", frozen=True, kw_only=True):
    """255 · gain · (value / 255)^gamma."""

    gamma: PositiveFloat
    """Exponent; above 1 darker. mmsegmentation's AdjustGamma takes its inverse."""
    gain: Factor = 1.0
    """Factor."""
    probability: Share = 1.0
    """How often an image is changed."""


class Sharpness(Transform, tag="sharpness", frozen=True, kw_only=True):
    """Sharpen, or smooth."""

    factor: Factor
    """0: smoothed; 1: as it is; 2: twice as sharp."""
    probability: Share = 0.5
    """How often an image is changed."""


class AutoContrast(Transform, tag="auto_contrast", frozen=True, kw_only=True):
    """Stretch each channel so that its least value becomes 0 and its greatest 255."""

    probability: Share = 0.5
    """How often an image is changed."""


class Rerange(Transform, tag="rerange", frozen=True, kw_only=True):
    """Stretch all channels together so that the least value becomes `least` and the greatest `greatest`."""

    least: Byte = 0
    """Least value of the result."""
    greatest: Byte = 255
    """Greatest value of the result."""
    probability: Share = 1.0
    """How often an image is changed."""

    def __post_init__(self) -> None:
        if self.least >= self.greatest:
            raise ValueError(f"`least` {self.least} must be below `greatest` {self.greatest}")


class Equalize(Transform, tag="equalize", frozen=True, kw_only=True):
    """Equalize the histogram of each channel."""

    probability: Share = 1.0
    """How often an image is changed."""


class Clahe(Transform, tag="clahe", frozen=True, kw_only=True):
    """Equalize the histogram of each channel, tile by tile and with limited contrast."""

    clip_limit: PositiveFloat = 40.0
    """Where the histogram is cut, in multiples of its mean; lower: less contrast."""
    tiles: tuple[Annotated[int, Meta(ge=1, le=256)], Annotated[int, Meta(ge=1, le=256)]] = (8, 8)
    """(rows, columns) of tiles."""
    probability: Share = 1.0
    """How often an image is changed."""


class Posterize(Transform, tag="posterize", frozen=True, kw_only=True):
    """Keep the highest bits of each value."""

    bits: Annotated[int, Meta(ge=1, le=8)] = 2
    """How many bits stay."""
    probability: Share = 1.0
    """How often an image is changed."""


class GaussianBlur(Transform, tag="gaussian_blur", frozen=True, kw_only=True):
    """Blur with a Gaussian."""

    kernel: Annotated[int, Meta(ge=1, le=255)] = 3
    """Pixels of the kernel's side; odd."""
    sigma: PositiveFloat | None = None
    """Standard deviation in pixels; null: 0.15 · kernel + 0.35."""
    probability: Share = 0.5
    """How often an image is blurred."""

    def __post_init__(self) -> None:
        if self.kernel % 2 == 0:
            raise ValueError(f"`kernel` {self.kernel} is even; it needs a middle, so give {self.kernel + 1}")


class Grayscale(Transform, tag="grayscale", frozen=True, kw_only=True):
    """Take the color away: 0.299 R + 0.587 G + 0.114 B in all three channels."""

    probability: Share = 0.5
    """How often an image is changed."""


class RandAugment(Transform, tag="rand_augment", frozen=True, kw_only=True):
    """Some operations of a fixed list, drawn with their strength; for images with one class each.

    The defaults are those of timm's "rand-m9-mstd0.5-inc1".
    """

    operations: Annotated[int, Meta(ge=1, le=32)] = 2
    """How many are drawn, the same one perhaps twice."""
    magnitude: Annotated[float, Meta(ge=0.0, le=10.0)] = 9.0
    """Mean strength, of 10."""
    magnitude_deviation: Annotated[float, Meta(ge=0.0, le=10.0)] = 0.5
    """Standard deviation of the strength, which is cut to 0 … 10."""
    operation_probability: Share = 0.5
    """How often a drawn operation is done."""
    translate: Share = 0.45
    """Greatest shift, as a share of the side."""
    value: Byte | None = None
    """Gray level of the added pixels; null: the model's pixel_mean, which is 0 after normalization."""


class RandomErasing(Transform, tag="random_erasing", frozen=True, kw_only=True):
    """Put noise into a box of a drawn area and shape; for images with one class each."""

    area: tuple[Share, Share] = (0.02, 1 / 3)
    """Least and greatest share of the image's area."""
    ratio: Interval = (0.3, 1 / 0.3)
    """Least and greatest height / width of the box."""
    deviation: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (58.395, 57.12, 57.375)
    """Standard deviation of the noise around the model's pixel_mean, for R, G and B."""
    probability: Share = 0.25
    """How often an image gets a box."""

    def __post_init__(self) -> None:
        check_interval("area", self.area)
        check_interval("ratio", self.ratio)


GeometryConfig = (
    Resize
    | RandomResize
    | ResizeBetween
    | ResizeChoice
    | AlignedResize
    | ResizePad
    | RandomCrop
    | RandomResizedCrop
    | RandomAreaCrop
    | CenterCrop
    | Pad
    | PadToMultiple
    | RandomFlip
    | RandomRotation
    | Affine
)
ColorConfig = (
    PhotometricDistortion
    | ColorJitter
    | Gamma
    | Sharpness
    | AutoContrast
    | Rerange
    | Equalize
    | Clahe
    | Posterize
    | GaussianBlur
    | Grayscale
)
ClassificationConfig = RandAugment | RandomErasing
TransformConfig = GeometryConfig | ColorConfig | ClassificationConfig
