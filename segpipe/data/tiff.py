"""TIFF directories, read within bounds, and the samples as they are stored.

Pillow inverts, stretches and drops samples as a viewer would. Labels and bands beside the colours need what is stored.
Source: TIFF 6.0 (Adobe, 1992) with its supplements, and BigTIFF.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import TiffImagePlugin

from segpipe.errors import ImageDecodeError, ImageTooLargeError
from segpipe.limits import limit

REDUCED, TRANSPARENCY = 1, 4
"""Bits of NewSubfileType: a smaller copy of another page, and a mask for one."""
BLACK_IS_ZERO, WHITE_IS_ZERO, RGB, PALETTE = 1, 0, 2, 3
LOSSLESS = {
    1: "none",
    2: "CCITT",
    3: "CCITT G3",
    4: "CCITT G4",
    5: "LZW",
    8: "deflate",
    32773: "PackBits",
    32946: "deflate",
    34925: "LZMA",
    50000: "Zstandard",
}
LOSSY = {6: "JPEG", 7: "JPEG", 33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 50001: "WebP", 34887: "LERC"}

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_TAGS = frozenset(
    (
        254,
        256,
        257,
        258,
        259,
        262,
        266,
        273,
        274,
        277,
        278,
        279,
        284,
        292,
        293,
        317,
        320,
        322,
        323,
        324,
        325,
        330,
        338,
        339,
    )
)


@dataclass(frozen=True)
class Page:
    """One directory of a TIFF.

    Attributes:
        index: its place in the chain.
        offset: where it begins in the file.
        order: "<" or ">".
        tags: the whole numbers of the tags that are needed here.
    """

    index: int
    offset: int
    order: str
    tags: dict[int, tuple[int, ...]] = field(repr=False)

    def value(self, tag: int, default: int) -> int:
        """Return the first number of a tag."""
        return (self.tags.get(tag) or (default,))[0]

    @property
    def width(self) -> int:
        return self.value(256, 0)

    @property
    def height(self) -> int:
        return self.value(257, 0)

    @property
    def bits(self) -> int:
        """Bits per sample; 0 where the samples differ in it."""
        bits = set(self.tags.get(258, (1,))[: self.bands])
        return bits.pop() if len(bits) == 1 else 0

    @property
    def bands(self) -> int:
        return self.value(277, 1)

    @property
    def compression(self) -> int:
        return self.value(259, 1)

    @property
    def photometric(self) -> int:
        return self.value(262, WHITE_IS_ZERO)

    @property
    def extra_samples(self) -> tuple[int, ...]:
        """Kinds of the samples beside the colours: 0 unspecified, 1 premultiplied alpha, 2 alpha."""
        extra = self.bands - (3 if self.photometric == RGB else 1)
        return (*self.tags.get(338, ()), *(0 for _ in range(extra)))[: max(extra, 0)]

    @property
    def is_full(self) -> bool:
        """Whether it is an image of its own: no reduced copy of another, no mask."""
        return not self.value(254, 0) & (REDUCED | TRANSPARENCY)

    def describe(self) -> str:
        """Return the layout in a phrase."""
        kinds = {0: "WhiteIsZero", 1: "BlackIsZero", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "CIELab"}
        names = {1: "unsigned", 2: "signed", 3: "float"}
        compression = {**LOSSLESS, **LOSSY}.get(self.compression, str(self.compression))
        return (
            f"{self.bands} band{'s' if self.bands > 1 else ''} of {self.bits or 'different'} bits "
            f"({names.get(self.value(339, 1), 'of unknown sample format')}), photometric "
            f"{kinds.get(self.photometric, self.photometric)}, compression {compression}"
        )


def read_pages(data: bytes, name: str) -> list[Page]:
    """Read the directories of a TIFF or BigTIFF, at most as many as `limit("tiff_pages")`.

    Raises:
        ImageDecodeError: a directory lies outside of the file, or claims more than it holds.
        ImageTooLargeError: more pages than the limit.
    """
    order = "<" if data[:2] == b"II" else ">"
    try:
        is_big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
        [offset] = struct.unpack_from(f"{order}Q", data, 8) if is_big else struct.unpack_from(f"{order}I", data, 4)
        pages: list[Page] = []
        seen: set[int] = set()
        # A chain that bites its tail ends, and so does one whose end some programs do not mark.
        while offset and offset not in seen and not (pages and offset >= len(data)):
            seen.add(offset)
            if len(pages) == limit("tiff_pages"):
                break
            tags, following = _read_directory(data, offset, order, is_big)
            pages.append(Page(len(pages), offset, order, tags))
            offset = following
        else:
            offset = 0
    except (struct.error, ValueError, OverflowError) as error:
        raise ImageDecodeError(f"{name} is damaged: a TIFF directory cannot be read. Write it again.") from error
    if offset:
        raise ImageTooLargeError(
            f"{name} has more than {len(pages):,} pages. Split it, or raise SEGPIPE_MAX_TIFF_PAGES if it is trusted."
        )
    if not pages:
        raise ImageDecodeError(f"{name} is a TIFF without an image. Write it again.")
    return pages


def full_pages(data: bytes, name: str) -> list[Page]:
    """Read the pages that are images of their own, without reduced copies and masks.

    Raises:
        ImageDecodeError: there is none, as in camera raw files, or one claims more than the file can hold.
    """
    pages = [page for page in read_pages(data, name) if page.is_full]
    if not pages:
        raise ImageDecodeError(
            f"{name} holds only reduced copies of an image, as camera raw files (DNG, NEF, ARW) do. Develop or convert "
            "it into a plain TIFF, PNG or JPEG."
        )
    return pages


def check_page(page: Page, data: bytes, name: str) -> None:
    """Refuse a page whose strips and tiles ask for more work than its pixels and the file can hold."""
    area = page.value(322, 0) * page.value(323, 0)
    blocks = len(page.tags.get(324, ()) or page.tags.get(273, ()))
    if area * blocks > 4 * max(page.width * page.height, 1) * page.bands + 2**24:
        raise ImageDecodeError(f"{name} is damaged: its tiles cover far more than the image. Write it again.")
    if sum(page.tags.get(325, ()) or page.tags.get(279, ())) > 4 * len(data) + 2**20:
        raise ImageDecodeError(f"{name} is damaged: its parts are larger than the file. Write it again.")


def begin_with(data: bytes, page: Page) -> bytes:
    """Return the file with the page in first place."""
    if page.index == 0:
        return data
    is_big = data[2:4] in (b"+\0", b"\0+")
    place, layout = (8, "Q") if is_big else (4, "I")
    return b"".join(
        (data[:place], struct.pack(page.order + layout, page.offset), data[place + struct.calcsize(layout) :])
    )


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


def _read_directory(data: bytes, offset: int, order: str, is_big: bool) -> tuple[dict[int, tuple[int, ...]], int]:
    """Return the tags of a directory and where the next one begins."""
    head, entry, inline = ("Q", "HHQQ", 8) if is_big else ("H", "HHII", 4)
    [count] = struct.unpack_from(order + head, data, offset)
    start, step = offset + struct.calcsize(head), struct.calcsize(f"={entry}")
    if start + count * step > len(data) or count > 65535:
        raise ValueError("the directory ends outside of the file")
    tags: dict[int, tuple[int, ...]] = {}
    total = 0
    for place in range(start, start + count * step, step):
        tag, kind, length, where = struct.unpack_from(order + entry, data, place)
        size = _SIZES.get(kind, 1) * length
        total += size
        if total > 2 * len(data) + 2**16:
            raise ValueError("its tags claim more than the file holds")
        if tag in _TAGS and kind in _INTEGERS:
            if length > limit("image_pieces"):
                raise ValueError("it has more strips or tiles than are read")
            source = place + step - inline if size <= inline else where
            tags[tag] = struct.unpack_from(f"{order}{length}{_INTEGERS[kind]}", data, source)
    end = start + count * step
    following = struct.unpack_from(order + ("Q" if is_big else "I"), data, end)[0] if end < len(data) else 0
    return tags, following


def _blocks(data: bytes, page: Page, name: str) -> Iterator[tuple[int, int, int, np.ndarray]]:
    """Yield (top, left, first band, (rows, columns, bands) samples) of each strip or tile."""
    is_planar = page.value(284, 1) == 2 and page.bands > 1
    is_tiled = 324 in page.tags
    width = page.value(322, 0) if is_tiled else page.width
    height = page.value(323, 0) if is_tiled else min(page.value(278, page.height), page.height)
    offsets, counts = (page.tags.get(tag, ()) for tag in ((324, 325) if is_tiled else (273, 279)))
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
        rows = height if is_tiled else min(height, page.height - top)
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
    # A file of one grey strip, whose samples are the bytes.
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
    picture = TiffImagePlugin.TiffImageFile(io.BytesIO(head + packed + bytes(4) + encoded))
    picture.load()
    return np.asarray(picture)


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
    kind = {2: "i", 3: "f"}.get(page.value(339, 1), "u")
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
