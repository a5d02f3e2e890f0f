"""A label gives the values that are stored, or a refusal. Files are written by tifffile or bit by bit."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest
import tifffile
from dataset_material import LZW
from PIL import Image

from segpipe.data.label_encoding import build_color_table
from segpipe.data.label_files import read_color_label, read_label
from segpipe.data.label_sets import build_label_set
from segpipe.errors import ImageDecodeError, ImageTooLargeError

RNG = np.random.default_rng(0)


def pack(values, bits):
    """Rows of few bits, padded to bytes."""
    text = ["".join(format(value, f"0{bits}b") for value in row) for row in values]
    padded = [row + "0" * (-len(row) % 8) for row in text]
    return [bytes(int(row[place : place + 8], 2) for place in range(0, len(row), 8)) for row in padded]


def write_tiff(path, values, bits, photometric):
    strip = b"".join(pack(values, bits))
    colors = b"\x10\x20" * 3 * 2**bits if photometric == 3 else b""
    entries = [
        *((256, 4, 1, values.shape[1]), (257, 4, 1, len(values)), (258, 3, 1, bits), (259, 3, 1, 1)),
        *((262, 3, 1, photometric), (273, 4, 1, 0), (278, 4, 1, len(values)), (279, 4, 1, len(strip))),
        *([(320, 3, len(colors) // 2, 0)] if colors else []),
    ]
    end = 8 + 2 + 12 * len(entries) + 4
    places = {273: end + len(colors), 320: end}
    packed = b"".join(struct.pack("<HHII", *entry[:3], places.get(entry[0], entry[3])) for entry in entries)
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + packed + bytes(4) + colors + strip)


@pytest.mark.parametrize("photometric", [0, 1, 3])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_tiffs_of_few_bits_give_what_is_stored(bits, photometric, tmp_path):
    values = RNG.integers(0, 2**bits, (9, 13))
    write_tiff(tmp_path / "a.tif", values, bits, photometric)
    assert np.array_equal(read_label(tmp_path / "a.tif"), values)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("compression", [None, "zlib", LZW])
def test_tiffs_of_every_type_give_what_is_stored(compression, dtype, order, photometric, tmp_path):
    values = RNG.integers(-3 if dtype[0] == "i" else 0, 120, (33, 47)).astype(dtype)
    options = {"predictor": True} if compression and dtype[0] != "f" else {}
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric=photometric, byteorder=order, compression=compression, **options
    )
    assert np.array_equal(read_label(tmp_path / "a.tif"), values)


@pytest.mark.parametrize("compression", ["group3", "group4"])
def test_a_fax_gives_its_bits(compression, tmp_path):
    bits = RNG.integers(0, 2, (40, 64)).astype(bool)
    Image.fromarray(bits).save(tmp_path / "a.tif", compression=compression)
    assert np.array_equal(read_label(tmp_path / "a.tif"), bits)


def test_the_colors_of_a_palette_tiff_count_where_they_are_asked_for(tmp_path):
    colors = np.zeros((3, 256), np.uint16)
    colors[:, 1] = 0x0102, 0x0203, 0x0304
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 1]], np.uint8), photometric="palette", colormap=colors)
    labels = build_label_set(["a", "b"], palette=[(1, 2, 3), (0, 0, 0)])
    table = build_color_table(labels, labels.palette)
    assert read_color_label(tmp_path / "a.tif", colors=table).tolist() == [[1, 0]]
    assert read_label(tmp_path / "a.tif").tolist() == [[0, 1]]


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000"])
def test_tiffs_compressed_with_loss_are_refused(compression, tmp_path):
    pytest.importorskip("imagecodecs")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((32, 32), np.uint8), compression=compression)
    with pytest.raises(ImageDecodeError, match=r"compressed as JPEG.* changes values"):
        read_label(tmp_path / "a.tif")


def test_a_jpeg_in_a_tiff_is_refused(tmp_path):
    Image.new("L", (32, 32)).save(tmp_path / "a.tif", compression="jpeg")
    with pytest.raises(ImageDecodeError, match=r"a\.tif is a TIFF compressed as JPEG, which changes values"):
        read_label(tmp_path / "a.tif")


def test_fractions_and_deep_colors_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0.5]], np.float32), photometric="minisblack")
    with pytest.raises(ImageDecodeError, match="holds fractions"):
        read_label(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((4, 4, 3), np.uint16), photometric="rgb")
    with pytest.raises(ImageDecodeError, match="colors of 16 bits"):
        read_label(tmp_path / "b.tif")


def test_copies_and_masks_are_passed_over_wherever_they_stand(tmp_path):
    values = RNG.integers(0, 9, (32, 48)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(values[::2, ::2] + 1, subfiletype=1)
        writer.write(values > 4, subfiletype=4, photometric="mask")
        writer.write(values)
        writer.write(values[::4, ::4] + 1, subfiletype=1)
    assert np.array_equal(read_label(tmp_path / "a.tif"), values)


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_several_whole_images_in_a_label_are_refused(name, tmp_path):
    first, second = Image.new("L", (8, 8), 1), Image.new("L", (8, 8), 2)
    first.save(tmp_path / name, save_all=True, append_images=[second])
    with pytest.raises(ImageDecodeError, match="holds 2 images; a label is one"):
        read_label(tmp_path / name)


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("palette", ["ramp", "inverted", "colors"])
def test_bmps_give_their_indices(palette, bits, tmp_path):
    values = RNG.integers(0, 2**bits, (8, 32))
    most = 2**bits - 1
    grays = {"ramp": range(most + 1), "inverted": [255 - index * 255 // most for index in range(most + 1)]}
    colors = [(index * 7 % 256, 9, 5) for index in range(most + 1)]
    colors = [(gray,) * 3 for gray in grays[palette]] if palette in grays else colors
    table = b"".join(bytes((*color, 0)) for color in colors)
    rows = b"".join(pack(values[::-1], bits))
    start = 14 + 40 + len(table)
    head = struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start)
    info = struct.pack("<IiiHHIIiiII", 40, 32, 8, 1, bits, 0, len(rows), 0, 0, len(colors), 0)
    (tmp_path / "a.bmp").write_bytes(head + info + table + rows)
    assert np.array_equal(read_label(tmp_path / "a.bmp"), values)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ImageDecodeError, match="is a named pipe"):
        read_label(tmp_path / "a.png")


def test_a_chain_of_pages_without_end_ends(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((4, 4), np.uint8))
    data = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].offset
    [count] = struct.unpack_from("<H", data, start)
    directory = data[start : start + 2 + 12 * count]
    looped = data[: start + 2 + 12 * count] + struct.pack("<I", start) + data[start + 2 + 12 * count + 4 :]
    path.write_bytes(looped)
    assert read_label(path).shape == (4, 4)
    chain = b"".join(
        directory + struct.pack("<I", len(looped) + (len(directory) + 4) * (index + 1)) for index in range(30)
    )
    path.write_bytes(
        looped[: start + 2 + 12 * count] + struct.pack("<I", len(looped)) + looped[start + 2 + 12 * count + 4 :] + chain
    )
    monkeypatch.setenv("SEGPIPE_MAX_TIFF_PAGES", "20")
    with pytest.raises(ImageTooLargeError, match="more than 20 pages"):
        read_label(path)


def test_a_tag_of_very_many_numbers_is_refused(tmp_path):
    many = 5_000_000
    entries = struct.pack("<HHII", 256, 1, many, 8)
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<IH", 8, 1) + entries)
    with open(tmp_path / "a.tif", "ab") as file:
        file.truncate(many + 100)
    with pytest.raises(ImageDecodeError, match="directory cannot be read"):
        read_label(tmp_path / "a.tif")


# A file that an earlier test left open may be collected here.
@pytest.mark.filterwarnings("error", "ignore::ResourceWarning")
@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int8", "int64", "uint32"])
def test_whole_numbers_of_any_type_are_values_without_a_warning(tmp_path, kind):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 1, 100]], kind), photometric="minisblack")
    assert read_label(tmp_path / "a.tif").tolist() == [[0, 1, 100]]
