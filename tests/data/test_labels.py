"""From raw values to class indices, and what label files may hold."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from segpipe.configuration import LabelSet, load_preset
from segpipe.data.label_encoding import ColorTable, build_color_table, encode_label
from segpipe.data.label_files import read_color_label, read_label
from segpipe.data.label_sets import (
    build_label_set,
    dataset_label_names,
    dataset_labels,
    read_label_set,
    subset_labels,
    without_raw_ids,
)
from segpipe.errors import ConfigurationError, ImageDecodeError, InputError, UnknownNameError

LABELS = LabelSet(names=("road", "sky"), palette=((1, 2, 3), (4, 5, 6)), raw_ids=(7, 23))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_raw_ids_become_class_indices_and_the_rest_is_ignored(dtype):
    raw = np.array([[7, 23], [0, 255]], dtype)
    encoded = encode_label(raw, LABELS, origin="a.png")
    assert encoded.dtype == np.uint8
    assert encoded.tolist() == [[0, 1], [255, 255]]


def test_without_raw_ids_values_are_class_indices():
    encoded = encode_label(np.array([[0, 1, 2, 255]], np.uint8), without_raw_ids(LABELS), origin="a.png")
    assert encoded.tolist() == [[0, 1, 255, 255]]


def test_values_that_no_file_format_has_are_ignored():
    raw = np.array([[-1, 65535, 65536, 2**31 - 1, 7]], np.int32)
    assert encode_label(raw, LABELS, origin="a.png").tolist() == [[255, 255, 255, 255, 0]]


def test_bits_are_the_classes_0_and_1():
    assert encode_label(np.array([[True, False]]), LabelSet(names=("no", "yes")), origin="a").tolist() == [[1, 0]]


def test_many_classes_need_two_bytes():
    labels = LabelSet(names=tuple(f"c{index}" for index in range(300)), ignore_index=65535)
    encoded = encode_label(np.array([[299, 300, 65535]], np.uint16), labels, origin="a.png")
    assert encoded.dtype == np.uint16
    assert encoded.tolist() == [[299, 65535, 65535]]
    assert encode_label(np.array([[255]], np.uint8), labels, origin="a.png").tolist() == [[255]]


@pytest.mark.parametrize("raw", [np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2)), np.zeros((0, 2), np.uint8)])
def test_what_is_no_label_is_not_encoded(raw):
    with pytest.raises(InputError, match=r"a\.png has shape .* a label is \(height, width\) integers"):
        encode_label(raw, LABELS, origin="a.png")


def test_encoding_equals_a_slow_loop():
    raw = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8)
    labels = dataset_labels("coco-stuff164k")
    slow = [[labels.raw_ids.index(v) if v in labels.raw_ids else 255 for v in row] for row in raw.tolist()]
    assert encode_label(raw, labels, origin="a").tolist() == slow


def test_data_set_labels_are_those_of_the_presets():
    assert dataset_labels("ade20k") == load_preset("segformer-b0-ade20k").labels
    assert dataset_labels("cityscapes") == load_preset("segformer-b0-cityscapes").labels
    assert dataset_labels("coco-stuff164k") == load_preset("segformer-b0-cocostuff").labels
    assert dataset_labels("camvid") == load_preset("segformer-b0-camvid").labels


def test_facts_of_the_data_sets_that_no_preset_has():
    context, fewer, voc = map(dataset_labels, ("pascal-context", "pascal-context-59", "pascal-voc"))
    assert (len(context.names), len(fewer.names), len(voc.names)) == (60, 59, 21)
    assert fewer.names == context.names[1:]
    assert fewer.raw_ids == tuple(range(1, 60))
    # The masks count the 60 ids of the 459 classes upwards, and those ids are alphabetical.
    assert [context.names[index] for index in (1, 2, 55, 59)] == ["aeroplane", "bag", "tvmonitor", "wood"]
    assert (voc.names[15], voc.palette[15], voc.palette[20]) == ("person", (192, 128, 128), (0, 64, 128))


def test_an_unknown_label_set_gets_the_nearest():
    assert "ade20k" in dataset_label_names()
    with pytest.raises(UnknownNameError, match="Did you mean 'cityscapes'"):
        dataset_labels("cityscape")


def test_a_subset_is_numbered_in_its_own_order():
    subset = subset_labels(dataset_labels("cityscapes"), ["sky", "road"])
    assert (subset.names, subset.raw_ids) == (("sky", "road"), (23, 7))
    assert subset.palette == ((70, 130, 180), (128, 64, 128))
    assert subset_labels(without_raw_ids(LABELS), ["sky"]).raw_ids == (1,)


def test_a_subset_needs_known_different_names():
    with pytest.raises(UnknownNameError, match=r"no class 'rod'\. Did you mean 'road'"):
        subset_labels(LABELS, ["rod"])
    with pytest.raises(InputError, match="Name each one once"):
        subset_labels(LABELS, ["sky", "sky"])
    assert subset_labels(LABELS, "sky").names == ("sky",)


def save(path, array, mode=None, **options):
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


VALUES = np.array([[0, 7, 255], [1, 2, 3]], np.uint8)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_gray_labels_hold_their_values(tmp_path, suffix):
    assert np.array_equal(read_label(save(tmp_path / f"a.{suffix}", VALUES)), VALUES)


def test_palette_labels_are_read_by_index_not_color(tmp_path):
    image = Image.frombytes("P", (3, 2), VALUES.tobytes())
    image.putpalette([200, 0, 0] * 256)
    image.save(tmp_path / "a.png")
    assert np.array_equal(read_label(tmp_path / "a.png"), VALUES)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_labels_hold_their_values(tmp_path, suffix):
    values = np.array([[0, 300, 65535]], np.uint16)
    raw = read_label(save(tmp_path / f"a.{suffix}", values))
    assert raw.dtype == np.uint16
    assert np.array_equal(raw, values)


def test_32_bit_labels_hold_their_values(tmp_path):
    values = np.array([[0, 70000, 5]], np.int32)
    assert np.array_equal(read_label(save(tmp_path / "a.tif", values)), values)


def test_1_bit_labels_are_0_and_1(tmp_path):
    path = save(tmp_path / "a.png", np.array([[0, 255, 255]], np.uint8), "1")
    assert read_label(path).tolist() == [[0, 1, 1]]


def write_gray_png(path, rows, bits, width):
    """A gray PNG of a bit depth that Pillow does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, len(rows), bits, 0, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def test_gray_pngs_of_few_bits_are_not_stretched(tmp_path):
    write_gray_png(tmp_path / "two.png", [[0b00_01_10_11]], bits=2, width=4)
    write_gray_png(tmp_path / "four.png", [[0x0B, 0x1F]], bits=4, width=4)
    assert read_label(tmp_path / "two.png").tolist() == [[0, 1, 2, 3]]
    assert read_label(tmp_path / "four.png").tolist() == [[0, 11, 1, 15]]


