"""What is read, what is recognised and named, and what a folder's listing does with either."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from PIL import Image, features

from segpipe.data.image_formats import foreign_format, image_format
from segpipe.data.images import read_image
from segpipe.data.sources import iterate_sources, read_source
from segpipe.errors import ImageDecodeError, ImageTooLargeError, InputError

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
MP4 = b"\0\0\0\x18ftypisom\0\0\2\0isomavc1"


def encode(image, name, **options):
    buffer = io.BytesIO()
    image.save(buffer, format=name, **options)
    return buffer.getvalue()


FOREIGN = {
    "a HEIC image": HEIC,
    "an MP4 film": MP4,
    "a QuickTime film": b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
    "an AVI film": b"RIFF\0\0\0\0AVI LIST",
    "a Matroska or WebM film": b"\x1aE\xdf\xa3\x01\0\0\0",
    "a camera's raw file (CR3)": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
    "a camera's raw file (CR2)": b"II*\0\x10\0\0\0CR\2\0",
    "a Photoshop document (PSD)": b"8BPS\0\1",
    "a PDF": b"%PDF-1.7",
    "an SVG": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "an HTML page": b"<!DOCTYPE html><html>",
    "a JPEG XL": b"\xff\x0a\xfa",
    "an OpenEXR": b"v/1\x01\2\0\0\0",
    "a DICOM file": bytes(128) + b"DICM",
    "a PNM (PPM, PGM or PBM)": b"P6\n2 2\n255\n",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\n",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_not_read_is_named_with_what_to_do(name):
    data = FOREIGN[name]
    assert image_format(data) is None
    assert foreign_format(data)[0] == name
    with pytest.raises(ImageDecodeError) as caught:
        read_image(data, name="x.jpg")
    assert str(caught.value).startswith(f"x.jpg is {name}, which is not read. ")


def test_the_message_for_heic_helps():
    with pytest.raises(ImageDecodeError, match=r"pip install pillow-heif.*register_heif_opener.*Image\.open"):
        read_image(HEIC)


def test_no_message_shows_a_files_bytes(tmp_path):
    (tmp_path / "a.png").write_bytes(b"root:secret:0:0")
    for source in (tmp_path / "a.png", f"file://{tmp_path}/a.png", str(tmp_path / "a.png")):
        with pytest.raises(ImageDecodeError, match="of no known format") as caught:
            read_source(source)
        assert "secret" not in str(caught.value)


def test_a_file_url_with_a_host_is_refused(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    assert read_source(f"file://localhost{tmp_path}/a.png").shape == (2, 2, 3)
    with pytest.raises(InputError, match="names another host"):
        read_source(f"file://evil.example{tmp_path}/a.png")


@pytest.mark.parametrize("name", ["JPEG2000", "AVIF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_jpeg_2000_and_avif_are_decoded(name, mode):
    if not features.check({"JPEG2000": "jpg_2000", "AVIF": "avif"}[name]):
        pytest.skip(f"this Pillow has no {name}")
    image = Image.fromarray(np.kron(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4, np.ones((8, 8), np.uint8)))
    data = encode(image.convert(mode), name)
    assert image_format(data) == name
    expected = Image.open(io.BytesIO(data)).convert("RGB")
    assert np.array_equal(read_image(data), np.asarray(expected))


def test_a_folder_names_what_it_passes_by(tmp_path, caplog):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.jpg")
    Image.new("RGB", (2, 2)).save(tmp_path / "phone.heic", format="JPEG")
    for name, data in (("b.heic", HEIC), ("c.HEIC", HEIC), ("d.mp4", MP4), ("notes.txt", b"x"), (".e.mp4", MP4)):
        (tmp_path / name).write_bytes(data)
    for text in (str(tmp_path), str(tmp_path / "*")):
        caplog.clear()
        files = [os.path.basename(path) for path in iterate_sources(text)]
        assert files == ["a.jpg", "phone.heic"]
        [record] = caplog.records
        assert record.getMessage().endswith("does not read them: 2 HEIC image, 1 MP4 film.")


def test_a_folder_and_a_pattern_of_nothing_else_say_what_they_hold(tmp_path):
    (tmp_path / "b.heic").write_bytes(HEIC)
    with pytest.raises(InputError, match="it holds 1 HEIC image, which is not read"):
        list(iterate_sources(str(tmp_path)))
    with pytest.raises(ImageDecodeError, match="only 1 HEIC image, which is not read"):
        read_source(str(tmp_path / "*"))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "b.heic")
    for name in ("a.jpg", "b.heic"):
        with pytest.raises(ImageDecodeError, match="is a named pipe"):
            read_source(tmp_path / name)
    with pytest.raises(InputError, match="holds no image"):
        list(iterate_sources(str(tmp_path)))


def test_an_image_of_very_many_pieces_is_refused(monkeypatch):
    monkeypatch.setenv("SEGPIPE_MAX_IMAGE_PIECES", "2000")
    gif = encode(Image.new("P", (4, 4)), "GIF")
    assert read_image(gif).shape == (4, 4, 3)
    place = gif.index(b",\0\0")
    comments = gif[:place] + b"!\xfe\1x\0" * 2000 + gif[place:]
    jpeg = encode(Image.new("RGB", (4, 4)), "JPEG")
    for data in (comments, jpeg[:2] + b"\xff\xfe\0\2" * 2000 + jpeg[2:]):
        with pytest.raises(ImageTooLargeError, match="more than 2,000 pieces"):
            read_image(data)


def test_work_is_looked_at_before_decoding():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    data = encode(image, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    assert read_image(data[:-2] + scan * 20 + b"\xff\xd9").shape == (64, 64, 3)
    wide = encode(Image.new("L", (14000, 14000)), "JPEG", progressive=True)
    last = wide.rindex(b"\xff\xda")
    bomb = wide[:last] + (b"\xff\xda" + bytes((0, 8, 1, 1, 0, 1, 63, 0x10)) + b"\0") * 2000 + b"\xff\xd9"
    with pytest.raises(ImageTooLargeError, match="whose scans cover"):
        read_image(bomb)


def test_a_side_is_limited():
    with pytest.raises(ImageTooLargeError, match="a side may have 65535 pixels"):
        read_image(encode(Image.new("1", (65536, 1)), "PNG"))


@pytest.mark.parametrize("name", ["JPEG2000", "AVIF", "WEBP"])
def test_decoders_that_need_much_memory_take_fewer_pixels(name, monkeypatch):
    if not features.check({"JPEG2000": "jpg_2000", "AVIF": "avif", "WEBP": "webp"}[name]):
        pytest.skip(f"this Pillow has no {name}")
    monkeypatch.setenv("SEGPIPE_MAX_HEAVY_IMAGE_PIXELS", "100")
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    options = {"save_all": True, "append_images": frames[1:]} if name == "WEBP" else {}
    with pytest.raises(ImageTooLargeError, match="needs much memory"):
        read_image(encode(frames[0], name, **options))
    if name == "WEBP":
        assert read_image(encode(frames[0], name)).shape == (16, 16, 3)
