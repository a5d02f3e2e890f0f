"""What decoding an image would cost, looked at before it begins: a decoder in C cannot be interrupted."""

from __future__ import annotations

from PIL import Image

from segpipe import advice
from segpipe.errors import ImageTooLargeError
from segpipe.limits import limit

from .tiff import LOSSY, Page

_SCAN = b"\xff\xda"


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
            "parts, or raise SEGPIPE_MAX_IMAGE_SIDE if the picture is trusted."
        )


def check_work(data: bytes, picture: Image.Image, name: str) -> None:
    """Refuse an opened image whose decoder would need far more time or memory than its size says."""
    pixels = picture.width * picture.height
    if picture.format in ("JPEG", "MPO"):
        scans = _count_scans(data, picture)
        if scans > 1:
            check_scans(scans * pixels, name)
    is_heavy = picture.format in ("AVIF", "JPEG2000") or (
        picture.format == "WEBP" and getattr(picture, "is_animated", False)
    )
    if is_heavy and pixels > limit("heavy_image_pixels"):
        raise ImageTooLargeError(
            f"{name} is {picture.height} × {picture.width} (height × width); of a {picture.format} at most "
            f"{limit('heavy_image_pixels')} pixels are decoded, since its decoder needs much memory. Save it as PNG or "
            "JPEG, or raise SEGPIPE_MAX_HEAVY_IMAGE_PIXELS if the picture is trusted."
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
            "decoded. Save it again, or raise SEGPIPE_MAX_JPEG_SCAN_PIXELS if the picture is trusted."
        )


def _count_scans(data: bytes, picture: Image.Image) -> int:
    """Return how often libjpeg goes over the pixels: once, unless the components come in several scans."""
    if "progressive" not in picture.info and _components_of_first_scan(data) >= len(picture.getbands()):
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
