"""Tiny data sets for tests: images, labels and lists of a few pixels, and what is read of them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segpipe.data import load_dataset
from segpipe.data.annotations import DrawingBudget, polygon_window

NAMES = ("sky", "road", "car")
HAS_CODECS = find_spec("imagecodecs") is not None
LZW = pytest.param(
    "lzw", marks=[pytest.mark.peer, pytest.mark.skipif(not HAS_CODECS, reason="tifffile needs imagecodecs to write it")]
)
"""A compression of TIFF files."""


def put_image(root, name, size=(1, 3), level=90, **options):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size[1], size[0]), (level,) * 3).save(path, **options)


def put_label(root, name, rows):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(rows, np.uint8)).save(path)


def put_text(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def labels_of(dataset):
    """The encoded labels, by the image's file name."""
    return {Path(sample.name).name: sample.label.tolist() for sample in dataset}


def make_dataset(root, name="one", rows=([[0, 1, 2]], [[2, 2, 2]])):
    for index, row in enumerate(rows):
        put_image(root, f"{name}/images/{index}.png", level=index)
        put_label(root, f"{name}/labels/{index}.png", row)
    return load_dataset("folder", root / name, "all", names=NAMES)


def rasterize_polygon(points, size):
    """The mask (H, W) of a polygon."""
    mask = np.zeros(size, np.uint8)
    rows, columns, inside = polygon_window(points, size, DrawingBudget())
    mask[rows, columns] = inside
    return mask
