"""Images whose samples mean something that their format leaves open: extra bands, more than 8 bits."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import tifffile
from dataset_material import LZW
from PIL import Image

from segpipe import load_dataset
from segpipe.data import rgb
from segpipe.data.images import read_image
from segpipe.errors import ImageDecodeError, InputError
from segpipe.pipelines.options import PipelineOptions

RNG = np.random.default_rng(0)
COLORS = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
INFRARED = RNG.integers(0, 256, (40, 60), dtype=np.uint8)
ROWS, COLUMNS = np.mgrid[:40, :60]
DISC = np.where((ROWS - 20) ** 2 + (COLUMNS - 30) ** 2 < 200, 255, 0).astype(np.uint8)
DISC[20, 25:35] = 100


@pytest.fixture(autouse=True)
def forget_what_was_said(monkeypatch):
    monkeypatch.setattr(rgb, "_said", set())


def encode_tiff(samples, photometric="rgb", **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, photometric=photometric, **options)
    return buffer.getvalue()


def on_white(colors, alpha):
    alpha = alpha[:, :, None].astype(int)
    return (colors * alpha + 255 * (255 - alpha) + 127) // 255


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib", LZW])
@pytest.mark.parametrize("scale", [1, 257])
@pytest.mark.parametrize("bands", [4, 5])
@pytest.mark.parametrize("kind", [0, 1, 2])
def test_bands_beside_the_colors_of_a_tiff_are_alpha_only_where_they_are(kind, bands, scale, compression, planar):
    for band in (INFRARED, DISC):
        colors = (COLORS * (band[:, :, None] / 255)).astype(np.uint8) if kind == 1 else COLORS
        stored = np.dstack([colors, band, INFRARED][: bands - 2]) * np.array(
            scale, np.uint8 if scale == 1 else np.uint16
        )
        axes = np.moveaxis(stored, 2, 0) if planar == "separate" else stored
        kinds = [kind] + [0] * (bands - 4)
        data = encode_tiff(axes, planarconfig=planar, compression=compression, extrasamples=kinds)
        blended = np.minimum(colors.astype(int) + 255 - band[:, :, None], 255) if kind == 1 else on_white(colors, band)
        is_alpha = kind > 0 and band is DISC
        assert np.array_equal(read_image(data), blended if is_alpha else colors)
        assert np.array_equal(read_image(data, alpha="drop"), colors)
        assert np.array_equal(read_image(data, alpha="keep"), blended)


def test_gray_with_an_extra_sample_follows_the_same_rule():
    gray = COLORS[:, :, 0]
    for kind, band, expected in (
        (0, DISC, gray),
        (2, INFRARED, gray),
        (2, DISC, on_white(gray[:, :, None], DISC)[..., 0]),
    ):
        data = encode_tiff(np.dstack([gray, band]), "minisblack", planarconfig="contig", extrasamples=[kind])
        assert np.array_equal(read_image(data)[:, :, 1], expected)


def test_an_aerial_image_with_near_infrared_keeps_its_colors():
    stored = np.full((16, 16, 4), (90, 90, 90, 40), np.uint8)
    data = bytearray(encode_tiff(stored, extrasamples=[0]))
    assert read_image(bytes(data))[0, 0].tolist() == [90, 90, 90]


def test_near_infrared_declared_as_alpha_is_dropped_with_one_warning(caplog):
    data = encode_tiff(np.dstack([COLORS, INFRARED]), extrasamples=[2])
    for _ in range(2):
        read_image(data, name="tile.tif")
    assert len(caplog.records) == 1
    assert "tile.tif" in caplog.text
    assert 'alpha="keep"' in caplog.text


def test_bands_without_a_meaning_are_refused_with_their_layout():
    data = encode_tiff(np.dstack([COLORS, INFRARED]), "minisblack", planarconfig="contig")
    with pytest.raises(ImageDecodeError, match=r"4 bands of 8 bits .* nothing says which bands are red"):
        read_image(data)


def test_an_array_whose_alpha_takes_many_values_is_composited_with_a_word(caplog):
    array = np.dstack([COLORS, INFRARED])
    assert np.array_equal(read_image(array), on_white(COLORS, INFRARED))
    assert 'alpha="drop"' in caplog.text
    assert np.array_equal(read_image(array, alpha="drop"), COLORS)


TWELVE = np.array([[0, 1000, 4000, 4095]], np.uint16)


def encode_deep(name):
    if name == "array":
        return TWELVE
    if name == "tiled TIFF":
        return encode_tiff(np.dstack([TWELVE] * 3), tile=(16, 16))
    gray = "gray" in name
    return cv2.imencode(f".{name[-3:].lower()}", TWELVE if gray else np.dstack([TWELVE] * 3))[1].tobytes()


@pytest.mark.parametrize("name", ["gray PNG", "RGB PNG", "gray TIF", "RGB TIF", "tiled TIFF", "array"])
def test_twelve_bits_in_sixteen_are_told_of_and_mapped_on_request(name, caplog):
    source = encode_deep(name)
    assert read_image(source)[0, :, 1].tolist() == [0, 3, 15, 15]
    assert "values from 0 to 4095, 12 of 16 bits" in caplog.text
    assert "bit_depth=12" in caplog.text
    caplog.clear()
    assert read_image(source, bit_depth=12)[0, :, 0].tolist() == [0, 62, 250, 255]
    assert read_image(source, bit_depth="min-max")[0, :, 2].tolist() == [0, 62, 249, 255]
    assert read_image(source, bit_depth=11)[0, :, 0].tolist() == [0, 125, 255, 255]
    assert not caplog.records


def test_a_tiff_of_12_bits_says_so_itself(caplog):
    packed = bytes([0x00, 0x03, 0xE8, 0xFA, 0x0F, 0xFF])  # 0, 1000, 4000, 4095
    data = bytearray(encode_tiff(np.frombuffer(packed, np.uint8)[None], "minisblack"))
    page = tifffile.TiffFile(io.BytesIO(bytes(data))).pages[0]
    for tag, value in ((256, 4), (258, 12)):
        place = page.tags[tag].valueoffset
        data[place : place + 2] = value.to_bytes(2, "little")
    assert read_image(bytes(data))[0, :, 0].tolist() == [0, 62, 250, 255]
    assert not caplog.records


def test_full_sixteen_bits_are_read_without_a_word(caplog):
    values = np.array([[0, 40000, 65535]], np.uint16)
    assert read_image(cv2.imencode(".png", values)[1].tobytes())[0, :, 0].tolist() == [0, 156, 255]
    assert not caplog.records


def test_floats_and_32_bits_are_mapped_by_their_range():
    for values in (np.array([[-5.0, 0.0, 5.0]], np.float32), np.array([[0, 100000, 200000]], np.int32)):
        data = encode_tiff(values, "minisblack")
        with pytest.raises(ImageDecodeError, match='bit_depth="min-max"'):
            read_image(data)
        assert read_image(data, bit_depth="min-max")[0, :, 0].tolist() == [0, 128, 255]


def test_white_is_zero_in_16_bits_is_inverted():
    data = encode_tiff(np.array([[0, 65535, 256]], np.uint16), "miniswhite")
    assert read_image(data)[0, :, 0].tolist() == [255, 0, 254]


def test_options_that_cannot_be_are_refused():
    for options in ({"alpha": "yes"}, {"bit_depth": 7}, {"bit_depth": "12"}, {"bit_depth": True}):
        with pytest.raises(InputError, match=next(iter(options))):
            read_image(COLORS, **options)
        with pytest.raises(InputError, match=next(iter(options))):
            PipelineOptions(**options)


def test_a_data_set_reads_images_by_the_same_options(tmp_path):
    for folder in ("images/train", "labels/train"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "images/train/a.tif").write_bytes(encode_tiff(np.dstack([COLORS, DISC]), extrasamples=[2]))
    Image.fromarray(DISC // 255).save(tmp_path / "labels/train/a.png")
    options = {"names": ["ground", "disc"]}
    assert np.array_equal(load_dataset("folder", tmp_path, **options)[0].image, on_white(COLORS, DISC))
    assert np.array_equal(load_dataset("folder", tmp_path, alpha="drop", **options)[0].image, COLORS)


def test_of_a_tiff_of_several_pages_the_first_whole_one_is_read(caplog):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(COLORS[::2, ::2], subfiletype=1)
        writer.write(COLORS)
    assert np.array_equal(read_image(buffer.getvalue()), COLORS)
    assert not caplog.records
    with tifffile.TiffWriter(buffer := io.BytesIO()) as writer:
        writer.write(COLORS)
        writer.write(COLORS)
    read_image(buffer.getvalue())
    assert "2 pages; the first is read" in caplog.text


@pytest.mark.parametrize("kind", [1, 2])
@pytest.mark.parametrize("bits", [10, 11, 12, 14, 16])
def test_infrared_of_few_of_16_bits_is_no_alpha_either(bits, kind):
    samples = np.random.default_rng(1).integers(0, 2**bits, (40, 60, 4), dtype=np.uint16)
    data = encode_tiff(samples, extrasamples=[kind])
    assert np.array_equal(read_image(data), samples[:, :, :3] >> 8)
    assert np.array_equal(read_image(data, bit_depth=bits), samples[:, :, :3] >> bits - 8)


@pytest.mark.parametrize(("bit_depth", "white"), [(None, 65535), (12, 4095), ("min-max", 4000)])
def test_a_tiff_whose_zero_is_white_is_the_inverse_at_every_bit_depth(bit_depth, white):
    values = np.linspace(0, white, 40 * 60).reshape(40, 60).astype(np.uint16)
    inverted = read_image(encode_tiff(values, photometric="miniswhite"), bit_depth=bit_depth)
    straight = read_image(encode_tiff(values, photometric="minisblack"), bit_depth=bit_depth)
    assert np.array_equal(inverted, 255 - straight)


def test_colors_of_16_bits_in_a_jpeg_2000_are_read_by_the_bits_they_use(caplog):
    colors = cv2.resize(RNG.integers(0, 4096, (8, 8, 3), dtype=np.uint16), (60, 40))
    data = cv2.imencode(".jp2", colors, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])[1].tobytes()
    assert np.array_equal(read_image(data, bit_depth=12), colors[:, :, ::-1] >> 4)
    assert not caplog.records
    assert np.array_equal(read_image(data), colors[:, :, ::-1] >> 8)
    assert "12 of 16 bits" in caplog.text
