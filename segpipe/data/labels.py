"""The label contract, applied in one place: from the values in a data set's files to class indices."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from segpipe.configuration import LabelSet
from segpipe.configuration.strict_json import read_json
from segpipe.errors import (
    ConfigurationError,
    ImageDecodeError,
    ImageError,
    ImageTooLargeError,
    InputError,
    UnknownNameError,
)
from segpipe.extras import import_opencv
from segpipe.files import read_file
from segpipe.limits import limit
from segpipe.names import unknown_name_message

from .decoding_work import check_size
from .formats import describe_unreadable, open_encoded, picture_format
from .palettes import check_palette
from .tiff import LOSSLESS, LOSSY, PALETTE, RGB, Page, check_page, full_pages
from .tiff_samples import read_samples

cv2 = import_opencv()

Color = tuple[int, int, int]
LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
"""Formats that keep values exactly."""

_FOLDER = Path(__file__).parent / "label_sets"
_MAX_RAW = 65535


def encode_label(raw: np.ndarray, labels: LabelSet, *, origin: str) -> np.ndarray:
    """Class indices of raw values.

    The value `labels.raw_ids[k]` (k itself where `raw_ids` is None) becomes k; every other value becomes
    `ignore_index`.

    Args:
        raw: (H, W) integers as the file holds them; values outside 0–65535 are ignored ones.
        labels: says which values are classes.
        origin: what messages call the label.

    Returns:
        (H, W) uint8, or uint16 where `ignore_index` is over 255.
    """
    if raw.ndim != 2 or raw.size == 0 or raw.dtype.kind not in "biu":
        raise InputError(
            f"{origin} has shape {raw.shape} and dtype {raw.dtype}; a label is (height, width) integers. "
            "Read it with segpipe.data.read_label."
        )
    table = _encoding_table(labels)
    if raw.dtype == np.uint8 and table.dtype == np.uint8:
        encoded: np.ndarray = cv2.LUT(np.ascontiguousarray(raw), table[:256])
        return encoded
    if raw.dtype.kind == "u" and raw.dtype.itemsize <= 2:
        return table[raw]
    values = raw.astype(np.int64)
    return table[np.where((values >= 0) & (values <= _MAX_RAW), values, _MAX_RAW + 1)]


def read_label(
    path: str | os.PathLike[str], *, colors: ColorTable | None = None, classes: LabelSet | None = None
) -> np.ndarray:
    """The raw values (H, W) of a label file: uint8, uint16 or int32.

    Pillow's modes L, P (the indices, not the colours), I;16, I and 1 hold values. Colours (RGB) are refused unless
    `colors` says what they mean. Values are those that are stored, whatever a viewer would make of them: those of 2 and
    4 bits are not stretched, those of a TIFF whose zero is white are not inverted.

    Args:
        colors: what the colours of RGB files mean.
        classes: the classes whose colours a palette file must not contradict. If None, palettes are not looked at.

    Raises:
        ImageDecodeError: missing, damaged, compressed with loss, of several pages, colours without a meaning, or a
            palette that contradicts the classes.
    """
    picture, bits = _open_label(path)
    if picture.mode in ("RGB", "RGBA") and colors is not None:
        return colors.values_of(np.asarray(picture)[:, :, :3], origin=os.fsdecode(path))
    if picture.mode not in ("L", "P", "1", "I") and not picture.mode.startswith("I;16"):
        raise _no_values(picture, os.fsdecode(path))
    values = np.asarray(picture)
    if picture.mode == "P" and classes is not None:
        check_palette(picture, values, classes, origin=os.fsdecode(path))
    if picture.mode == "1":
        return values.astype(np.uint8)
    if picture.mode.startswith("I;16"):
        return values.astype(np.uint16)
    if picture.mode == "L" and bits in (2, 4):
        return values // np.uint8(255 // (2**bits - 1))
    return values


def read_color_label(path: str | os.PathLike[str], *, colors: ColorTable) -> np.ndarray:
    """The raw values (H, W) int32 of a label file whose colours are what counts, in a palette PNG too."""
    picture, _ = _open_label(path)
    if picture.mode not in ("RGB", "RGBA", "P"):
        raise ImageDecodeError(
            f"{os.fsdecode(path)} has Pillow's mode {picture.mode}, which has no colours; a palette was given, so RGB "
            "is needed. Leave the palette out: grey labels hold class indices."
        )
    return colors.values_of(np.asarray(picture.convert("RGB")), origin=os.fsdecode(path))


@dataclass(frozen=True)
class ColorTable:
    """What the colours of a label file stand for.

    Attributes:
        colors: RGB.
        values: the raw value of each colour; -1: none, its pixels are ignored.
    """

    colors: tuple[Color, ...]
    values: tuple[int, ...]

    def values_of(self, pixels: np.ndarray, *, origin: str) -> np.ndarray:
        """Raw values (H, W) int32 of colours (H, W, 3) uint8; ImageDecodeError lists colours that are not here."""
        known = _pack(np.array(self.colors, np.uint8).reshape(-1, 3))
        order = np.argsort(known)
        codes = _pack(pixels)
        places = np.minimum(np.searchsorted(known[order], codes), len(known) - 1)
        is_unknown = known[order][places] != codes
        if is_unknown.any():
            raise _unknown_colors(codes[is_unknown], origin)
        return np.array(self.values, np.int32)[order][places]


def build_color_table(labels: LabelSet, palette: Sequence[Color], ignored: Sequence[Color] = ()) -> ColorTable:
    """Colours to raw values: one colour per class, and colours whose pixels are ignored."""
    if len(palette) != len(labels.names):
        raise InputError(
            f"The palette has {len(palette)} colours for {len(labels.names)} classes; it needs one per class. "
            "Colours that are no class go to ignore_colors."
        )
    colors = tuple(_check_color(color) for color in (*palette, *ignored))
    twice = next((color for color in colors if colors.count(color) > 1), None)
    if twice is not None:
        raise InputError(f"The colour {twice} stands for two things; each class needs its own. Correct the palette.")
    values = labels.raw_ids or tuple(range(len(labels.names)))
    return ColorTable(colors, (*values, *(-1 for _ in ignored)))


def dataset_labels(name: str) -> LabelSet:
    """Names, colours and raw ids of a data set that segpipe knows; UnknownNameError has the list."""
    if name not in dataset_label_names():
        raise UnknownNameError(unknown_name_message("label set", name, dataset_label_names()))
    return read_label_set(_FOLDER / f"{name}.json")


@functools.lru_cache(maxsize=1)
def dataset_label_names() -> tuple[str, ...]:
    """The names that `dataset_labels` knows, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


