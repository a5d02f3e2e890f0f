"""Reading one picture, from whatever holds it, into RGB pixels."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from segpipe.errors import ImageDecodeError, ImageError, ImageTooLargeError, InputError
from segpipe.extras import import_opencv
from segpipe.log import get_logger

cv2 = import_opencv()

logger = get_logger(__name__)

MAX_PIXELS = 200_000_000
"""Default pixel limit; the variable SEGPIPE_MAX_IMAGE_PIXELS replaces it."""
MAX_BYTES = 512 * 2**20
"""Default limit of an encoded picture: 512 MiB."""
_COPIED_AT_ONCE = 1 << 17
"""Pixels that stay in the caches while they are copied."""

ChannelOrder = Literal["rgb", "bgr"]


def read_image(
    source: Any,
    *,
    channel_order: ChannelOrder = "rgb",
    max_pixels: int | None = None,
    max_bytes: int | None = None,
    name: str | None = None,
) -> np.ndarray:
    """Read one picture into RGB pixels, upright.

    Files and bytes may be JPEG, PNG, WebP, BMP, TIFF or GIF; the content decides, not the suffix. Then:

    - EXIF orientation is applied, to files as well as to Pillow images;
    - transparency is composited on white, as a viewer shows it;
    - grey, palette, 1-bit, YCbCr and CMYK become RGB; 16 bits become 8 by their high byte, as Pillow reads colours;
    - of an animation or a multi-page file the first frame is read; ICC profiles are ignored;
    - the size in the header is checked before any pixel is decoded. Pillow's own limit counts for WebP and TIFF
      only, whose readers insist on it.

    Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4). Tensors may also be (1 | 3 | 4, H, W), and where both
    readings fit, channels come first. Values are uint8, or floats in 0–1, which are scaled by 255 and rounded.

    Args:
        source: path, bytes, open binary file, Pillow image, NumPy array or torch tensor.
        channel_order: of arrays and tensors; "bgr" is what OpenCV reads.
        max_pixels: limit of height × width; None: SEGPIPE_MAX_IMAGE_PIXELS, else `MAX_PIXELS`.
        max_bytes: limit of the encoded size; None: `MAX_BYTES`.
        name: what messages call the picture; None: its path or kind.

    Returns:
        (H, W, 3) uint8, RGB, C-contiguous. It may be the very array that was given, or a view of it.

    Raises:
        ImageDecodeError: missing, empty, truncated, or not a picture.
        ImageTooLargeError: over one of the limits.
        InputError: an object, a shape, a dtype or a range of values that is no picture.
    """
    if channel_order not in ("rgb", "bgr"):
        raise InputError(f"channel_order is {channel_order!r}; it must be 'rgb' or, for OpenCV arrays, 'bgr'.")
    if isinstance(source, np.ndarray):
        return _from_array(source, channel_order, name or "the array")
    if is_tensor(source):
        return _from_array(_array_of_tensor(source), channel_order, name or "the tensor")

    pixel_limit = _default_max_pixels() if max_pixels is None else max_pixels
    if isinstance(source, Image.Image):
        name = name or getattr(source, "filename", "") or "the Pillow image"
        _check_pixels(source, pixel_limit, name)
        return _from_pillow(source, name)
    name = name or _name_of(source)
    data = _read_bytes(source, MAX_BYTES if max_bytes is None else max_bytes, name)
    return _decode(data, pixel_limit, name)


def picture_format(data: bytes) -> str | None:
    """The format that encoded data begins like ("JPEG", "PNG", …); None: no picture that `read_image` knows."""
    for format_name, prefixes, _ in _FORMATS:
        if data.startswith(prefixes) and (format_name != "WEBP" or data[8:12] == b"WEBP"):
            return format_name
    return None


def is_tensor(source: object) -> bool:
    """Whether it is a torch tensor; never imports torch, since without torch there are no tensors."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.Tensor)


