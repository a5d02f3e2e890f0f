"""Resize an image to the size at which a network takes it, with the filter it was trained with."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import msgspec
import numpy as np
import torch
from PIL import Image

from segpipe.configuration import CropResize, ExactResize, PreprocessorConfig, Rounding, ShortSideResize
from segpipe.errors import InputError
from segpipe.extras import import_opencv
from segpipe.limits import check_limit

from .geometry import Size

cv2 = import_opencv()

LARGE_PIXELS = 1 << 22
"""Larger images are resized in bands; for smaller ones, threads that torch has just used hold the other cores."""
BAND_PIXELS = 1 << 19
"""Pixels of a band."""


def resized_size(size: Size, config: PreprocessorConfig) -> Size:
    """Return (height, width) after the preprocessing of an image of (height, width)."""
    resize = config.resize
    if resize is None:
        return size
    if isinstance(resize, ExactResize):
        return resize.size
    if isinstance(resize, CropResize):
        return resize.crop
    return _round_up(_fit_resize(size, resize), resize.multiple or 1)


def resize_image(image: np.ndarray, config: PreprocessorConfig) -> np.ndarray:
    """Resize (H, W, 3) uint8 to (h, w, 3) uint8; the same array comes back where nothing is to be done."""
    resize = config.resize
    if resize is None:
        return image
    if isinstance(resize, CropResize):
        return _crop_middle(image, resize)
    if isinstance(resize, ShortSideResize) and resize.multiple is not None:
        # NVlabs' AlignedResize interpolates twice, and its scores were measured so.
        image = _resize_bilinear(image, _fit_resize(image.shape[:2], resize), resize)
        return _resize_bilinear(image, _round_up(image.shape[:2], resize.multiple), resize)
    return _resize_bilinear(image, resized_size(image.shape[:2], config), resize)


def scale_preprocessor(
    config: PreprocessorConfig, scale: float, size: Size, *, rounding: Rounding = "nearest"
) -> PreprocessorConfig:
    """Return the preprocessing of an image of (H, W) at another scale.

    What a resize asks for is multiplied and cut to whole pixels, as mmsegmentation 0.x does. Without a resize, the
    image keeps its ratio and fits into its own size times the scale, which is rounded as `rounding` says.
    """
    resize = config.resize
    if scale == 1.0:
        return config
    if resize is None:
        short, long = sorted(_scale_size(size, scale, rounding))
        return PreprocessorConfig(resize=ExactResize(size=_fit_short_side(size, short, long), library="opencv"))
    if isinstance(resize, CropResize):
        raise InputError("An image that is cropped for classification is seen at one scale. Leave the scales out.")
    if isinstance(resize, ExactResize):
        return PreprocessorConfig(resize=msgspec.structs.replace(resize, size=_scale_size(resize.size, scale)))
    short, long = _scale_size((resize.size, resize.max_long_side or resize.size), scale)
    scaled = msgspec.structs.replace(resize, size=short, max_long_side=resize.max_long_side and long)
    return PreprocessorConfig(resize=scaled)


def check_enlarged(old: Size, new: Size) -> None:
    """Refuse to make an image larger than `resized_pixels`, see `segpipe.limits`.

    Raises:
        InputError: the new size is over the limit and larger than the old one.
    """
    pixels = new[0] * new[1]
    if pixels > old[0] * old[1]:
        what = f"The image of {old[0]} × {old[1]} pixels would be enlarged to {new[0]:,} × {new[1]:,}, which is"
        advice = "Choose a smaller size or scale, or a limit for the long side"
        check_limit("resized_pixels", pixels, what, error=InputError, advice=advice)


def _resize_bilinear(image: np.ndarray, size: Size, resize: ShortSideResize | ExactResize) -> np.ndarray:
    if size == image.shape[:2]:
        return image
    check_enlarged(image.shape[:2], size)
    if resize.library == "opencv":
        return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return _resize_with_pillow(image, size, Image.Resampling.BILINEAR)


def _crop_middle(image: np.ndarray, resize: CropResize) -> np.ndarray:
    """Resize and crop as torchvision does: the long side is cut to whole pixels, half offsets go to the even."""
    height, width = _fit_cutting_down(image.shape[:2], resize.size, None)
    if (height, width) != image.shape[:2]:
        check_enlarged(image.shape[:2], (height, width))
        image = _resize_with_pillow(image, (height, width), Image.Resampling[resize.filter.upper()])
    top, left = (round((side - wanted) / 2) for side, wanted in zip((height, width), resize.crop, strict=True))
    return np.ascontiguousarray(image[top : top + resize.crop[0], left : left + resize.crop[1]])


def _scale_size(size: Size, scale: float, rounding: Rounding = "down") -> Size:
    half = 0.5 if rounding == "nearest" else 0.0
    return max(1, int(size[0] * scale + half)), max(1, int(size[1] * scale + half))


def _fit_resize(size: Size, resize: ShortSideResize) -> Size:
    fit = _fit_short_side if resize.rounding == "nearest" else _fit_cutting_down
    return fit(size, resize.size, resize.max_long_side)


def _fit_short_side(size: Size, short: int, long: int | None) -> Size:
    """Keep the ratio; a half is rounded up, as mmcv's `rescale_size` does."""
    factor = short / min(size)
    if long is not None:
        factor = min(factor, long / max(size))
    height, width = (max(1, int(side * factor + 0.5)) for side in size)
    return height, width


