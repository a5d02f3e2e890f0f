"""Boundary maps: computed, prepared, read from openseg's files, carried by samples through transforms into batches."""

from __future__ import annotations

import base64
import json
import pickle
import random
import struct
import tracemalloc
import zlib
from dataclasses import replace
from fnmatch import fnmatch

import msgspec
import numpy as np
import pytest
import torch
from dataset_material import NAMES, put_image, put_label
from PIL import Image
from torch.nn import functional

from segpipe.configuration import RandomCrop, RandomFlip, RandomRotation, Resize
from segpipe.data import collate, load_dataset, with_boundaries
from segpipe.data.datasets.boundary_maps import compute_boundary_maps, read_boundaries
from segpipe.data.matlab import read_matlab
from segpipe.data.preparing.preparation import prepare_dataset
from segpipe.data.transforms.building import build_transforms
from segpipe.errors import ImageDecodeError, ImageTooLargeError, InputError

# scipy 1.17.1: savemat(…, {"depth": rows * 3 + columns (4 × 5, uint8), "dir_deg": that times 9, "deg_reduce": 2},
# do_compression=True), without the first 124 bytes, which are a text.
SCIPY = base64.b64decode(
    "DwAAAD0AAAB4nONjYGAIAGI2IOYAYk4GCGCF8lmgbEYonZJaUJIBpJmAWASkkJmNk5GFnYuJlYMbyOQBMnlBwgCEKQM/DwAAAEEAAAB4nONjYGAI"
    "AGI2IOYAYk4GCGCF8lmgbEYgZgfilMyi+JTUdAYmIFsEpFDaLJBTxT5KSNcjGcjMATJLQcIA0N0ICg8AAAAxAAAAeJzjY2Bg8ABiNiDmAGI+Bghg"
    "hfIZkTAXEKekpscXpaaUJqdC1PFA1TFB9QEAldMEqg=="
)
STEPS = np.arange(4)[:, None] * 3 + np.arange(5)


