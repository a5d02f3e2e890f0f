"""JPEGs that were cut and closed again with an end-of-image marker."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segpipe.configuration import LabelSet
from segpipe.data import Pair
from segpipe.data.images import read_image
from segpipe.data.inspection import inspect_pair, missing_share

CAMVID = Path(__file__).parents[3] / "shared/data/camvid/images"


def draw(mode="RGB"):
    small = np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((320, 240), Image.Resampling.BICUBIC).convert(mode)


def encode(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", **options)
    return buffer.getvalue()


def cut(data, share):
    return data[: int(len(data) * share)].rstrip(b"\xff") + b"\xff\xd9"


KINDS = [
    ("RGB", {}),
    ("RGB", {"quality": 95, "subsampling": 0}),
    ("RGB", {"progressive": True}),
    ("RGB", {"restart_marker_rows": 1}),
    ("L", {}),
    ("CMYK", {}),
]


@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
@pytest.mark.parametrize(("mode", "options"), KINDS)
def test_a_cut_jpeg_is_told_from_a_whole_one(mode, options, share):
    data = encode(draw(mode), **options)
    assert missing_share(data) == 0.0
    assert missing_share(cut(data, share)) > 0.0


def test_the_share_is_that_of_the_made_up_rows():
    data = cut(encode(draw("L")), 0.5)
    pixels = read_image(data)
    is_gray = (pixels == 128).all(axis=(1, 2))
    assert missing_share(data) == pytest.approx(is_gray.mean(), abs=0.05)


@pytest.mark.parametrize("gray", [0, 128, 255])
def test_a_plain_lower_half_is_no_sign(gray):
    pixels = np.asarray(draw()).copy()
    pixels[100:] = gray
    for options in ({}, {"progressive": True}, {"restart_marker_rows": 2}):
        assert missing_share(encode(Image.fromarray(pixels), **options)) == 0.0


def test_a_check_warns_of_a_cut_image(tmp_path):
    (tmp_path / "a.jpg").write_bytes(cut(encode(draw()), 0.5))
    Image.new("L", (320, 240)).save(tmp_path / "a.png")
    seen = inspect_pair(Pair(str(tmp_path / "a.jpg"), str(tmp_path / "a.png")), LabelSet(names=("a", "b")))
    [finding] = seen.findings
    assert finding.kind == "cut-picture"
    assert "ends early: from" in finding.what


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.skipif(not CAMVID.is_dir(), reason="no CamVid beside the checkout")
def test_no_image_of_camvid_is_called_cut():
    images = sorted(CAMVID.rglob("*.jpg"))
    assert len(images) == 468
    assert not [path for path in images if missing_share(path.read_bytes())]
