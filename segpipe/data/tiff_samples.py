"""Read the samples of a TIFF as stored: strips and tiles put together, predictors undone, nothing stretched."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import numpy as np
from PIL import TiffImagePlugin

from segpipe.errors import ImageDecodeError

from .tiff import BLACK_IS_ZERO, LOSSLESS, Page


def read_samples(data: bytes, page: Page, name: str, *, bands: int) -> np.ndarray:
    """Read the first `bands` samples of each pixel as they are stored.

    Returns:
        (H, W, bands) in the file's own type: unsigned or signed integers or floats. 1, 2 and 4 bits become uint8 and
        12 bits uint16, not stretched.

    Raises:
        ImageDecodeError: a compression with loss, an unusual layout, or damaged data.
    """
    if page.compression not in LOSSLESS or page.bits not in (1, 2, 4, 8, 12, 16, 32, 64):
        raise ImageDecodeError(f"{name} is a TIFF of {page.describe()}, which is not read. Save it as PNG.")
    result: np.ndarray | None = None
    for top, left, band, block in _blocks(data, page, name):
        if result is None:
            result = np.zeros((page.height, page.width, bands), block.dtype.newbyteorder("="))
        if band < bands:
            part = block[: page.height - top, : page.width - left, : bands - band]
            rows, columns, count = part.shape
            result[top : top + rows, left : left + columns, band : band + count] = part
    if result is None:
        raise ImageDecodeError(f"{name} is truncated or damaged: it has no strips and no tiles. Write it again.")
    return result


def _blocks(data: bytes, page: Page, name: str) -> Iterator[tuple[int, int, int, np.ndarray]]:
    """Yield (top, left, first band, (rows, columns, bands) samples) of each strip or tile."""
    is_planar = page.value(284, 1) == 2 and page.bands > 1
    width = page.value(322, 0) if page.is_tiled else page.width
    height = page.value(323, 0) if page.is_tiled else min(page.value(278, page.height), page.height)
    offsets, counts = page.blocks
    depth = 1 if is_planar else page.bands
    if width < 1 or height < 1 or not 1 <= page.bands <= 4096:
        raise ImageDecodeError(f"{name} is damaged: a TIFF of {page.describe()}. Write it again.")
    across, down = -(-page.width // width), -(-page.height // height)
    needed = across * down * (page.bands if is_planar else 1)
    row = -(-width * depth * page.bits // 8)
    if not counts and page.compression == 1:
        counts = (row * height,) * len(offsets)
    if len(offsets) < needed or len(counts) < needed:
        raise ImageDecodeError(f"{name} is truncated or damaged: strips or tiles are missing. Write it again.")
    for index in range(needed):
        band, place = divmod(index, across * down)
        top, left = place // across * height, place % across * width
        rows = height if page.is_tiled else min(height, page.height - top)
        encoded = data[offsets[index] : offsets[index] + counts[index]]
        if not counts[index]:  # a sparse file
            continue
        raw = _decompress(encoded, page, (rows, row, width), name)
        yield top, left, band, _samples_of(raw, page, width, depth)


def _decompress(encoded: bytes, page: Page, shape: tuple[int, int, int], name: str) -> np.ndarray:
    """Return a strip's or tile's (rows, bytes) uint8, or (rows, columns) bits of a fax."""
    rows, row, width = shape
    is_fax = page.compression in (2, 3, 4)
    if page.compression == 1:
        if len(encoded) < rows * row:
            raise ImageDecodeError(f"{name} is truncated or damaged: a strip is too short. Write it again.")
        raw = np.frombuffer(encoded, np.uint8, rows * row).reshape(rows, row)
        return np.packbits(np.unpackbits(raw, axis=1, bitorder="little"), axis=1) if page.value(266, 1) == 2 else raw
    # A file of one gray strip, whose samples are the bytes.
    entries = [
        (256, 4, width if is_fax else row),
        (257, 4, rows),
        (258, 3, 1 if is_fax else 8),
        (259, 3, page.compression),
        (262, 3, BLACK_IS_ZERO),
        (266, 3, page.value(266, 1)),
        (273, 4, 8 + 2 + 13 * 12 + 4),
        (277, 3, 1),
        (278, 4, rows),
        (279, 4, len(encoded)),
        (292, 4, page.value(292, 0)),
        (293, 4, page.value(293, 0)),
        (317, 3, 1),
    ]
    packed = b"".join(
        struct.pack("<HHI", tag, kind, 1) + struct.pack("<I" if kind == 4 else "<Hxx", value)
        for tag, kind, value in entries
    )
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    image = TiffImagePlugin.TiffImageFile(io.BytesIO(head + packed + bytes(4) + encoded))
    image.load()
    return np.asarray(image)


def _samples_of(raw: np.ndarray, page: Page, width: int, depth: int) -> np.ndarray:
    """Return (rows, columns, bands) of (rows, bytes), with the predictor undone."""
    rows, count = len(raw), width * depth
    if raw.dtype == np.bool_:
        return raw.astype(np.uint8).reshape(rows, width, 1)
    if page.bits in (1, 2, 4):
        shifts = np.arange(8 - page.bits, -1, -page.bits, dtype=np.uint8)
        few = (raw[:, :, None] >> shifts & np.uint8(2**page.bits - 1)).reshape(rows, -1)
        return few[:, :count].reshape(rows, width, depth)
    if page.bits == 12:
        return _unpack_12_bits(raw)[:, :count].reshape(rows, width, depth)
    kind = {2: "i", 3: "f"}.get(page.sample_format, "u")
    dtype = np.dtype(f"{page.order}{kind}{page.bits // 8}")
    predictor = page.value(317, 1)
    if predictor == 3:
        return _undo_float_predictor(raw, width, depth, page.bits // 8)
    samples = np.ascontiguousarray(raw).view(dtype).reshape(rows, width, depth)
    if predictor == 2:
        whole = np.dtype(f"u{page.bits // 8}")
        native = samples.astype(dtype.newbyteorder("="), copy=False).view(whole)
        return np.cumsum(native, axis=1, dtype=whole).view(dtype.newbyteorder("="))
    return samples


def _unpack_12_bits(raw: np.ndarray) -> np.ndarray:
    padded = np.pad(raw, ((0, 0), (0, -raw.shape[1] % 3))).astype(np.uint16)
    first, second, third = padded[:, 0::3], padded[:, 1::3], padded[:, 2::3]
    values = np.stack([first << 4 | second >> 4, (second & 15) << 8 | third], axis=2)
    return values.reshape(len(raw), -1)


def _undo_float_predictor(raw: np.ndarray, width: int, depth: int, size: int) -> np.ndarray:
    """Undo Adobe's predictor 3: bytes of equal weight lie together, each the difference to the one before."""
    rows = len(raw)
    summed = np.cumsum(raw.reshape(rows, -1, depth), axis=1, dtype=np.uint8).reshape(rows, size, width * depth)
    return np.ascontiguousarray(summed.transpose(0, 2, 1)).view(f">f{size}").reshape(rows, width, depth)
