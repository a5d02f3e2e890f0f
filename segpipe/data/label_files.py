"""Read label files: the values or colors that they store, whatever a viewer would make of them."""

from __future__ import annotations

import functools
import os
from typing import NamedTuple

import numpy as np
from PIL import Image

from segpipe import advice
from segpipe.configuration import LabelSet
from segpipe.errors import ImageDecodeError, ImageError, ImageTooLargeError
from segpipe.files import read_file
from segpipe.limits import limit

from .image_formats import check_size, describe_unreadable, image_format, open_encoded
from .label_encoding import ColorTable
from .tiff import LOSSLESS, LOSSY, PALETTE, RGB, Page, check_page, full_pages
from .tiff_samples import read_samples

Color = tuple[int, int, int]
LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
"""Formats that keep values exactly."""
_FORMATS = ("PNG", "TIFF", "BMP")
_MOST_COLORS = 12
"""Colors of a label that a message lists."""


def read_label(
    path: str | os.PathLike[str], *, colors: ColorTable | None = None, classes: LabelSet | None = None
) -> np.ndarray:
    """Read the raw values (H, W) of a label file: uint8, uint16 or int32.

    Pillow's modes L, P (the indices, not the colors), I;16, I and 1 hold values. Colors (RGB) are refused unless
    `colors` says what they mean. Values are those that are stored, whatever a viewer would make of them: those of 2 and
    4 bits are not stretched, those of a TIFF whose zero is white are not inverted.

    Args:
        colors: what the colors of RGB files mean.
        classes: the classes whose colors a palette file must not contradict. If None, palettes are not looked at.

    Raises:
        ImageDecodeError: missing, damaged, compressed with loss, of several pages, colors without a meaning, or a
            palette that contradicts the classes.
    """
    image, bits = _open_label(path)
    if image.mode in ("RGB", "RGBA") and colors is not None:
        return colors.values_of(np.asarray(image)[:, :, :3], origin=os.fsdecode(path))
    if image.mode not in ("L", "P", "1", "I") and not image.mode.startswith("I;16"):
        raise _no_values(image, os.fsdecode(path))
    values = np.asarray(image)
    if image.mode == "P" and classes is not None:
        _check_palette(image, values, classes, origin=os.fsdecode(path))
    if image.mode == "1":
        return values.astype(np.uint8)
    if image.mode.startswith("I;16"):
        return values.astype(np.uint16)
    if image.mode == "L" and bits in (2, 4):
        return values // np.uint8(255 // (2**bits - 1))
    return values


def read_color_label(path: str | os.PathLike[str], *, colors: ColorTable) -> np.ndarray:
    """Read the raw values (H, W) int32 of a label file by its colors, those of a palette PNG too."""
    image, _ = _open_label(path)
    if image.mode not in ("RGB", "RGBA", "P"):
        raise ImageDecodeError(
            f"{os.fsdecode(path)} has Pillow's mode {image.mode}, which has no colors; a palette was given, so RGB "
            "is needed. Leave the palette out: gray labels hold class indices."
        )
    return colors.values_of(np.asarray(image.convert("RGB")), origin=os.fsdecode(path))


def _check_palette(image: Image.Image, values: np.ndarray, classes: LabelSet, *, origin: str) -> None:
    """Refuse a palette image that draws a value of one class in the color of another."""
    contradictions = _contradictions(bytes(image.im.getpalette("RGB", "RGB")), classes)
    if not contradictions:
        return
    is_used = np.bincount(values.ravel(), minlength=256) > 0
    found = next((each for each in contradictions if is_used[each.value]), None)
    if found is not None:
        raise ImageDecodeError(
            f"{origin} draws the value {found.value} in {found.color}, the color of {found.drawn!r}, and by its value "
            f"it is {found.named!r}; a palette must agree with the label set's. Correct the palette of the label set "
            f"or of the file. In a data set folder, {advice.option('read', 'colors')} reads it by its colors and "
            f"{advice.option('read', 'indices')} by its values."
        )