def read_label_set(path: Path) -> LabelSet:
    """The label set in a JSON file: {"names": […], "palette": […], "ignore_index": 255, "raw_ids": […]}."""
    document = read_json(path)
    try:
        return msgspec.convert(document, LabelSet)
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"{path}: {error}. A label set has `names` and may have `palette`, `ignore_index` and `raw_ids`. "
            "Correct it."
        ) from error


def build_label_set(
    names: Sequence[str], *, palette: Sequence[Color] | None = None, raw_ids: Sequence[int] | None = None
) -> LabelSet:
    """A label set for these classes, with an `ignore_index` of 255, or of 65535 for more than 255 classes."""
    try:
        return LabelSet(
            names=tuple(names),
            palette=None if palette is None else tuple(_check_color(color) for color in palette),
            ignore_index=255 if len(names) <= 255 else _MAX_RAW,
            raw_ids=None if raw_ids is None else tuple(raw_ids),
        )
    except ValueError as error:
        raise InputError(f"These classes are no label set: {error}. Correct them.") from error


def without_raw_ids(labels: LabelSet) -> LabelSet:
    """The same classes for files that hold class indices already ("train ids")."""
    return msgspec.structs.replace(labels, raw_ids=None)


def subset_labels(labels: LabelSet, names: Sequence[str]) -> LabelSet:
    """Only these classes, numbered in this order; the values of all others are ignored."""
    if isinstance(names, str) or not names or len(set(names)) != len(names):
        raise InputError(f"The classes are {names!r}; a list of different class names is needed. Name each one once.")
    unknown = next((name for name in names if name not in labels.names), None)
    if unknown is not None:
        raise UnknownNameError(unknown_name_message("class", unknown, labels.names))
    chosen = [labels.names.index(name) for name in names]
    return LabelSet(
        names=tuple(names),
        palette=None if labels.palette is None else tuple(labels.palette[index] for index in chosen),
        ignore_index=labels.ignore_index,
        raw_ids=tuple(chosen if labels.raw_ids is None else (labels.raw_ids[index] for index in chosen)),
    )


def _encoding_table(labels: LabelSet) -> np.ndarray:
    """(65537,) class index by raw value; the last place is for values that fit nowhere."""
    dtype = np.uint8 if labels.ignore_index <= 255 else np.uint16
    table = np.full(_MAX_RAW + 2, labels.ignore_index, dtype)
    classes = np.arange(len(labels.names), dtype=dtype)
    table[classes if labels.raw_ids is None else np.array(labels.raw_ids)] = classes
    return table


_FORMATS = ("PNG", "TIFF", "BMP")


