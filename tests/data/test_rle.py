"""COCO run-length encoding against pycocotools and strings worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from preparing_material import encode_mask

from segpipe.data.rle import (
    compress_counts,
    decode_mask,
    decompress_counts,
    encode_label_map,
)
from segpipe.errors import InputError


def make_masks():
    y, x = np.mgrid[:40, :50]
    box = np.zeros((5, 6), np.uint8)
    box[1:4, 2:5] = 1
    far = np.zeros((300, 300), np.uint8)
    far[150:, 10] = far[0, 200] = 1
    far[:, 250:252] = 1
    corners = np.zeros((2, 3), np.uint8)
    corners[0, 0] = corners[1, 2] = 1
    disc = ((y - 20) ** 2 + (x - 25) ** 2 < 300).astype(np.uint8)
    return {
        "empty": np.zeros((3, 4), np.uint8),
        "full": np.ones((3, 4), np.uint8),
        "box": box,
        "far": far,
        "corners": corners,
        "disc": disc,
    }


# Written by pycocotools 2.0.11, mask.encode(np.asfortranarray(mask)), for the masks above.
GOLDEN = {
    "empty": "<",
    "full": "0<",
    "box": ";320004",
    "far": "^R3f4l[g1[KkXgNgb0Y]O",
    "corners": "0140",
    "disc": "a:7n06K4L4M2N2N2N2O0O2O0O2O000O2O000000000001N10001N101N101N2N2N2N3L4L5JZ8",
}


@pytest.mark.parametrize("name", GOLDEN)
def test_strings_are_those_of_pycocotools(name):
    mask = make_masks()[name]
    assert encode_mask(mask) == GOLDEN[name]
    assert np.array_equal(decode_mask(GOLDEN[name], mask.shape), mask)


def test_runs_go_down_the_columns_and_begin_with_zeros():
    mask = np.array([[0, 1, 1], [0, 1, 0]], np.uint8)  # columns: 00 11 10
    assert decompress_counts(encode_mask(mask)).tolist() == [2, 3, 1]
    assert decompress_counts(encode_mask(1 - mask)).tolist() == [0, 2, 3, 1]


def test_compression_worked_out_by_hand():
    # 2 → '2'; 3 → '3'; 40 = 8 | 1·32: 8+32+48 = 'X', 1+48 = '1'; 1 - 3 = -2 → 30: 30+48 = 'N'.
    assert compress_counts([2, 3, 40, 1]) == "23X1N"
    assert decompress_counts("23X1N").tolist() == [2, 3, 40, 1]
    # 16 has bit 4 set, so a second group says that it is positive: 16+32+48 = '`', '0'.
    assert compress_counts([16]) == "`0"


def test_large_counts_survive():
    counts = [0, 2**31, 5, 2**40, 7, 1]
    assert decompress_counts(compress_counts(counts)).tolist() == counts


@pytest.mark.parametrize("seed", range(20))
def test_random_masks_come_back(seed):
    rng = np.random.default_rng(seed)
    mask = (rng.random(rng.integers(1, 60, size=2)) < rng.random()).astype(np.uint8)
    assert np.array_equal(decode_mask(encode_mask(mask), mask.shape), mask)
    assert np.array_equal(decode_mask(decompress_counts(encode_mask(mask)).tolist(), mask.shape), mask)


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(20))
def test_random_masks_equal_pycocotools(seed):
    oracle = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(seed)
    mask = (rng.random(rng.integers(1, 200, size=2)) < rng.random() ** 2).astype(np.uint8)
    height, width = mask.shape
    coco = oracle.encode(np.asfortranarray(mask))
    assert encode_mask(mask) == coco["counts"].decode()
    assert np.array_equal(oracle.decode({"size": [height, width], "counts": encode_mask(mask)}), mask)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_label_map_encoding_equals_one_mask_at_a_time(dtype):
    label_map = np.random.default_rng(0).integers(0, 7, (33, 21)).astype(dtype)
    label_map[5:20, 3:9] = 250
    classes = [6, 0, 3, 250, 99]
    assert encode_label_map(label_map, classes) == [encode_mask(label_map == index) for index in classes]


def test_label_map_of_one_class_is_one_run():
    assert encode_label_map(np.full((3, 4), 2, np.uint8), [2]) == ["0<"]
    assert encode_label_map(np.full((3, 4), 2, np.uint8), []) == []


@pytest.mark.parametrize("text", ["é", "X", " ", "~~", "X" * 30 + "1"])
def test_damaged_strings_are_refused(text):
    with pytest.raises(InputError, match="not a COCO run-length string"):
        decompress_counts(text)


def test_runs_must_fill_the_size():
    with pytest.raises(InputError, match="cover 12 pixels, a mask of 3 × 5 has 15"):
        decode_mask("<", (3, 5))
    with pytest.raises(InputError):
        decode_mask([3, -1, 10], (3, 4))