def _open_label(path: str | os.PathLike[str]) -> tuple[Image.Image, int]:
    """Return the decoded file and, of a PNG, the bits per value; of other formats 0."""
    name = os.fsdecode(path)
    data = read_file(path, max_bytes=limit("image_bytes"), error=ImageDecodeError, too_large=ImageTooLargeError)
    found = image_format(data)
    if found not in _FORMATS:
        raise _no_label(data, found, name)
    try:
        if found == "TIFF":
            return _open_tiff(data, name), 0
        image = open_encoded(_without_gray_ramp(data) if found == "BMP" else data, name)
        check_size(image.height, image.width, limit("image_pixels"), name)
        _check_frames(getattr(image, "n_frames", 1), name)
        image.load()
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # on broken data Pillow's readers raise nearly anything
        raise ImageDecodeError(f"The label {name} is truncated or damaged: {error}. Write it again.") from None
    if found == "PNG" and data[24] == 16 and image.mode in ("RGB", "RGBA"):
        raise _deep_colors(name)
    return image, data[24] if found == "PNG" else 0


def _without_gray_ramp(data: bytes) -> bytes:
    """Return a BMP whose indices Pillow reads: it takes 4 bits with a palette of 0, 1, 2, … gray for 8 bits of gray."""
    palette = 14 + int.from_bytes(data[14:18], "little")
    is_indexed = data[28:30] == b"\4\0" and len(data) > palette + 4
    return data[:palette] + b"\1\2\3" + data[palette + 3 :] if is_indexed else data


def _open_tiff(data: bytes, name: str) -> Image.Image:
    """Return a TIFF's stored values as a Pillow image of mode L, P, I;16, I or RGB."""
    pages = full_pages(data, name)
    _check_frames(len(pages), name)
    page = pages[0]
    check_size(page.height, page.width, limit("image_pixels"), name)
    check_page(page, data, name)
    if page.compression not in LOSSLESS:
        how = LOSSY.get(page.compression, f"by method {page.compression}")
        raise ImageDecodeError(
            f"{name} is a TIFF compressed as {how}, which changes values; a label needs a compression that keeps them. "
            "Make it again, from what it was made from, as PNG."
        )
    if page.photometric == RGB and page.bits > 8:
        raise _deep_colors(name)
    if page.photometric > PALETTE or page.bands > (4 if page.photometric == RGB else 2):
        raise ImageDecodeError(f"{name} is a TIFF of {page.describe()}; a label is one band of values or RGB.")
    samples = read_samples(data, page, name, bands=3 if page.photometric == RGB else min(page.bands, 2))
    return _image_of_samples(samples, page, name)


def _image_of_samples(samples: np.ndarray, page: Page, name: str) -> Image.Image:
    if page.photometric == RGB:
        return Image.fromarray(samples)
    if samples.shape[2] == 2:
        return Image.new("LA", (page.width, page.height))  # its mode says what is wrong
    values = samples[:, :, 0]
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        raise ImageDecodeError(f"{name} holds fractions; a label holds whole numbers. Round it and save it as PNG.")
    if values.dtype not in (np.uint8, np.uint16):
        if float(values.min()) < -(2**31) or float(values.max()) >= 2**31:  # float16 has no such bounds
            raise ImageDecodeError(
                f"{name} holds values from {values.min()} to {values.max()}; those of a label have at most 31 bits. "
                "Number its classes from 0 and save it as PNG."
            )
        values = values.astype(np.int32)
    image = Image.fromarray(np.ascontiguousarray(values))
    if page.photometric == PALETTE and image.mode == "L":
        image.putpalette(_palette_of(page), "RGB")
    return image


