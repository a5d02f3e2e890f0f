"""Read TIFF directories within bounds: which pages there are, and how each stores its samples.

Pillow inverts, stretches and drops samples as a viewer would. Labels and bands beside the colors need what is stored,
see `tiff_samples`. Source: TIFF 6.0 (Adobe, 1992) with its supplements, and BigTIFF.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

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
        *(254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284),  # baseline
        *(292, 293, 317, 320, 322, 323, 324, 325, 330, 338, 339),  # extensions
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
    def sample_format(self) -> int:
        """1 unsigned, 2 signed, 3 float."""
        return self.value(339, 1)

    @property
    def orientation(self) -> int:
        """As EXIF numbers it."""
        return self.value(274, 1)

    @property
    def is_tiled(self) -> bool:
        """Whether the samples lie in tiles, and not in strips."""
        return bool(self.tags.get(324))

    @property
    def blocks(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Where each tile or strip begins in the file, and its bytes."""
        return self.tags.get(324) or self.tags.get(273, ()), self.tags.get(325) or self.tags.get(279, ())

    @property
    def extra_samples(self) -> tuple[int, ...]:
        """Kinds of the samples beside the colors: 0 unspecified, 1 premultiplied alpha, 2 alpha."""
        extra = self.bands - (3 if self.photometric == RGB else 1)
        return (*self.tags.get(338, ()), *(0 for _ in range(extra)))[: max(extra, 0)]

    @property
    def is_full(self) -> bool:
        """Whether it is an image of its own, and not a reduced copy or a mask."""
        return not self.value(254, 0) & (REDUCED | TRANSPARENCY)

    def describe(self) -> str:
        """Return the layout in a phrase."""
        kinds = {0: "WhiteIsZero", 1: "BlackIsZero", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "CIELab"}
        names = {1: "unsigned", 2: "signed", 3: "float"}
        compression = {**LOSSLESS, **LOSSY}.get(self.compression, str(self.compression))
        return (
            f"{self.bands} band{'s' if self.bands > 1 else ''} of {self.bits or 'different'} bits "
            f"({names.get(self.sample_format, 'of unknown sample format')}), photometric "
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
        # A circular chain ends, and so does one whose end a program did not mark.
        while offset and offset not in seen and not (pages and offset >= len(data)):
            seen.add(offset)
            if len(pages) == limit("tiff_pages"):
                break
            tags, following = _read_directory(data, offset, order, is_big)
            pages.append(Page(len(pages), offset, order, tags))
            offset = following
        else:
            offset = 0
    except (struct.error, ValueError, OverflowError):
        raise ImageDecodeError(f"{name} is damaged: a TIFF directory cannot be read. Write it again.") from None
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
    offsets, counts = page.blocks
    if area * len(offsets) > 4 * max(page.width * page.height, 1) * page.bands + 2**24:
        raise ImageDecodeError(f"{name} is damaged: its tiles cover far more than the image. Write it again.")
    if sum(counts) > 4 * len(data) + 2**20:
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