# Opened by their own classes: Image.open would add Pillow's process-wide pixel limit and warning to ours.
_FORMATS: tuple[tuple[str, tuple[bytes, ...], Callable[[io.BytesIO], Image.Image]], ...] = (
    ("JPEG", (b"\xff\xd8\xff",), JpegImagePlugin.jpeg_factory),
    ("PNG", (b"\x89PNG\r\n\x1a\n",), PngImagePlugin.PngImageFile),
    ("WEBP", (b"RIFF",), WebPImagePlugin.WebPImageFile),
    ("BMP", (b"BM",), BmpImagePlugin.BmpImageFile),
    ("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImagePlugin.TiffImageFile),
    ("GIF", (b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile),
)


def _default_max_pixels() -> int:
    text = os.environ.get("SEGPIPE_MAX_IMAGE_PIXELS", "")
    if not text:
        return MAX_PIXELS
    if not text.isdecimal() or int(text) == 0:
        raise InputError(
            f"SEGPIPE_MAX_IMAGE_PIXELS is {text!r}; it must be a whole number of pixels, e.g. {MAX_PIXELS}."
        )
    return int(text)


def _name_of(source: Any) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fsdecode(source)
    return str(getattr(source, "name", "the data"))


def _read_bytes(source: Any, limit: int, name: str) -> bytes:
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    elif isinstance(source, (str, os.PathLike)):
        data = _read_file(Path(source), limit, name)
    elif hasattr(source, "read"):
        data = source.read(limit + 1)
    else:
        raise InputError(
            f"A picture cannot be read from {type(source).__name__}. "
            "Give a path, bytes, an open binary file, a Pillow image, a NumPy array or a torch tensor."
        )
    if not isinstance(data, bytes):
        raise InputError(f"{name} is open as text. Open it in binary mode, open(path, 'rb').")
    if len(data) > limit:
        raise _too_many_bytes(len(data), limit, name)
    return data


def _read_file(path: Path, limit: int, name: str) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageDecodeError(f"{name} is a folder; a picture is one file. Name a file in it.")
        if not stat.S_ISREG(status.st_mode):
            raise ImageDecodeError(f"{name} is not a regular file. Read it yourself and give its bytes.")
        if status.st_size > limit:
            raise _too_many_bytes(status.st_size, limit, name)
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ImageDecodeError(
            f"There is no file {name}. Check the path; the current folder is {Path.cwd()}."
        ) from error
    except OSError as error:
        raise ImageDecodeError(
            f"{name} cannot be read: {error.strerror}. Check the path and its permissions."
        ) from error


def _too_many_bytes(size: int, limit: int, name: str) -> ImageTooLargeError:
    return ImageTooLargeError(
        f"{name} has {size} bytes or more; at most {limit} are read. Raise max_bytes if the picture is trusted."
    )


def _decode(data: bytes, limit: int, name: str) -> np.ndarray:
    if not data:
        raise ImageDecodeError(f"{name} is empty (0 bytes). Fetch or write it again.")
    try:
        picture = _open(data, name)
        _check_pixels(picture, limit, name)
        pixels = _decode_jpeg(data, picture)
        return _from_pillow(picture, name) if pixels is None else _upright(pixels, picture)
    except (ImageError, MemoryError):
        raise
    except InputError as error:
        raise ImageDecodeError(str(error)) from error
    except Exception as error:  # on broken data Pillow's readers raise nearly anything
        raise _decoding_failed(error, name) from error


def _decoding_failed(error: Exception, name: str) -> ImageError:
    if isinstance(error, Image.DecompressionBombError):
        return ImageTooLargeError(f"{name} is over Pillow's own limit: {error} Raise PIL.Image.MAX_IMAGE_PIXELS.")
    return ImageDecodeError(f"{name} is truncated or damaged and cannot be decoded: {error}. Fetch or write it again.")


def _open(data: bytes, name: str) -> Image.Image:
    """The picture with its header read and no pixel decoded."""
    found = picture_format(data)
    for format_name, _, opener in _FORMATS:
        if format_name == found:
            return opener(io.BytesIO(data))
    raise ImageDecodeError(
        f"{name} is not a picture: it begins with {data[:12]!r}. Give JPEG, PNG, WebP, BMP, TIFF or GIF."
    )


def _check_pixels(picture: Image.Image, limit: int, name: str) -> None:
    width, height = picture.size
    if width * height > limit:
        raise ImageTooLargeError(
            f"{name} is {height} × {width} (height × width), {width * height} pixels; at most {limit} are decoded. "
            "Raise max_pixels or SEGPIPE_MAX_IMAGE_PIXELS if the picture is trusted."
        )


def _decode_jpeg(data: bytes, picture: Image.Image) -> np.ndarray | None:
    """(H, W, 3) by OpenCV, equal to Pillow's and at 12 megapixels two to three times as fast; None: not for it.

    OpenCV fills what is missing of a truncated file with grey and reports nothing, so the end-of-image marker must be
    the last thing in the data. CMYK is Pillow's, which knows about inverted inks.
    """
    is_plain = picture.format in ("JPEG", "MPO") and picture.mode in ("RGB", "L")
    if not is_plain or not data.endswith(b"\xff\xd9"):
        return None
    color = getattr(cv2, "IMREAD_COLOR_RGB", cv2.IMREAD_COLOR)  # RGB at once since OpenCV 4.11
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), color | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.shape != (picture.height, picture.width, 3):
        return None
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if color == cv2.IMREAD_COLOR else pixels


def _from_pillow(picture: Image.Image, name: str) -> np.ndarray:
    """(H, W, 3) uint8, upright. A picture that was not loaded yet is loaded, else left as it is."""
    try:
        picture.load()
    except MemoryError:
        raise
    except Exception as error:  # see _decode
        raise _decoding_failed(error, name) from error
    try:
        return _upright(_rgb_of(picture, name), picture)
    except (ImageError, InputError):
        raise
    except ValueError as error:
        raise ImageDecodeError(f"{name} has Pillow's mode {picture.mode}: {error}. Convert it to RGB.") from error


def _rgb_of(picture: Image.Image, name: str) -> np.ndarray:
    if picture.mode.startswith("I"):
        return _from_array(_to_8_bits(np.asarray(picture), name), "rgb", name)
    if picture.mode == "F":
        return _from_array(np.asarray(picture), "rgb", name)
    if picture.has_transparency_data:
        return _composite_on_white(np.asarray(picture.convert("RGBA")))
    if picture.mode in ("L", "1"):
        return cv2.cvtColor(np.asarray(picture.convert("L")), cv2.COLOR_GRAY2RGB)
    return _copy_pixels(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _copy_pixels(picture: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 of a picture in RGB, a few rows at a time.

    At once Pillow would make two copies more of the whole picture. Parts are taken by `resize`, not by `crop`, on
    which some versions put the process-wide pixel limit.
    """
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    if not pixels.size:
        return pixels
    step = max(1, _COPIED_AT_ONCE // picture.width)
    for top in range(0, picture.height, step):
        bottom = min(top + step, picture.height)
        part = picture.resize(
            (picture.width, bottom - top), Image.Resampling.NEAREST, box=(0, top, picture.width, bottom)
        )
        pixels[top:bottom] = np.asarray(part)
    return pixels


def _to_8_bits(values: np.ndarray, name: str) -> np.ndarray:
    """(H, W) integers in 0–65535 → uint8. The high byte: of 16-bit colours Pillow has kept no more."""
    if values.min() < 0 or values.max() > 65535:
        raise ImageDecodeError(
            f"{name} holds integers from {values.min()} to {values.max()}; at most 16 bits, 0 to 65535, are a picture. "
            "Scale it to 8 bits and give the array."
        )
    return (values >> 8).astype(np.uint8)


def _composite_on_white(rgba: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 → (H, W, 3) uint8; the alpha is straight, not premultiplied."""
    colors, alpha = rgba[:, :, :3], rgba[:, :, 3:].astype(np.uint16)
    if alpha.min() == 255:
        return np.ascontiguousarray(colors)
    return ((colors * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


# EXIF 2.32, tag 0x0112: what brings the stored picture upright. 1, and whatever is no orientation, changes nothing.
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.flip(cv2.transpose(pixels), -1),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def _upright(pixels: np.ndarray, picture: Image.Image) -> np.ndarray:
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
    except Exception as error:  # damaged metadata spoil no pixels
        logger.debug("EXIF data cannot be read, the picture is taken as upright: %s", error)
        return pixels
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return pixels if turn is None else turn(pixels)


def _array_of_tensor(tensor: Any) -> np.ndarray:
    """The tensor's values with channels last."""
    tensor = tensor.detach().cpu()
    if tensor.dtype.is_floating_point:
        tensor = tensor.float()  # NumPy has no bfloat16
    array: np.ndarray = tensor.numpy()
    has_channels_first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
    return np.moveaxis(array, 0, 2) if has_channels_first else array


def _from_array(array: np.ndarray, channel_order: ChannelOrder, name: str) -> np.ndarray:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or array.size == 0:
        raise InputError(
            f"{name} has shape {array.shape}; one picture is (H, W), (H, W, 3) or (H, W, 4). {_advice(array)}"
        )
    pixels = np.ascontiguousarray(_to_uint8(array, name))
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    if pixels.shape[2] == 4:
        pixels = _composite_on_white(pixels)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if channel_order == "bgr" else pixels


def _advice(array: np.ndarray) -> str:
    if array.size == 0:
        return "This one is empty."
    if array.ndim == 4:
        return "For a batch, give its pictures one by one."
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        return "For channels first, give array.transpose(1, 2, 0)."
    return "Reshape it."


def _to_uint8(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(
            f"{name} has dtype {array.dtype}; pictures are uint8 in 0–255 or float in 0–1. "
            "Scale the values (16 bits: array >> 8) and convert with .astype('uint8')."
        )
    low, high = float(array.min()), float(array.max())  # nan when any value is
    if not (low >= 0.0 and high <= 1.0):
        raise InputError(
            f"{name} holds floats from {low:g} to {high:g}; float pictures are in 0–1, before normalisation. "
            "Values in 0–255: convert to uint8."
        )
    return np.rint(array * 255.0).astype(np.uint8)
