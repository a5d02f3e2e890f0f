"""Resize, pad and crop samples: the image, its label and further maps alike.

Images are resized bilinearly, labels and further maps to the nearest pixel, all with OpenCV's rule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from segpipe.extras import import_opencv

from ..sample import ANGLE, Sample

cv2 = import_opencv()
Size = tuple[int, int]
Move = Callable[[np.ndarray], np.ndarray]
BOXES = 10
"""How many boxes `random_crop` draws at most."""


@dataclass(frozen=True)
class Padding:
    """Values of pixels that no image covers; further maps hold 0 there."""

    fill: tuple[int, int, int]
    """RGB of the image."""
    label: int
    """Value of the label: ignore_index, as a rule."""


def resize(sample: Sample, rng: np.random.Generator, *, size: Size) -> Sample:
    """Keep the ratio and fit into (short side, long side); see `fit_size`."""
    return resize_to(sample, fit_size(size_of(sample), size))


def random_resize(sample: Sample, rng: np.random.Generator, *, size: Size | None, ratio: tuple[float, float]) -> Sample:
    """Multiply the box (short side, long side) by a factor drawn uniformly, cut to whole pixels, and fit into it.

    With size None the box is the image's own size. Source: mmsegmentation's Resize with `ratio_range`.
    """
    height, width = size_of(sample) if size is None else size
    factor = rng.uniform(*ratio)
    return resize_to(sample, fit_size(size_of(sample), (int(height * factor), int(width * factor))))


def resize_between(sample: Sample, rng: np.random.Generator, *, least: Size, greatest: Size) -> Sample:
    """Fit into a box whose long and short sides are drawn separately, from least to greatest inclusive."""
    long = int(rng.integers(max(least), max(greatest), endpoint=True))
    short = int(rng.integers(min(least), min(greatest), endpoint=True))
    return resize_to(sample, fit_size(size_of(sample), (short, long)))


def resize_choice(sample: Sample, rng: np.random.Generator, *, sizes: Sequence[Size]) -> Sample:
    """Fit into one of several boxes, all equally likely."""
    return resize_to(sample, fit_size(size_of(sample), sizes[int(rng.integers(len(sizes)))]))


def aligned_resize(sample: Sample, rng: np.random.Generator, *, size: Size, multiple: int) -> Sample:
    """Fit into the box, then resize once more, up to a multiple: two resizes, as NVlabs' AlignedResize does."""
    fitted = resize(sample, rng, size=size)
    height, width = (-(-side // multiple) * multiple for side in size_of(fitted))
    return resize_to(fitted, (height, width))


def pad(sample: Sample, rng: np.random.Generator, *, size: Size, padding: Padding) -> Sample:
    """Pad to (height, width) at least; a side that is longer stays as it is."""
    return pad_to(sample, size, padding)


def pad_to_multiple(sample: Sample, rng: np.random.Generator, *, multiple: int, padding: Padding) -> Sample:
    """Pad both sides to the next multiple."""
    height, width = (-(-side // multiple) * multiple for side in size_of(sample))
    return pad_to(sample, (height, width), padding)


def resize_pad(sample: Sample, rng: np.random.Generator, *, size: Size, padding: Padding) -> Sample:
    """Keep the ratio, fit into (height, width), and pad to exactly it."""
    height, width = size_of(sample)
    factor = min(size[0] / height, size[1] / width)
    fitted = scale_size((height, width), factor)
    return pad_to(resize_to(sample, fitted), size, padding)


def random_crop(
    sample: Sample, rng: np.random.Generator, *, size: Size, max_class_share: float, ignore_index: int
) -> Sample:
    """Crop to (height, width) at a place drawn uniformly; a side that is shorter stays as it is.

    With max_class_share below 1 a box is drawn again, up to ten boxes, until its label has more than one class and
    the most frequent one has less than this share of the labeled pixels. The tenth box is taken in any case.
    Source: mmsegmentation's RandomCrop with `cat_max_ratio`.
    """
    for _ in range(BOXES):
        corner = _random_corner(size_of(sample), size, rng)
        if sample.label is None or max_class_share >= 1.0:
            break
        if _is_varied(_cut(sample.label, corner, size), max_class_share, ignore_index):
            break
    return crop(sample, corner, size)


def center_crop(sample: Sample, rng: np.random.Generator, *, size: Size) -> Sample:
    """Crop to (height, width) around the center; a side that is shorter stays as it is.

    Of an odd number of surplus pixels the larger half is cut right and bottom.
    """
    height, width = size_of(sample)
    return crop(sample, (max(height - size[0], 0) // 2, max(width - size[1], 0) // 2), size)


def random_resized_crop(
    sample: Sample, rng: np.random.Generator, *, size: Size, ratio: tuple[float, float], padding: Padding
) -> Sample:
    """Fit into the box (height · r, 4 · width · r) with r drawn uniformly, crop at random and pad to (height, width).

    The box is that of the PyTorch SegFormer whose recipes have this step; with a square size it is 1 : 4, so the
    short side decides for all usual images.
    """
    factor = rng.uniform(*ratio)
    box = int(size[0] * factor), int(size[1] * 4 * factor)
    resized = resize_to(sample, fit_size(size_of(sample), box))
    return pad_to(crop(resized, _random_corner(size_of(resized), size, rng), size), size, padding)


def resize_to(sample: Sample, size: Size) -> Sample:
    """Resize a sample to (height, width), whatever its ratio; the sample itself if it has that size."""
    old = size_of(sample)
    if size == old:
        return sample
    return move(
        sample,
        lambda image: cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR),
        lambda label: cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST),
        lambda extra: extra[_nearest(old[0], size[0])[:, None], _nearest(old[1], size[1])],
    )


def pad_to(sample: Sample, size: Size, padding: Padding) -> Sample:
    """Pad a sample to (height, width) at least; the sample itself if it has that already."""
    height, width = size_of(sample)
    bottom, right = max(size[0] - height, 0), max(size[1] - width, 0)
    if bottom == right == 0:
        return sample
    return move(
        sample,
        lambda image: cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=padding.fill),
        lambda label: np.pad(label, ((0, bottom), (0, right)), constant_values=padding.label),
        lambda extra: np.pad(extra, ((0, bottom), (0, right), *[(0, 0)] * (extra.ndim - 2))),
    )


def crop(sample: Sample, corner: tuple[int, int], size: Size) -> Sample:
    """Crop to the box of (height, width) with this upper left corner (y, x): views, nothing is copied."""

    def cut(array: np.ndarray) -> np.ndarray:
        return _cut(array, corner, size)

    return move(sample, cut, cut, cut)


def fit_size(size: Size, box: Size) -> Size:
    """Return (height, width) after fitting into (short side, long side), in either order.

    The factor is min(long / long side of the image, short / short side of the image); halves are rounded up.
    Source: mmcv's `rescale_size`.
    """
    factor = min(max(box) / max(size), min(box) / min(size))
    return scale_size(size, factor)


def scale_size(size: Size, factor: float) -> Size:
    """Return (height, width) times factor; halves are rounded up, and a side keeps one pixel at least."""
    height, width = (max(1, int(side * factor + 0.5)) for side in size)
    return height, width


def move(sample: Sample, image: Move, label: Move, extra: Move) -> Sample:
    """Replace the image, the label and each extra of a sample by what these functions make of them."""
    return dataclasses.replace(
        sample,
        image=image(sample.image),
        label=None if sample.label is None else label(sample.label),
        extras={name: extra(values) for name, values in sample.extras.items()},
    )


def turn_angles(sample: Sample, turn: Move) -> Sample:
    """Turn a sample's directions by `turn`, and bring them back into (-180, 180]."""
    if ANGLE not in sample.extras:
        return sample
    angles = sample.extras[ANGLE]
    turned = 180.0 - np.mod(180.0 - turn(angles.astype(np.float64)), 360.0)
    if not np.issubdtype(angles.dtype, np.floating):
        turned = np.rint(turned)
    return dataclasses.replace(sample, extras={**sample.extras, ANGLE: turned.astype(angles.dtype)})


def with_image(sample: Sample, image: np.ndarray) -> Sample:
    """Return the sample with another image of the same size."""
    return dataclasses.replace(sample, image=image)


def size_of(sample: Sample) -> tuple[int, int]:
    """Return (height, width) in pixels."""
    return sample.image.shape[0], sample.image.shape[1]


def _nearest(old: int, new: int) -> np.ndarray:
    """Return the (new,) source indices of INTER_NEAREST; further maps may have dtypes that OpenCV cannot resize."""
    indices: np.ndarray = cv2.resize(np.arange(old, dtype=np.int32)[None], (new, 1), interpolation=cv2.INTER_NEAREST)
    return indices[0]


def _random_corner(size: Size, box: Size, rng: np.random.Generator) -> tuple[int, int]:
    y, x = (int(rng.integers(max(side - wanted, 0), endpoint=True)) for side, wanted in zip(size, box, strict=True))
    return y, x


def _cut(array: np.ndarray, corner: tuple[int, int], size: Size) -> np.ndarray:
    return array[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]


def _is_varied(label: np.ndarray, max_share: float, ignore_index: int) -> bool:
    counts = np.bincount(label.ravel())
    counts[ignore_index : ignore_index + 1] = 0
    return bool(np.count_nonzero(counts) > 1 and counts.max() < max_share * counts.sum())
