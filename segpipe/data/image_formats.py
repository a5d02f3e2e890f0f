"""Recognize and open encoded images, and bound what decoding one may cost before it begins.

Formats that are not read are recognized by their first bytes, too, so that messages can name them. A decoder in C
cannot be interrupted: its work is estimated first.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

from segpipe import advice
from segpipe.errors import ImageDecodeError, ImageTooLargeError
from segpipe.limits import limit

from .tiff import LOSSY, Page

BYTES_LOOKED_AT = 1024
"""Enough of a file for `image_format` and `foreign_format`."""
FOREIGN_SUFFIXES = (
    *(".heic", ".heif", ".hif", ".jxl", ".psd", ".svg", ".pdf", ".exr", ".hdr", ".tga", ".ppm", ".pgm", ".pnm", ".dcm"),
    *(".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw"),
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".wmv", ".flv", ".mpg", ".mpeg", ".m2ts", ".3gp"),
)
"""Files that people expect to be read beside images. Their content decides what they are called."""
_TO_PNG = "Convert it to PNG or JPEG."
_FRAMES = "Write its frames as images first: ffmpeg -i FILM frame-%05d.png."
_HEIC = (
    "Convert it to JPEG or PNG. In Python, pip install pillow-heif, call pillow_heif.register_heif_opener(), and give "
    "Image.open(path)."
)
_RAW = "Develop it into TIFF, PNG or JPEG with a raw converter."
_POINTER = "Fetch the file itself: git lfs pull."
_PREFIXES: tuple[tuple[bytes, str, str], ...] = (
    (b"\xff\x0a", "a JPEG XL", _TO_PNG),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL", _TO_PNG),
    (b"8BPS", "a Photoshop document (PSD)", _TO_PNG),
    (b"%PDF", "a PDF", "Write its pages as images first: pdftoppm -png -r 150 FILE page."),
    (b"v/1\x01", "an OpenEXR", "Map its values to 8 bits and save it as PNG."),
    (b"#?RADIANCE", "a Radiance HDR", "Map its values to 8 bits and save it as PNG."),
    (b"#?RGBE", "a Radiance HDR", "Map its values to 8 bits and save it as PNG."),
    (b"DDS ", "a DDS texture", _TO_PNG),
    (b"\0\0\x01\0", "an icon (ICO)", _TO_PNG),
    (b"\x93NUMPY", "a NumPy file", "Read it with numpy.load and give the array."),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "Read its array and give that."),
    (b"SIMPLE  =", "a FITS file", "Read its array and give that."),
    (b"FUJIFILMCCD-RAW", "a camera's raw file (RAF)", _RAW),
    (b"IIU\0", "a camera's raw file (RW2)", _RAW),
    (b"IIRO", "a camera's raw file (ORF)", _RAW),
    (b"IIRS", "a camera's raw file (ORF)", _RAW),
    (b"MMOR", "a camera's raw file (ORF)", _RAW),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM film", _FRAMES),
    (b"\0\0\x01\xba", "an MPEG film", _FRAMES),
    (b"\0\0\x01\xb3", "an MPEG film", _FRAMES),
    (b"FLV\x01", "a Flash film", _FRAMES),
    (b"0&\xb2u\x8ef\xcf\x11", "a Windows Media film", _FRAMES),
    (b"OggS", "an Ogg film", _FRAMES),
    (b"PK\x03\x04", "a ZIP archive", "Unpack it first."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first."),
    (b"version https://git-lfs", "a Git LFS pointer", _POINTER),
)
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"))
_SCAN = b"\xff\xda"


def image_format(data: bytes) -> str | None:
    """Return the format that encoded data begins like ("JPEG", "PNG", …), or None if it is not one that is read."""
    for name, prefixes, _ in _FORMATS:
        if data.startswith(prefixes):
            if name == "WEBP":
                return name if data[8:12] == b"WEBP" else None
            if name == "TIFF" and data[8:10] == b"CR":
                return None
            return name
    return "AVIF" if _brands(data) & {b"avif", b"avis"} else None


def foreign_format(data: bytes) -> tuple[str, str] | None:
    """Return the name of a format that is recognized but not read ("a HEIC image") and what to do, or None."""
    for prefix, name, what_to_do in _PREFIXES:
        if data.startswith(prefix):
            return name, what_to_do
    if data[4:8] == b"ftyp":
        return _named_by_brand(data)
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "an AVI film", _FRAMES
    if data[:4] in (b"II*\0", b"MM\0*") and data[8:10] == b"CR":
        return "a camera's raw file (CR2)", _RAW
    if data[128:132] == b"DICM":
        return "a DICOM file", "Map its values to 8 bits and save it as PNG."
    if data[:1] == b"G" and data[188:189] == b"G" and data[376:377] == b"G":
        return "an MPEG film", _FRAMES
    return _named_by_text(data)


def open_encoded(data: bytes, name: str) -> Image.Image:
    """Open an image of a format that is read. Its header is read, no pixel is decoded.

    Raises:
        ImageDecodeError: it is of no such format, or this Pillow cannot decode it.
    """
    found = image_format(data)
    if found == "AVIF":
        return _open_avif(data, name)
    if found == "JPEG2000" and not features.check("jpg_2000"):
        raise ImageDecodeError(f"{name} is a JPEG 2000, and this Pillow was built without it. {_TO_PNG}")
    for format_name, _, opener in _FORMATS:
        if format_name == found:
            return opener(_reader(data))
    raise ImageDecodeError(describe_unreadable(data, name))


def describe_unreadable(data: bytes, name: str) -> str:
    """Return a sentence about data that is not read. It names the format if it can, and shows no byte."""
    if not data:
        return f"{name} is empty (0 bytes). Fetch or write it again."
    foreign = foreign_format(data[:BYTES_LOOKED_AT])
    if foreign is not None:
        return f"{name} is {foreign[0]}, which is not read. {foreign[1]}"
    known = "JPEG, PNG, WebP, BMP, TIFF, GIF, JPEG 2000 or AVIF"
    return f"{name} is not an image: its content is of no known format. Give {known}."


def check_size(height: int, width: int, max_pixels: int, name: str) -> None:
    """Refuse an image over the pixel limit or the side limit."""
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"{name} is {height} × {width} (height × width), {width * height} pixels; at most {max_pixels} are "
            "decoded. If the image is trusted, set "
            + advice.either(
                python=f"max_pixels={width * height}, or the variable SEGPIPE_MAX_IMAGE_PIXELS.",
                command=f"SEGPIPE_MAX_IMAGE_PIXELS={width * height} before the command.",
            )
        )
    if max(width, height) > limit("image_side"):
        raise ImageTooLargeError(
            f"{name} is {height} × {width} (height × width); a side may have {limit('image_side')} pixels. Cut it into "
            "parts, or raise SEGPIPE_MAX_IMAGE_SIDE if the image is trusted."
        )


def check_work(data: bytes, image: Image.Image, name: str) -> None:
    """Refuse an opened image whose decoder would need far more time or memory than its size says."""
    pixels = image.width * image.height
    if image.format in ("JPEG", "MPO"):
        scans = _count_scans(data, image)
        if scans > 1:
            check_scans(scans * pixels, name)
    is_heavy = image.format in ("AVIF", "JPEG2000") or (image.format == "WEBP" and getattr(image, "is_animated", False))
    if is_heavy and pixels > limit("heavy_image_pixels"):
        raise ImageTooLargeError(
            f"{name} is {image.height} × {image.width} (height × width); of a {image.format} at most "
            f"{limit('heavy_image_pixels')} pixels are decoded, since its decoder needs much memory. Save it as PNG or "
            "JPEG, or raise SEGPIPE_MAX_HEAVY_IMAGE_PIXELS if the image is trusted."
        )


def check_tiff_scans(data: bytes, page: Page, name: str) -> None:
    """Do for the JPEGs in a TIFF what `check_work` does for a JPEG."""
    if page.compression not in LOSSY:
        return
    offsets, counts = page.blocks
    scans = sum(data.count(_SCAN, start, start + size) for start, size in zip(offsets, counts, strict=False))
    check_scans(scans * page.width * page.height // max(len(offsets), 1), name)


def check_scans(scan_pixels: int, name: str) -> None:
    """Refuse a JPEG whose scans cover more pixels than `jpeg_scan_pixels`."""
    if scan_pixels > limit("jpeg_scan_pixels"):
        raise ImageTooLargeError(
            f"{name} is a JPEG whose scans cover {scan_pixels:,} pixels; at most {limit('jpeg_scan_pixels'):,} are "
            "decoded. Save it again, or raise SEGPIPE_MAX_JPEG_SCAN_PIXELS if the image is trusted."
        )


class CountingReader(io.BytesIO):
    """Bytes of which a reader takes a bounded number of pieces.

    Pillow's readers walk over chunks, blocks and runs in Python, some microseconds each, and a file can consist of
    hundreds of millions of them.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = limit("image_pieces")

    def read(self, size: int | None = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ImageTooLargeError(
                f"The image consists of more than {limit('image_pieces'):,} pieces (chunks, blocks, runs). Save it "
                "again with another program, or raise SEGPIPE_MAX_IMAGE_PIECES if it is trusted."
            )
        return super().read(size)


# Opened by their own classes: Image.open would add Pillow's process-wide pixel limit and warning to ours.
_FORMATS: tuple[tuple[str, tuple[bytes, ...], Callable[[io.BytesIO], Image.Image]], ...] = (
    ("JPEG", (b"\xff\xd8\xff",), JpegImagePlugin.jpeg_factory),
    ("PNG", (b"\x89PNG\r\n\x1a\n",), PngImagePlugin.PngImageFile),
    ("WEBP", (b"RIFF",), WebPImagePlugin.WebPImageFile),
    ("BMP", (b"BM",), BmpImagePlugin.BmpImageFile),
    ("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImagePlugin.TiffImageFile),
    ("GIF", (b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile),
    ("JPEG2000", (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"), Jpeg2KImagePlugin.Jpeg2KImageFile),
)


def _reader(data: bytes) -> io.BytesIO:
    """Return a reader that gives a bounded number of pieces; data of few bytes cannot have more of them."""
    return CountingReader(data) if len(data) > limit("image_pieces") else io.BytesIO(data)


def _open_avif(data: bytes, name: str) -> Image.Image:
    try:
        from PIL import AvifImagePlugin
    except ImportError:
        is_supported = False
    else:
        is_supported = AvifImagePlugin.SUPPORTED
    if not is_supported:
        raise ImageDecodeError(f"{name} is an AVIF, which needs Pillow 11.3 or newer: pip install --upgrade pillow.")
    return AvifImagePlugin.AvifImageFile(_reader(data))


def _brands(data: bytes) -> set[bytes]:
    """Return the brands of an ISO base media file (ISO/IEC 14496-12, 4.3), or nothing for other data."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), len(data), 256)
    return {data[8:12], *(data[place : place + 4] for place in range(16, end - 3, 4))}


def _named_by_brand(data: bytes) -> tuple[str, str]:
    brands = _brands(data)
    if b"crx " in brands:
        return "a camera's raw file (CR3)", _RAW
    if brands & _HEIF_BRANDS:
        return "a HEIC image", _HEIC
    return ("a QuickTime film" if data[8:12] == b"qt  " else "an MP4 film"), _FRAMES


def _named_by_text(data: bytes) -> tuple[str, str] | None:
    start = data[:BYTES_LOOKED_AT].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page", "Fetch the image itself, not a page that shows it."
    if start.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in start:
        return "an SVG", "Draw it into a PNG first: rsvg-convert FILE -o image.png."
    if re.match(rb"p[1-6f]\s", start):
        return "a PNM (PPM, PGM or PBM)", _TO_PNG
    return None


def _count_scans(data: bytes, image: Image.Image) -> int:
    """Return how often libjpeg goes over the pixels: once, unless the components come in several scans."""
    if "progressive" not in image.info and _components_of_first_scan(data) >= len(image.getbands()):
        return 1
    return data.count(_SCAN)


def _components_of_first_scan(data: bytes) -> int:
    """Return the number of components, or 0 where the segments cannot be followed."""
    place = 2
    while place + 4 < len(data) and data[place] == 0xFF:
        if data[place + 1] == 0xFF:  # a fill byte
            place += 1
        elif data[place + 1] == 0xDA:
            return data[place + 4]
        else:
            place += 2 + (data[place + 2] << 8 | data[place + 3])
    return 0