def test_jpeg_labels_are_refused_whatever_they_are_called(tmp_path):
    save(tmp_path / "a.png", VALUES, format="JPEG")
    with pytest.raises(ImageDecodeError, match=r"a\.png is a JPEG, whose compression .* changes values.*as PNG"):
        read_label(tmp_path / "a.png")


def test_colors_without_a_palette_are_refused_with_a_fix(tmp_path):
    save(tmp_path / "color.png", np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    save(tmp_path / "gray.png", np.repeat(VALUES[:, :, None], 3, axis=2))
    with pytest.raises(ImageDecodeError, match=r"color\.png has Pillow's mode RGB.*give palette="):
        read_label(tmp_path / "color.png")
    with pytest.raises(ImageDecodeError, match=r"Its channels are equal: save one of them"):
        read_label(tmp_path / "gray.png")


@pytest.mark.parametrize(("data", "message"), [(b"", "empty"), (b"hello", "of no known format")])
def test_files_that_are_no_images_are_refused(tmp_path, data, message):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ImageDecodeError, match=message):
        read_label(tmp_path / "a.png")


def test_a_truncated_label_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    path = save(tmp_path / "a.png", noise)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImageDecodeError, match=r"a\.png is truncated or damaged"):
        read_label(path)


def test_a_missing_label_is_named(tmp_path):
    with pytest.raises(ImageDecodeError, match=r"no file .*gone\.png"):
        read_label(tmp_path / "gone.png")