def _fit_cutting_down(size: Size, short: int, long: int | None) -> Size:
    """Keep the ratio; the long side is cut to whole pixels, as torchvision and Hugging Face do with `shortest_edge`."""
    exact: float = short
    if long is not None and max(size) / min(size) * short > long:
        exact = long * min(size) / max(size)
        short = round(exact)
    if short == min(size):
        return size
    # The factors in this order: another one rounds 345.0 to 344.99….
    height, width = (max(1, short if side == min(size) else int(exact * side / min(size))) for side in size)
    return height, width


def _round_up(size: Size, multiple: int) -> Size:
    return -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple


def _resize_with_pillow(image: np.ndarray, size: tuple[int, int], resampling: Image.Resampling) -> np.ndarray:
    """Resize (H, W, 3) uint8 to (h, w, 3) uint8: a faster `Image.resize`, bit-identical to it.

    Pillow resizes one axis, rounds to whole numbers, and resizes the other. So either pass can be done by Pillow itself
    in bands that several threads share and that stay in the caches, once it is known which axis comes first.
    """
    (rows, columns), (height, width) = image.shape[:2], size
    if rows * columns < LARGE_PIXELS or not _begins_with_rows(image.shape[:2], size):
        return _resize(image, size, resampling)
    narrow = np.empty((rows, width, 3), np.uint8)
    resized = np.empty((height, width, 3), np.uint8)

    def make_narrow(band: slice) -> None:
        narrow[band] = _resize(image[band], (band.stop - band.start, width), resampling)

    def make_low(band: slice) -> None:
        resized[:, band] = _resize(narrow[:, band], (height, band.stop - band.start), resampling)

    _run_in_bands(make_narrow, rows, columns)
    _run_in_bands(make_low, width, rows)
    return resized


def _begins_with_rows(before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Return whether both sides of an image become smaller and Pillow makes its rows shorter first.

    Pillow 10.1 to 12 do so unless it is over a hundred times as high as wide, 13 unless it loses more than twice as
    many rows as columns.
    """
    lost_rows, lost_columns = before[0] - after[0], before[1] - after[1]
    return 0 < lost_rows <= 2 * lost_columns and before[0] <= 100 * before[1]


def _resize(image: np.ndarray, size: tuple[int, int], resampling: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), resampling))


def _run_in_bands(run: Callable[[slice], None], length: int, breadth: int) -> None:
    """Run for slices of 0 to `length`, on as many threads as torch has here."""
    count = min(length, -(-length * breadth // BAND_PIXELS))
    bands = [slice(start, stop) for start, stop in pairwise(np.linspace(0, length, count + 1).astype(int).tolist())]
    threads = min(count, torch.get_num_threads())
    if threads == 1:
        for band in bands:
            run(band)
        return
    with ThreadPoolExecutor(threads, "segpipe-resize") as pool:
        list(pool.map(run, bands))