def _open_label(path: str | os.PathLike[str]) -> tuple[Image.Image, int]:
    """The decoded file and, of a PNG, the bits per value; of other formats 0."""
    name = os.fsdecode(path)
    data = read_file(path, max_bytes=limit("image_bytes"), error=ImageDecodeError, too_large=ImageTooLargeError)
    found = picture_format(data)
    if found not in _FORMATS:
        raise ImageDecodeError(_no_label(data, found, name))
    try:
        if found == "TIFF":
            return _open_tiff(data, name), 0
        picture = open_encoded(_without_grey_ramp(data) if found == "BMP" else data, name)
        check_size(picture.height, picture.width, limit("image_pixels"), name)
        _check_frames(getattr(picture, "n_frames", 1), name)
        picture.load()
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # on broken data Pillow's readers raise nearly anything
        raise ImageDecodeError(f"The label {name} is truncated or damaged: {error}. Write it again.") from error
    if found == "PNG" and data[24] == 16 and picture.mode in ("RGB", "RGBA"):
        raise _deep_colors(name)
    return picture, data[24] if found == "PNG" else 0


def _without_grey_ramp(data: bytes) -> bytes:
    """A BMP whose indices Pillow reads: it takes 4 bits with a palette of 0, 1, 2, … grey for 8 bits of grey."""
    palette = 14 + int.from_bytes(data[14:18], "little")
    is_indexed = data[28:30] == b"\4\0" and len(data) > palette + 4
    return data[:palette] + b"\1\2\3" + data[palette + 3 :] if is_indexed else data


def _open_tiff(data: bytes, name: str) -> Image.Image:
    """A TIFF's stored values as a Pillow image of mode L, P, I;16, I or RGB."""
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
    return _picture_of_samples(samples, page, name)


def _picture_of_samples(samples: np.ndarray, page: Page, name: str) -> Image.Image:
    if page.photometric == RGB:
        return Image.fromarray(samples)
    if samples.shape[2] == 2:
        return Image.new("LA", (page.width, page.height))  # its mode says what is wrong
    values = samples[:, :, 0]
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and (values == np.rint(values)).all()):
        raise ImageDecodeError(f"{name} holds fractions; a label holds whole numbers. Round it and save it as PNG.")
    if values.dtype not in (np.uint8, np.uint16):
        if values.min() < -(2**31) or values.max() >= 2**31:
            raise ImageDecodeError(
                f"{name} holds values from {values.min()} to {values.max()}; those of a label have at most 31 bits. "
                "Number its classes from 0 and save it as PNG."
            )
        values = values.astype(np.int32)
    picture = Image.fromarray(np.ascontiguousarray(values))
    if page.photometric == PALETTE and picture.mode == "L":
        picture.putpalette(_palette_of(page), "RGB")
    return picture


def _palette_of(page: Page) -> bytes:
    """RGB of a TIFF's colour map, whose numbers have 16 bits; some programs write 8."""
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
    return ImageDecodeError(f"{name} has colours of 16 bits; those of a label have 8. Save it as PNG of 8 bits.")


def _no_label(data: bytes, found: str | None, name: str) -> str:
    if found is None:
        return f"{describe_unreadable(data, name)} A label is a PNG, TIFF or BMP of class values."
    return (
        f"{name} is a {found}, whose compression or palette changes values; a label needs a format that keeps them. "
        "Make it again, from what it was made from, as PNG."
    )


def _no_values(picture: Image.Image, name: str) -> ImageDecodeError:
    pixels = np.asarray(picture)
    is_grey = picture.mode in ("RGB", "RGBA") and (pixels[:, :, :1] == pixels[:, :, 1:3]).all()
    advice = (
        "Its channels are equal: save one of them, Image.open(path).getchannel(0).save(path)."
        if is_grey or picture.mode == "LA"
        else "If its colours are the classes, give palette=[(R, G, B), …], one colour per class."
    )
    return ImageDecodeError(
        f"The label {name} has Pillow's mode {picture.mode}; one value per pixel is needed (mode L, P, I;16, I or 1). "
        f"{advice}"
    )


def _check_color(color: Sequence[int]) -> Color:
    channels = tuple(int(channel) for channel in color)
    if len(channels) != 3 or not all(0 <= channel <= 255 for channel in channels):
        raise InputError(f"{tuple(color)} is no colour; one is three numbers from 0 to 255, RGB. Correct the palette.")
    return channels


def _pack(pixels: np.ndarray) -> np.ndarray:
    """Colours (…, 3) uint8 as single numbers."""
    channels = pixels.astype(np.int32)
    packed: np.ndarray = (channels[..., 0] << 16) | (channels[..., 1] << 8) | channels[..., 2]
    return packed


def _unknown_colors(codes: np.ndarray, origin: str) -> ImageDecodeError:
    colors, counts = np.unique(codes, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shown = ", ".join(
        f"({colors[i] >> 16}, {colors[i] >> 8 & 255}, {colors[i] & 255}) on {counts[i]} pixels" for i in order[:10]
    )
    more = f" and {len(colors) - 10} more" if len(colors) > 10 else ""
    return ImageDecodeError(
        f"{origin} has {len(colors)} colours that the palette does not: {shown}{more}. Every colour must be that of a "
        "class. Add them to the palette or to ignore_colors; if they are smoothed edges, draw labels without smoothing."
    )
