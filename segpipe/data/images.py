"""Read one image, from whatever holds it, into RGB pixels."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from segpipe import advice
from segpipe.errors import ImageDecodeError, ImageError, ImageTooLargeError, InputError
from segpipe.extras import import_opencv
from segpipe.files import read_file
from segpipe.limits import limit

from .image_formats import check_size, check_tiff_scans, check_work, image_format, open_encoded
from .image_options import Alpha, BitDepth, ChannelOrder, Reading
from .orientation import orientation_of, turn_upright
from .rgb import (
    alpha_to_8_bits,
    array_of_tensor,
    band_takes_many_values,
    build_mapping,
    is_tensor,
    rgb_of_array,
    rgb_of_bands,
    rgb_of_pillow,
    take_rows,
    takes_many_values,
    warn_of_dropped_alpha,
    warn_once,
)
from .tiff import LOSSLESS, RGB, WHITE_IS_ZERO, Page, begin_with, check_page, full_pages
from .tiff_samples import read_samples

cv2 = import_opencv()


def read_image(
    source: Any,
    *,
    channel_order: ChannelOrder = "rgb",
    max_pixels: int | None = None,
    max_bytes: int | None = None,
    name: str | None = None,
    alpha: Alpha = "auto",
    bit_depth: BitDepth = None,
) -> np.ndarray:
    """Read one image into RGB pixels, upright.

    Files and bytes may be JPEG, PNG, WebP, BMP, TIFF, GIF, JPEG 2000 or AVIF; the content decides, not the suffix.
    Then:

    - EXIF orientation is applied, to files as well as to Pillow images;
    - transparency is composited on white, as a viewer shows it; bands of a TIFF that are not alpha are left out;
    - gray, palette, 1-bit, YCbCr and CMYK become RGB; 16 bits become 8 by their high byte, and where the data uses
      fewer of them a warning gives the range;
    - of an animation the first frame is read, of a TIFF the first page that is neither a reduced copy nor a mask; ICC
      profiles are ignored;
    - the size and the work are checked before any pixel is decoded, see docs/limits.md. Pillow's own limit counts for
      WebP and TIFF only, whose readers insist on it.

    Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4). Tensors may also be (1 | 3 | 4, H, W), and where both
    readings fit, channels come first. Values are uint8, or floats in 0–1, which are scaled by 255 and rounded, or
    uint16, which are read as files of 16 bits are.

    Args:
        source: path, bytes, open binary file, Pillow image, NumPy array or torch tensor.
        channel_order: of arrays and tensors; "bgr" is what OpenCV reads.
        max_pixels: limit of height × width. If None, `limit("image_pixels")`.
        max_bytes: limit of the encoded size. If None, `limit("image_bytes")`.
        name: what messages call the image. If None, its path or kind.
        alpha: see `Reading`.
        bit_depth: see `Reading`.

    Returns:
        (H, W, 3) uint8, RGB, C-contiguous. It may be the very array that was given, or a view of it.

    Raises:
        ImageDecodeError: missing, empty, truncated, or not an image.
        ImageTooLargeError: over one of the limits.
        InputError: an object, a shape, a dtype or a range of values that is not an image.
    """
    if channel_order not in ("rgb", "bgr"):
        raise InputError(f"channel_order is {channel_order!r}; it must be 'rgb' or, for OpenCV arrays, 'bgr'.")
    reading = Reading(alpha, bit_depth)
    reading.check()
    if isinstance(source, np.ndarray):
        return rgb_of_array(source, channel_order, name or "the array", reading)
    if is_tensor(source):
        return rgb_of_array(array_of_tensor(source), channel_order, name or "the tensor", reading)

    pixel_limit = limit("image_pixels") if max_pixels is None else max_pixels
    if isinstance(source, Image.Image):
        name = name or getattr(source, "filename", "") or "the Pillow image"
        check_size(source.height, source.width, pixel_limit, name)
        return _from_pillow(source, reading, name)
    name = name or _name_of(source)
    data = _read_bytes(source, limit("image_bytes") if max_bytes is None else max_bytes, name)
    return _decode(data, pixel_limit, reading, name)


def _name_of(source: Any) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fsdecode(source)
    return str(getattr(source, "name", "the data"))


def _read_bytes(source: Any, max_bytes: int, name: str) -> bytes:
    if isinstance(source, (str, os.PathLike)):
        return read_file(source, max_bytes=max_bytes, error=ImageDecodeError, too_large=ImageTooLargeError)
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    elif hasattr(source, "read"):
        data = source.read(max_bytes + 1)
    else:
        raise InputError(
            f"An image cannot be read from {type(source).__name__}. "
            "Give a path, bytes, an open binary file, a Pillow image, a NumPy array or a torch tensor."
        )
    if not isinstance(data, bytes):
        raise InputError(f"{name} is open as text. Open it in binary mode, open(path, 'rb').")
    if len(data) > max_bytes:
        raise ImageTooLargeError(
            f"{name} has {len(data)} bytes or more; at most {max_bytes} are read. If the image is trusted, give "
            f"{advice.argument('max_bytes', len(data))}."
        )
    return data


def _decode(data: bytes, max_pixels: int, reading: Reading, name: str) -> np.ndarray:
    try:
        if image_format(data) == "TIFF":
            return _decode_tiff(data, max_pixels, reading, name)
        image = open_encoded(data, name)
        check_size(image.height, image.width, max_pixels, name)
        check_work(data, image, name)
        pixels = _decode_jpeg(data, image) if image.format != "WEBP" else _decode_webp(data, image, reading)
        if pixels is None and _has_deep_colors(data, image):
            pixels = _decode_deep(data, image, reading, name)
        return _from_pillow(image, reading, name) if pixels is None else _upright(pixels, image)
    except (ImageError, MemoryError):
        raise
    except InputError as error:
        raise ImageDecodeError(str(error)) from None
    except Exception as error:  # on broken data Pillow's readers raise nearly anything
        raise _decoding_failed(error, name) from None


def _decoding_failed(error: Exception, name: str) -> ImageError:
    if isinstance(error, Image.DecompressionBombError):
        return ImageTooLargeError(f"{name} is over Pillow's own limit: {error} Raise PIL.Image.MAX_IMAGE_PIXELS.")
    return ImageDecodeError(f"{name} is truncated or damaged and cannot be decoded: {error}. Fetch or write it again.")


def _decode_jpeg(data: bytes, image: Image.Image) -> np.ndarray | None:
    """Decode to (H, W, 3) by OpenCV, equal to Pillow and two to three times as fast; None if Pillow must do it.

    OpenCV fills what is missing of a truncated file with gray and reports nothing, so the end-of-image marker must be
    the last thing in the data. CMYK is Pillow's, which knows about inverted inks.
    """
    is_plain = image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L")
    if not is_plain or not data.endswith(b"\xff\xd9"):
        return None
    color = getattr(cv2, "IMREAD_COLOR_RGB", cv2.IMREAD_COLOR)  # RGB at once since OpenCV 4.11
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), color | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.shape != (image.height, image.width, 3):
        return None
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if color == cv2.IMREAD_COLOR else pixels


def _decode_webp(data: bytes, image: Image.Image, reading: Reading) -> np.ndarray | None:
    """Decode to (H, W, 3) by OpenCV; Pillow's animation decoder takes five times the memory of a still."""
    if getattr(image, "is_animated", False):
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.dtype != np.uint8 or pixels.shape[:2] != (image.height, image.width):
        return None
    return _rgb_of_opencv(pixels, reading, "WebP")