def drawn_label(size=(48, 64), seed=0):
    """Slanted bands and a disc, some of it void."""
    y, x = np.indices(size)
    label = ((x + 2 * y + seed) // 30 % 3).astype(np.uint8)
    label[(y - 20) ** 2 + (x - 30) ** 2 < 150] = 3
    label[(y - 40) ** 2 + (x - 55) ** 2 < 60] = 255
    return label


def slow_distance(mask, metric):
    """(H, W) distance of each pixel to the nearest one outside of the mask, by looking at all pairs."""
    inside, outside = np.argwhere(mask), np.argwhere(~mask)
    steps = np.abs(inside[:, None] - outside[None]).astype(np.float64)
    each = np.sqrt((steps**2).sum(-1)) if metric == "euclidean" else steps.sum(-1)
    distance = np.zeros(mask.shape)
    distance[mask] = each.min(axis=1)
    return distance


def slow_slopes(distance):
    """(2, H, W) along y and x, by torch's convolution."""
    y, x = np.mgrid[-2:3, -2:3].astype(np.float64)
    square = y * y + x * x
    square[2, 2] = 1
    kernels = torch.from_numpy(np.stack([y / square, x / square]))[:, None]
    return functional.conv2d(torch.from_numpy(distance)[None, None], kernels, padding=2)[0].numpy()


def make_root(root, sizes=((20, 30), (24, 26)), split="train"):
    for index, size in enumerate(sizes):
        put_image(root, f"images/{split}/{index}.jpg", size)
        put_label(root, f"labels/{split}/{index}.png", drawn_label(size, index) % 3)
    (root / "labels.json").write_text(json.dumps({"names": NAMES}))
    return root


def map_file(root, number):
    [path] = root.glob(f"boundaries/3-classes-*/images/train/{number}.png")
    return path


# Computing


@pytest.mark.parametrize("metric", ["euclidean", "taxicab"])
def test_distances_and_directions_are_those_of_openseg(metric):
    label = drawn_label()
    maps = compute_boundary_maps(label, 4, metric=metric)
    for index in range(4):
        mask = label == index
        distance = slow_distance(mask, metric)
        np.testing.assert_array_equal(maps.distance[mask], np.floor(distance[mask] + 1e-9))
        slopes = slow_slopes(distance)[:, mask]
        expected = np.floor((np.degrees(np.arctan2(*slopes)) + 180) / 2)
        apart = np.abs(maps.direction[mask] - expected)
        is_slope = np.abs(slopes).max(axis=0) > 1e-6  # on a ridge the direction is rounding
        assert np.minimum(apart, 180 - apart)[is_slope].max() <= 1


def test_a_straight_edge_by_hand():
    label = np.zeros((12, 24), np.uint8)
    label[:, 12:] = 1
    maps = compute_boundary_maps(label, 2)
    assert maps.distance[6, 8:16].tolist() == [4, 3, 2, 1, 1, 2, 3, 4]
    # Left of the edge the inside is left, 180 degrees or 90 steps of two, right of it right.
    assert {*maps.direction[6, 9:12].tolist()} == {180}
    assert {*maps.direction[6, 12:15].tolist()} == {90}
    extras = maps.extras()
    assert (extras["distance"].dtype, extras["angle"].dtype) == (np.uint8, np.int16)
    assert (extras["angle"][6, 10], extras["angle"][6, 13]) == (180, 0)


def test_void_and_classes_with_few_pixels_have_no_distance():
    label = np.full((20, 20), 255, np.uint8)
    label[:10], label[15:, :19] = 0, 1  # 200 and 95 pixels
    maps = compute_boundary_maps(label, 2)
    assert maps.distance[9].min() == 1
    assert not maps.distance[10:].any()
    assert {*maps.direction[10:].flat} == {90}


def test_a_class_that_fills_the_image_is_far_from_boundaries():
    maps = compute_boundary_maps(np.zeros((30, 300), np.uint8), 1)
    assert {*maps.distance.flat} == {250}


def test_distances_end_at_250():
    label = np.zeros((4, 600), np.uint8)
    label[:, :30] = 1
    maps = compute_boundary_maps(label, 2)
    assert maps.distance[0, [29, 30, 279, 280, 599]].tolist() == [1, 1, 250, 250, 250]


# Files


def test_prepared_maps_are_read_and_equal_those_computed(tmp_path):
    root = make_root(tmp_path)
    done = prepare_dataset("boundaries", root, data="folder")
    assert (list(done.written.values()), done.kept) == ([2], 0)
    assert fnmatch(*done.written, "boundaries/3-classes-????????/images/train")
    assert prepare_dataset("boundaries", root, data="folder").kept == 2
    dataset = load_dataset("folder", root)
    for read, made in zip(with_boundaries(dataset, "prepared"), with_boundaries(dataset, "computed"), strict=True):
        assert read.label.shape == read.extras["distance"].shape
        for key in ("distance", "angle"):
            np.testing.assert_array_equal(read.extras[key], made.extras[key])
            assert read.extras[key].dtype == made.extras[key].dtype


def test_a_damaged_map_is_made_again_by_several_processes(tmp_path):
    root = make_root(tmp_path)
    prepare_dataset("boundaries", root, data="folder")
    path = map_file(root, 1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    done = prepare_dataset("boundaries", root, data="folder", jobs=2)
    assert (done.num_written, done.kept) == (1, 1)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("top", ["", "CamVid/"])
def test_every_layout_finds_its_maps_from_any_root(tmp_path, top):
    put_image(tmp_path, f"{top}train/a.png", (12, 12))
    put_label(tmp_path, f"{top}trainannot/a.png", np.arange(144).reshape(12, 12) // 120)
    prepare_dataset("boundaries", tmp_path, data="camvid")
    dataset = load_dataset("camvid", tmp_path / top)
    assert with_boundaries(dataset, "prepared")[0].extras["distance"][0].tolist() == [10] * 12


def test_without_files_maps_are_computed_unless_prepared_ones_are_asked_for(tmp_path):
    dataset = load_dataset("folder", make_root(tmp_path))
    assert with_boundaries(dataset)[0].extras["distance"].max() > 1
    with pytest.raises(InputError, match=r"have no boundary maps for its 3 classes.*segpipe data prepare boundaries"):
        with_boundaries(dataset, "prepared")
    prepare_dataset("boundaries", tmp_path, data="folder")
    map_file(tmp_path, 0).unlink()
    with pytest.raises(InputError, match=r"0\.jpg has no boundary maps in"):
        with_boundaries(dataset, "prepared")[0]


@pytest.mark.parametrize("change", [{"names": ("c", "b", "a")}, {"raw_ids": (0, 2, 1)}])
def test_maps_of_other_classes_of_the_same_number_are_not_read(tmp_path, change, caplog):
    dataset = load_dataset("folder", make_root(tmp_path))
    prepare_dataset("boundaries", tmp_path, data="folder")
    map_file(tmp_path, 0).write_bytes(b"")  # reading it would be an error
    others = replace(dataset, labels=msgspec.structs.replace(dataset.labels, **change))
    assert with_boundaries(others)[0].extras["distance"].max() > 1
    assert "were made for other classes" in caplog.text
    with pytest.raises(InputError, match=r"no boundary maps for its 3 classes; those in .* were made for other"):
        with_boundaries(others, "prepared")


def test_openseg_files_beside_the_labels_are_read(tmp_path):
    put_image(tmp_path, "images/training/x.jpg", (4, 5))
    put_label(tmp_path, "annotations/training/x.png", np.ones((4, 5)))
    (tmp_path / "dt_offset/training").mkdir(parents=True)
    (tmp_path / "dt_offset/training/x.mat").write_bytes(b" " * 124 + b"\0\1IM" + SCIPY)
    sample = with_boundaries(load_dataset("ade20k", tmp_path), "prepared")[0]
    np.testing.assert_array_equal(sample.extras["distance"], STEPS)
    np.testing.assert_array_equal(sample.extras["angle"], STEPS * 18 - 180)
    assert sample.extras["angle"].dtype == np.int16


def test_maps_of_another_size_are_refused(tmp_path):
    root = make_root(tmp_path)
    prepare_dataset("boundaries", root, data="folder")
    path = map_file(root, 0)
    Image.fromarray(np.zeros((5, 5, 2), np.uint8)).save(path)
    with pytest.raises(ImageDecodeError, match=r"are 5 × 5 .* the label 20 × 30"):
        with_boundaries(load_dataset("folder", root))[0]
    Image.new("L", (30, 20)).save(path)
    with pytest.raises(ImageDecodeError, match="Pillow's mode L; boundary maps have two channels"):
        read_boundaries(path)


def test_preparing_boundaries_needs_a_data_set_with_labels(tmp_path):
    with pytest.raises(InputError, match='Give data="camvid"'):
        prepare_dataset("boundaries", tmp_path)
    put_image(tmp_path, "train/cat/0.png")
    with pytest.raises(InputError, match="no label maps"):
        prepare_dataset("boundaries", tmp_path, data="class-folders")


# MATLAB's files


def matlab_file(tmp_path, content=SCIPY, order=b"IM"):
    path = tmp_path / "x.mat"
    path.write_bytes(b"MATLAB 5.0".ljust(124) + (b"\0\1" if order == b"IM" else b"\1\0") + order + content)
    return path


def test_arrays_that_scipy_wrote_are_read(tmp_path):
    arrays = read_matlab(matlab_file(tmp_path), ("depth", "dir_deg", "deg_reduce", "nothing"))
    np.testing.assert_array_equal(arrays["depth"], STEPS)
    np.testing.assert_array_equal(arrays["dir_deg"], STEPS * 9)
    assert arrays["deg_reduce"].tolist() == [[2]]
    assert arrays["depth"].dtype == np.uint8
    assert sorted(arrays) == ["deg_reduce", "depth", "dir_deg"]


def test_big_endian_and_uncompressed_arrays_are_read(tmp_path):
    parts = struct.pack(">IIII", 6, 8, 9, 0) + struct.pack(">IIii", 5, 8, 1, 3) + struct.pack(">HH4s", 1, 1, b"a\0\0\0")
    matrix = parts + struct.pack(">HH4s", 3, 2, b"\7\x08\x09\0")
    arrays = read_matlab(matlab_file(tmp_path, struct.pack(">II", 14, len(matrix)) + matrix, b"MI"), ("a",))
    assert arrays["a"].tolist() == [[7, 8, 9]]


@pytest.mark.parametrize("content", [SCIPY[:60], b"\x0f\0\0\0\x08\0\0\0 garbage"])
def test_a_damaged_file_is_refused_by_name(tmp_path, content):
    with pytest.raises(ImageDecodeError, match=r"x\.mat is truncated or damaged"):
        read_matlab(matlab_file(tmp_path, content), ("depth",))


def test_other_files_are_no_matlab_files(tmp_path):
    (tmp_path / "x.mat").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    with pytest.raises(ImageDecodeError, match="not a MATLAB file of level 5"):
        read_matlab(tmp_path / "x.mat", ("depth",))


def tag(kind, content):
    return struct.pack("<II", kind, len(content)) + content


def test_an_element_that_unpacks_to_too_much_is_refused_without_the_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGPIPE_MAX_MATLAB_BYTES", str(2**20))
    bomb = matlab_file(tmp_path, tag(15, zlib.compress(tag(14, bytes(64 * 2**20)))))
    tracemalloc.start()
    with pytest.raises(ImageTooLargeError, match="unpacks to more than 1,048,576 bytes"):
        read_matlab(bomb, ("depth",))
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    tracemalloc.stop()


def test_nested_cells_are_passed_over(tmp_path):
    cell = b""
    for _ in range(2000):
        flags, called = tag(6, struct.pack("<II", 1, 0)), struct.pack("<II", 1, 5) + b"depth\0\0\0"
        cell = tag(14, flags + tag(5, struct.pack("<ii", 1, 1)) + called + cell)
    assert read_matlab(matlab_file(tmp_path, cell), ("depth",)) == {}


def test_numbers_stored_as_another_type_are_passed_over(tmp_path):
    """scipy 1.17 takes the type for an index and reads outside of its table, which ends the process."""
    matrix = tag(6, struct.pack("<II", 6, 0)) + tag(5, struct.pack("<ii", 1, 8)) + tag(1, b"depthmap")
    for kind in (0, 8, 255, 2**20 + 2, 2**31):
        content = tag(14, matrix + tag(kind, bytes(8)))
        assert read_matlab(matlab_file(tmp_path, content), ("depthmap",)) == {}
    assert read_matlab(matlab_file(tmp_path, tag(14, matrix + tag(2, bytes(8)))), ("depthmap",))["depthmap"].size == 8


def test_damaged_matlab_files_are_values_or_our_errors(tmp_path):
    rng, refused = random.Random(0), 0
    for _ in range(300):
        damaged = bytearray(SCIPY)
        for _ in range(3):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            read_matlab(matlab_file(tmp_path, bytes(damaged)), ("depth", "dir_deg", "deg_reduce"))
        except ImageDecodeError:
            refused += 1
    assert refused > 100


# Samples


def flipped(maps, direction):
    """Maps of the mirrored label, computed afresh."""
    axis = 1 if direction == "horizontal" else 0
    return compute_boundary_maps(np.flip(maps, axis).copy(), 4).extras()


@pytest.mark.parametrize("direction", ["horizontal", "vertical"])
def test_flipped_maps_are_those_of_the_flipped_label(tmp_path, direction):
    label = drawn_label((40, 50))
    put_image(tmp_path, "images/0.png", label.shape)
    put_label(tmp_path, "labels/0.png", label)
    dataset = with_boundaries(load_dataset("folder", tmp_path, "all", names=("a", "b", "c", "d")))
    transform = build_transforms([RandomFlip(direction=direction, probability=1.0)], ignore_index=255, fill=(0, 0, 0))
    extras = transform(dataset[0], np.random.default_rng(0)).extras
    expected = flipped(label, direction)
    np.testing.assert_array_equal(extras["distance"], expected["distance"])
    apart = np.abs(extras["angle"] - expected["angle"]) % 360
    # Angles were cut to steps of two degrees downwards before, and are mirrored upwards now; ridges have none.
    y, x = slow_slopes(expected["distance"].astype(np.float64))
    is_slope = (expected["distance"] > 0) & (np.hypot(y, x) > 2)
    assert np.minimum(apart, 360 - apart)[is_slope].max() <= 2


def test_maps_go_with_the_label_through_a_whole_chain_into_a_batch(tmp_path):
    root = make_root(tmp_path, ((60, 80), (50, 90)))
    dataset = with_boundaries(load_dataset("folder", root))
    steps = [Resize(size=(40, 64)), RandomRotation(probability=1.0), RandomCrop(size=(32, 32)), RandomFlip()]
    transform = build_transforms(steps, ignore_index=255, fill=(0, 0, 0))
    batch = collate([transform(sample, np.random.default_rng(1)) for sample in dataset])
    assert {key: values.shape for key, values in batch.extras.items()} == dict.fromkeys(
        ("distance", "angle"), torch.Size([2, 32, 32])
    )
    assert (batch.extras["distance"].dtype, batch.extras["angle"].dtype) == (torch.uint8, torch.int16)
    angle = batch.extras["angle"]
    assert -180 <= int(angle.min()) < int(angle.max()) <= 180


def test_samples_without_maps_make_no_batch_with_others(tmp_path):
    dataset = load_dataset("folder", make_root(tmp_path, ((20, 30), (20, 30))))
    with pytest.raises(InputError, match=r"1\.jpg has no map 'distance'"):
        collate([with_boundaries(dataset)[0], dataset[1]])
    assert collate(list(dataset)).extras == {}


def test_a_data_set_with_maps_pickles(tmp_path):
    dataset = pickle.loads(pickle.dumps(with_boundaries(load_dataset("folder", make_root(tmp_path)))))
    assert set(dataset[0].extras) == {"distance", "angle"}
