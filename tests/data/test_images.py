"""Reading one image: formats, modes, orientation, damage, limits and arrays."""

from __future__ import annotations

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from segpipe.data.image_formats import image_format
from segpipe.data.images import read_image
from segpipe.errors import ImageDecodeError, ImageTooLargeError, InputError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")


def make_pixels(height=37, width=53, seed=0):
    """Smooth colors, so that JPEG has something to do, of odd size, so that chroma is padded."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)


def encode(image, image_format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format=image_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_decodes_to_what_pillow_decodes(name, tmp_path):
    data = encode(Image.fromarray(make_pixels()), name)
    path = tmp_path / "image.dat"
    path.write_bytes(data)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert image_format(data) == name
    for source in (path, str(path), data, bytearray(data), io.BytesIO(data), Image.open(path)):
        pixels = read_image(source)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        assert np.array_equal(pixels, expected)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_fast_jpeg_decoding_equals_pillow_to_the_last_bit(subsampling, progressive, mode):
    image = Image.fromarray(make_pixels(61, 47)).convert(mode)
    data = encode(image, "JPEG", subsampling=subsampling, progressive=progressive, quality=80)
    assert np.array_equal(read_image(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(orientation, name):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(make_pixels(16, 24)), name, exif=exif)
    pixels = read_image(data)
    assert pixels.shape == ((16, 24, 3) if orientation < 5 else (24, 16, 3))
    assert np.array_equal(pixels, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")))
    assert np.array_equal(read_image(Image.open(io.BytesIO(data))), pixels)


def test_orientation_6_turns_the_left_column_to_the_top():
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.array([[[10] * 3, [20] * 3], [[30] * 3, [40] * 3]], dtype=np.uint8)
    upright = read_image(encode(Image.fromarray(stored), "PNG", exif=exif))
    assert upright[:, :, 0].tolist() == [[30, 10], [40, 20]]


def test_transparency_is_composited_on_white():
    rgba = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [0, 0, 0, 51]]], dtype=np.uint8)
    expected = [[[200, 0, 0], [255, 255, 255], [204, 204, 204]]]
    assert read_image(encode(Image.fromarray(rgba))).tolist() == expected
    assert read_image(rgba).tolist() == expected
    assert read_image(rgba[:, :, [2, 1, 0, 3]], channel_order="bgr").tolist() == expected


def test_transparent_palette_and_gray_alpha_are_composited_on_white():
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 8, 7, 60, 50, 40])
    palette.putpixel((1, 0), 1)
    data = encode(palette, transparency=0)
    assert read_image(data).tolist() == [[[255, 255, 255], [60, 50, 40]]]
    gray = Image.fromarray(np.array([[[100, 255], [100, 0]]], dtype=np.uint8), "LA")
    assert read_image(encode(gray)).tolist() == [[[100] * 3, [255] * 3]]


def test_of_sixteen_bits_the_high_byte_is_taken():
    values = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    expected = [0, 0, 0, 1, 128, 255]
    for name in ("PNG", "TIFF"):
        assert read_image(encode(Image.fromarray(values), name))[0, :, 2].tolist() == expected


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_color_becomes_what_gray_of_the_same_values_becomes(suffix):
    gray = np.array([[0, 128, 129, 255, 256, 32767, 32768, 65279, 65280, 65535]], dtype=np.uint16)
    of_gray = read_image(cv2.imencode(suffix, gray)[1].tobytes())
    of_color = cv2.imencode(suffix, np.dstack([gray] * 3))[1].tobytes()
    assert of_gray[0, :, 0].tolist() == [0, 0, 0, 0, 1, 127, 128, 254, 255, 255]
    assert read_image(of_color).tolist() == read_image(Image.open(io.BytesIO(of_color))).tolist() == of_gray.tolist()


def test_pillow_mode_that_has_no_way_to_rgb_is_named():
    with pytest.raises(ImageDecodeError, match="mode La"):
        read_image(Image.new("La", (4, 4)))


def test_one_bit_and_cmyk_become_rgb():
    bits = Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1")
    assert read_image(encode(bits)).tolist() == [[[0] * 3, [255] * 3]]
    data = encode(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG", quality=95)
    red, green, blue = read_image(data)[0, 0].tolist()
    assert red > 240
    assert max(green, blue) < 15


def test_float_tiff_follows_the_rule_for_floats():
    assert read_image(encode(Image.fromarray(np.full((2, 2), 0.5, np.float32)), "TIFF"))[0, 0].tolist() == [128] * 3
    with pytest.raises(ImageDecodeError, match="floats from 7 to 7"):
        read_image(encode(Image.fromarray(np.full((2, 2), 7.0, np.float32)), "TIFF"))


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation_is_read(name):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    options = {"lossless": True} if name == "WEBP" else {}
    data = encode(frames[0], name, save_all=True, append_images=frames[1:], **options)
    assert read_image(data)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_files_are_refused_by_name(name, share, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), name)
    path = tmp_path / "half.jpg"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImageDecodeError, match=r"half\.jpg"):
        read_image(path)


def test_truncated_pillow_image_is_refused():
    data = encode(Image.fromarray(make_pixels()), "JPEG")
    with pytest.raises(ImageDecodeError, match="truncated"):
        read_image(Image.open(io.BytesIO(data[:-200])))


@pytest.mark.parametrize(
    "data", [b"", b"<html></html>", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF1234WEBP"]
)
def test_what_is_no_image_is_refused(data):
    with pytest.raises(ImageDecodeError, match="upload"):
        read_image(data, name="upload")


def test_missing_files_and_folders_are_refused_by_name(tmp_path):
    with pytest.raises(ImageDecodeError, match=r"no file .*street\.jpg"):
        read_image(tmp_path / "street.jpg")
    with pytest.raises(ImageDecodeError, match="is a folder"):
        read_image(tmp_path)


def test_size_is_checked_before_pixels_are_decoded():
    header_only = encode(Image.new("1", (3000, 2000)))[:60]
    with pytest.raises(ImageTooLargeError, match=r"2000 × 3000 .* at most 1000000"):
        read_image(header_only, max_pixels=1_000_000)


def test_pixel_limit_can_come_from_the_environment(monkeypatch):
    data = encode(Image.new("RGB", (10, 10)))
    monkeypatch.setenv("SEGPIPE_MAX_IMAGE_PIXELS", "99")
    with pytest.raises(ImageTooLargeError):
        read_image(data)
    assert read_image(data, max_pixels=100).shape == (10, 10, 3)
    monkeypatch.setenv("SEGPIPE_MAX_IMAGE_PIXELS", "many")
    with pytest.raises(InputError, match="SEGPIPE_MAX_IMAGE_PIXELS is 'many'"):
        read_image(data)


def test_pillows_own_limit_counts_where_its_readers_insist(monkeypatch, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    monkeypatch.setattr("segpipe.data.rgb._AT_ONCE", 40)
    for name in ("JPEG", "PNG", "BMP", "GIF"):
        assert read_image(encode(Image.new("RGB", (10, 10)), name)).shape == (10, 10, 3)
    for name in ("WEBP", "TIFF"):
        with pytest.raises(ImageTooLargeError, match=r"over Pillow's own limit"):
            read_image(encode(Image.new("RGB", (10, 10)), name))
    assert Image.MAX_IMAGE_PIXELS == 10
    assert not recwarn.list


@pytest.mark.parametrize("copied_at_once", [1, 20, 91, 1000])
def test_pillows_pixels_are_copied_in_parts(monkeypatch, copied_at_once):
    monkeypatch.setattr("segpipe.data.rgb._AT_ONCE", copied_at_once)
    pixels = np.random.default_rng(0).integers(0, 256, (13, 7, 3), dtype=np.uint8)
    assert np.array_equal(read_image(Image.fromarray(pixels)), pixels)


def test_byte_limit_holds_for_files_and_streams(tmp_path):
    data = encode(Image.fromarray(make_pixels()))
    path = tmp_path / "large.png"
    path.write_bytes(data)
    for source in (path, data, io.BytesIO(data)):
        with pytest.raises(ImageTooLargeError, match="at most 100 are read"):
            read_image(source, max_bytes=100)


def test_extreme_shapes_are_read():
    for size in ((1, 1), (1, 50000), (50000, 1)):
        assert read_image(encode(Image.new("RGB", size, "white"))).shape == (size[1], size[0], 3)


def test_arrays_and_tensors_of_every_layout_agree():
    rgb = make_pixels(6, 5)
    tensor = torch.from_numpy(rgb.copy())
    channels_first = tensor.permute(2, 0, 1)
    assert read_image(rgb) is rgb
    for source in (tensor, channels_first, channels_first.double() / 255, rgb / 255.0, rgb.astype("float32") / 255):
        assert np.array_equal(read_image(source), rgb)
    assert np.array_equal(read_image(rgb[:, :, ::-1], channel_order="bgr"), rgb)
    gray = rgb[:, :, 0]
    for source in (gray, gray[:, :, None], torch.from_numpy(gray.copy())[None], torch.from_numpy(gray.copy())):
        assert np.array_equal(read_image(source), np.stack([gray] * 3, axis=2))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 8, 8), np.uint8), r"transpose\(1, 2, 0\)"),
        (np.zeros((2, 8, 8, 3), np.uint8), "one by one"),
        (np.zeros((0, 8, 3), np.uint8), "empty"),
        (np.zeros((8, 8, 3), np.int32), "dtype int32"),
        (np.zeros((8, 8), bool), "dtype bool"),
        (np.full((8, 8, 3), 128.0), "from 128 to 128"),
        (np.full((8, 8, 3), -1.5), "before normalization"),
        (np.full((8, 8, 3), np.nan), "from nan to nan"),
    ],
)
def test_arrays_that_are_no_image_say_what_would_be_right(array, message):
    with pytest.raises(InputError, match=message):
        read_image(array)


def test_other_objects_are_refused():
    for source in (None, 3, {"image": 1}, object()):
        with pytest.raises(InputError, match="cannot be read from"):
            read_image(source)
    with pytest.raises(InputError, match="channel_order is 'BGR'"):
        read_image(np.zeros((2, 2), np.uint8), channel_order="BGR")
    with pytest.raises(InputError, match="binary mode"):
        read_image(io.StringIO("text"))


def test_a_pillow_image_is_left_as_it_was():
    image = Image.fromarray(make_pixels(8, 8)).convert("P")
    before = image.tobytes()
    read_image(image)
    assert (image.mode, image.tobytes()) == ("P", before)


def test_threads_get_the_same_pixels():
    sources = [encode(Image.fromarray(make_pixels(seed=seed)), name) for seed in range(4) for name in FORMATS]
    expected = [read_image(source) for source in sources]
    with ThreadPoolExecutor(4) as pool:
        for pixels, right in zip(pool.map(read_image, sources), expected, strict=True):
            assert np.array_equal(pixels, right)


def test_reading_images_takes_no_torch():
    code = (
        "import sys, numpy; from segpipe.data.sources import read_source; read_source(numpy.zeros((2, 2, 3), 'uint8'))"
    )
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True, timeout=60)