def _has_deep_colors(data: bytes, image: Image.Image) -> bool:
    """Return whether these are colors of 16 bits, of which Pillow keeps the high byte."""
    if image.mode.startswith("I"):
        return False
    if image.format == "JPEG2000":
        sizes = data.find(_JPEG2000_SIZES)  # ISO/IEC 15444-1, A.5.1: 36 bytes on, each component has its bits less one
        return 0 <= sizes < len(data) - 42 and data[sizes + 42] == 15
    return image.format == "PNG" and data[24] == 16


_JPEG2000_SIZES = b"\xff\x4f\xff\x51"


def _decode_deep(data: bytes, image: Image.Image, reading: Reading, name: str) -> np.ndarray | None:
    """Decode colors of 16 bits to (H, W, 3); None if Pillow must do it."""
    open_encoded(data, name).load()  # OpenCV reports no damage, so Pillow decodes once for nothing else
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    is_usual = values is not None and values.dtype == np.uint16 and values.shape[:2] == (image.height, image.width)
    if not is_usual or values.ndim != 3 or "transparency" in image.info:
        return None
    return _rgb_of_opencv(values, reading, name)


def _rgb_of_opencv(values: np.ndarray, reading: Reading, name: str) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB of BGR or BGRA."""
    has_alpha = values.shape[2] == 4 and reading.alpha != "drop"
    bands = values[:, :, 2::-1], values[:, :, 3] if has_alpha else None
    mapping = build_mapping(values[:, :, :3], reading.bit_depth, name)
    return rgb_of_bands(bands, mapping, partial(alpha_to_8_bits, bits=8 * values.itemsize))


def _decode_tiff(data: bytes, max_pixels: int, reading: Reading, name: str) -> np.ndarray:
    pages = full_pages(data, name)
    page = pages[0]
    if len(pages) > 1:
        warn_once("pages", f"{name} is a TIFF of {len(pages)} pages; the first is read.")
    check_size(page.height, page.width, max_pixels, name)
    check_page(page, data, name)
    check_tiff_scans(data, page, name)
    num_colors = 3 if page.photometric == RGB else 1
    is_simple = 0 < page.bits <= 8 and page.sample_format == 1 and not page.extra_samples
    if is_simple or page.photometric > RGB or page.compression not in LOSSLESS or page.bands < num_colors:
        return _from_pillow(open_encoded(begin_with(data, page), name), reading, name)
    if num_colors == 1 and page.bands > 2:
        raise ImageDecodeError(
            f"{name} is a TIFF of {page.describe()}: nothing says which bands are red, green and blue. Write those as "
            "RGB, such as gdal_translate -b 3 -b 2 -b 1 -co PHOTOMETRIC=RGB IN OUT, or read them and give the array."
        )
    pixels = _rgb_of_tiff(data, page, reading, name)
    return turn_upright(pixels, page.orientation)


def _rgb_of_tiff(data: bytes, page: Page, reading: Reading, name: str) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB of a TIFF with extra samples or more than 8 bits."""
    num_colors = 3 if page.photometric == RGB else 1
    place = _place_of_alpha(page.extra_samples, reading)
    samples = read_samples(data, page, name, bands=num_colors + (0 if place is None else place + 1))
    colors, alpha = samples[:, :, :num_colors], None if place is None else samples[:, :, num_colors + place]
    depth = reading.bit_depth if isinstance(reading.bit_depth, int) and page.bits > 8 else page.bits
    alpha_mapping = partial(alpha_to_8_bits, bits=depth)
    if alpha is not None and reading.alpha == "auto" and band_takes_many_values(alpha):
        warn_of_dropped_alpha(name)
        alpha = None
    mapping = build_mapping(colors, reading.bit_depth, name, declared_bits=min(page.bits, 16))
    if page.photometric == WHITE_IS_ZERO:
        straight = mapping
        mapping = lambda part: 255 - straight(part)  # noqa: E731
    is_premultiplied = place is not None and page.extra_samples[place] == 1
    return rgb_of_bands((colors, alpha), mapping, alpha_mapping, is_premultiplied=is_premultiplied)