def _palette_of(page: Page) -> bytes:
    """Return the RGB of a TIFF's color map, whose numbers have 16 bits; some programs write 8."""
    colors = np.array(page.tags.get(320, ()), np.uint16)
    colors = colors[: len(colors) // 3 * 3].reshape(3, -1)[:, :256]
    scaled = colors if colors.size and colors.max() < 256 else colors >> 8
    return scaled.astype(np.uint8).T.tobytes()


def _check_frames(count: int, name: str) -> None:
    if count > 1:
        raise ImageDecodeError(
            f"{name} holds {count} images; a label is one, and nothing says which. Save the one that counts as PNG."
        )


def _deep_colors(name: str) -> ImageDecodeError:
    return ImageDecodeError(f"{name} has colors of 16 bits; those of a label have 8. Save it as PNG of 8 bits.")


def _no_label(data: bytes, found: str | None, name: str) -> ImageDecodeError:
    if found is None:
        return ImageDecodeError(f"{describe_unreadable(data, name)} A label is a PNG, TIFF or BMP of class values.")
    return ImageDecodeError(
        f"{name} is a {found}, whose compression or palette changes values; a label needs a format that keeps them. "
        "Make it again, from what it was made from, as PNG."
    )


def _no_values(image: Image.Image, name: str) -> ImageDecodeError:
    pixels = np.asarray(image)
    is_gray = image.mode in ("RGB", "RGBA") and (pixels[:, :, :1] == pixels[:, :, 1:3]).all()
    fix = (
        "Its channels are equal: save one of them, Image.open(path).getchannel(0).save(path)."
        if is_gray or image.mode == "LA"
        else _color_advice(pixels)
    )
    return ImageDecodeError(
        f"The label {name} has Pillow's mode {image.mode}; one value per pixel is needed (mode L, P, I;16, I or 1). "
        + fix
    )


def _color_advice(pixels: np.ndarray) -> str:
    if pixels.ndim != 3 or pixels.shape[2] < 3:
        return "Save it as PNG, gray or with a palette."
    colors = np.unique(pixels[:, :, :3].reshape(-1, 3), axis=0)
    if len(colors) > _MOST_COLORS:
        example = advice.option("palette", [(0, 0, 0), (255, 0, 0)])
        return f"It has {len(colors):,} colors. If they are the classes, give one for each, such as {example}."
    listed = advice.option("palette", [tuple(map(int, color)) for color in colors])
    return f"If its colors are the classes, give {listed}, in the order of the names."


class _Contradiction(NamedTuple):
    value: int
    color: Color
    named: str
    drawn: str


@functools.lru_cache(maxsize=1024)
def _contradictions(palette: bytes, classes: LabelSet) -> tuple[_Contradiction, ...]:
    """Return the values of classes that the palette (R, G, B, R, …) draws in another class's color.

    A gray ramp and VOC's default palette contradict nothing, since programs write them whatever the classes are.
    """
    entries = [(red, green, blue) for red, green, blue in zip(palette[::3], palette[1::3], palette[2::3], strict=True)]
    if classes.palette is None or _is_default(entries):
        return ()
    own = [tuple(color) for color in classes.palette]
    values = classes.raw_ids or tuple(range(len(classes.names)))
    return tuple(
        _Contradiction(value, entries[value], name, classes.names[own.index(entries[value])])
        for value, name, color in zip(values, classes.names, own, strict=True)
        if value < len(entries) and entries[value] != color and entries[value] in own
    )


def _is_default(entries: list[Color]) -> bool:
    """Return whether this is a ramp of gray, of 2, 4 or 8 bits, or VOC's palette, perhaps filled up with black."""
    count = max((place + 1 for place, color in enumerate(entries) if any(color)), default=0)
    usual = [[(level * place,) * 3 for place in range(count)] for level in (1, 17, 85)]
    return count >= 3 and entries[:count] in (*usual, [_voc_color(place) for place in range(count)])


def _voc_color(index: int) -> Color:
    """Return the color of an index in PASCAL VOC's devkit: its bits in turn, from the highest bit of each channel."""
    red, green, blue = (sum((index >> 3 * bit + channel & 1) << 7 - bit for bit in range(8)) for channel in range(3))
    return red, green, blue
