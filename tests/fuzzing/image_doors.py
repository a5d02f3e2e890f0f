"""Images and labels of each format that is read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from doors import Door, door, file_reader
from hostile import damaged_bytes
from PIL import Image

from segpipe.data.images import read_image
from segpipe.data.label_files import read_label


@door
def images(folder: Path) -> Door:
    return Door(damaged_bytes(encoded_images()), lambda data: read_image(data, max_pixels=2_000_000))


@door
def labels(folder: Path) -> Door:
    return Door(damaged_bytes(encoded_labels()), file_reader(folder / "label.png", read_label))


@door
def boundary_maps(folder: Path) -> Door:
    """The files of `segpipe data prepare boundaries`."""
    from segpipe.data.datasets.boundary_maps import read_boundaries

    maps = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 31, 2), np.uint8), "LA")
    seeds = [encode(maps, "PNG"), encode(maps, "TIFF"), encode(maps.convert("L"), "PNG")]
    return Door(damaged_bytes(seeds), file_reader(folder / "maps.png", read_boundaries))


def encoded_images() -> list[bytes]:
    """Small images of each format and mode that is read."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (24, 31, 3), np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (24, 31), np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        encode(rgb, "JPEG", exif=exif),
        encode(rgb, "JPEG", progressive=True),
        encode(rgb.convert("CMYK"), "JPEG"),
        encode(rgb, "PNG"),
        encode(rgb.convert("RGBA"), "PNG"),
        encode(rgb.quantize(7), "PNG", transparency=3),
        encode(deep, "PNG"),
        encode(rgb, "BMP"),
        encode(rgb.quantize(9), "GIF", save_all=True, append_images=[rgb.quantize(5)]),
        encode(rgb, "WEBP", lossless=True),
        *(encode(rgb, "TIFF", compression=kind) for kind in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg")),
        encode(rgb.convert("RGBA"), "TIFF"),
        encode(deep, "TIFF"),
    ]


def encoded_labels() -> list[bytes]:
    """Small labels of each format and mode that is read."""
    values = Image.fromarray(np.random.default_rng(0).integers(0, 5, (24, 31), np.uint8))
    palette = values.copy()
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128])
    deep = Image.fromarray(np.arange(24 * 31, dtype=np.uint16).reshape(24, 31))
    return [
        encode(values, "PNG"),
        encode(palette, "PNG", bits=4),
        encode(values.point(lambda value: value > 2, "1"), "PNG"),
        encode(deep, "PNG"),
        encode(values, "BMP"),
        *(encode(values, "TIFF", compression=kind) for kind in ("raw", "tiff_lzw", "packbits")),
        encode(deep, "TIFF"),
        encode(palette, "TIFF"),
    ]


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