def _place_of_alpha(kinds: tuple[int, ...], reading: Reading) -> int | None:
    """Return the place of alpha among the extra samples."""
    if reading.alpha == "drop" or not kinds:
        return None
    declared = next((place for place, kind in enumerate(kinds) if kind in (1, 2)), None)
    return 0 if declared is None and reading.alpha == "keep" else declared


def _from_pillow(image: Image.Image, reading: Reading, name: str) -> np.ndarray:
    """Return (H, W, 3) uint8, upright. An image that was not loaded yet is loaded, else left as it is."""
    try:
        image.load()
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # see _decode
        raise _decoding_failed(error, name) from None
    try:
        return _upright(_rgb_of(image, reading, name), image)
    except (ImageError, InputError):
        raise
    except ValueError as error:
        raise ImageDecodeError(f"{name} has Pillow's mode {image.mode}: {error}. Convert it to RGB.") from None


def _rgb_of(image: Image.Image, reading: Reading, name: str) -> np.ndarray:
    if image.mode[0] in "IF":
        values = np.asarray(image)[:, :, None]
        mapping = build_mapping(values, reading.bit_depth, name)
        return rgb_of_bands((values, None), mapping, mapping)
    has_alpha = image.has_transparency_data and _composites(image, reading, name)
    return rgb_of_pillow(image, has_alpha=has_alpha)


def _composites(image: Image.Image, reading: Reading, name: str) -> bool:
    """Return whether the band that Pillow takes for alpha is alpha."""
    if image.format != "TIFF" or image.mode != "RGBA" or reading.alpha != "auto":
        return reading.alpha != "drop"
    kinds = getattr(image, "tag_v2", {}).get(338, (0,))
    if not set(kinds) & {1, 2}:
        return False
    alpha = image.getchannel("A")
    if takes_many_values(alpha.height, alpha.width, lambda top, bottom: np.asarray(take_rows(alpha, top, bottom))):
        warn_of_dropped_alpha(name)
        return False
    return True


def _upright(pixels: np.ndarray, image: Image.Image) -> np.ndarray:
    return turn_upright(pixels, orientation_of(image))