COLORS = build_color_table(LABELS, LABELS.palette, ignored=[(0, 0, 0)])
PIXELS = np.array([[[4, 5, 6], [1, 2, 3]], [[0, 0, 0], [1, 2, 3]]], np.uint8)


def test_colors_become_raw_values():
    assert COLORS.values_of(PIXELS, origin="a").tolist() == [[23, 7], [-1, 7]]
    assert encode_label(COLORS.values_of(PIXELS, origin="a"), LABELS, origin="a").tolist() == [[1, 0], [255, 0]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_color_files_are_read_by_color(tmp_path, mode):
    path = save(tmp_path / "a.png", PIXELS, mode)
    assert read_color_label(path, colors=COLORS).tolist() == [[23, 7], [-1, 7]]
    assert read_label(path, colors=COLORS).tolist() == [[23, 7], [-1, 7]]


def test_colors_of_a_palette_png_count_only_where_they_are_asked_for(tmp_path):
    image = Image.frombytes("P", (2, 1), bytes([0, 1]))
    image.putpalette([4, 5, 6, 1, 2, 3])
    image.save(tmp_path / "a.png")
    assert read_color_label(tmp_path / "a.png", colors=COLORS).tolist() == [[23, 7]]
    assert read_label(tmp_path / "a.png", colors=COLORS).tolist() == [[0, 1]]


def test_colors_are_never_rounded_and_unknown_ones_are_counted():
    pixels = np.array([[[4, 5, 7], [4, 5, 7]], [[9, 9, 9], [1, 2, 3]]], np.uint8)
    with pytest.raises(ImageDecodeError, match=r"a\.png has 2 colors .*\(4, 5, 7\) on 2 pixels, \(9, 9, 9\) on 1 pix"):
        COLORS.values_of(pixels, origin="a.png")


def test_gray_files_have_no_colors(tmp_path):
    with pytest.raises(ImageDecodeError, match="mode L, which has no colors"):
        read_color_label(save(tmp_path / "a.png", VALUES), colors=COLORS)


def test_a_palette_needs_one_color_per_class():
    with pytest.raises(InputError, match="1 colors for 2 classes"):
        build_color_table(LABELS, [(1, 2, 3)])
    with pytest.raises(InputError, match="stands for two things"):
        build_color_table(LABELS, [(1, 2, 3), (1, 2, 3)])
    with pytest.raises(InputError, match="not a color"):
        build_color_table(LABELS, [(1, 2, 3), (1, 2, 256)])


def test_all_colors_at_once_equal_a_slow_loop():
    rng = np.random.default_rng(0)
    palette = [tuple(color) for color in rng.permutation(64)[:, None] * np.array([4, 3, 1])][:40]
    table = ColorTable(tuple((int(r), int(g), int(b)) for r, g, b in palette), tuple(range(40)))
    classes = rng.integers(0, 40, (15, 9))
    assert np.array_equal(table.values_of(np.array(palette, np.uint8)[classes], origin="a"), classes)


def test_a_label_set_is_read_strictly(tmp_path):
    (tmp_path / "a.json").write_text('{"names": ["a", "b"], "raw_ids": [3, 4]}')
    assert read_label_set(tmp_path / "a.json") == LabelSet(names=("a", "b"), raw_ids=(3, 4))
    (tmp_path / "b.json").write_text('{"name": ["a", "b"]}')
    with pytest.raises(ConfigurationError, match=r"b\.json: .*`name`"):
        read_label_set(tmp_path / "b.json")


def test_label_sets_choose_their_ignore_index():
    assert build_label_set(["a"] + [f"c{i}" for i in range(254)]).ignore_index == 255
    assert build_label_set([f"c{i}" for i in range(256)]).ignore_index == 65535
    with pytest.raises(InputError, match="each class needs its own"):
        build_label_set(["a", "a"])
