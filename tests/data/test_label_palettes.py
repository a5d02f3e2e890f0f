"""Palettes of label files that agree with a label set's colors, contradict them, or say nothing."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from dataset_material import put_image
from PIL import Image

from segpipe.data import load_dataset
from segpipe.data.label_files import _voc_color
from segpipe.data.linting import check_dataset, look_at
from segpipe.errors import ImageDecodeError, InputError

RED, BLACK, GREEN = (255, 0, 0), (0, 0, 0), (0, 255, 0)
FIRE = {"names": ["background", "fire"], "palette": [BLACK, RED]}
VOC = [_voc_color(index) for index in range(256)]
GREY = [(level,) * 3 for level in range(256)]


def put_palette_label(root, palette, rows=((0, 1, 1),), ending="png", labels=FIRE):
    put_image(root, "images/a.png", size=np.shape(rows))
    (root / "labels").mkdir(exist_ok=True)
    (root / "labels.json").write_text(json.dumps(labels))
    image = Image.fromarray(np.array(rows, np.uint8)).convert("P")
    image.putpalette([channel for color in palette for channel in color])
    image.save(root / f"labels/a.{ending}")


def load(root, **options):
    return load_dataset("folder", root, "all", **options)


def test_vocs_palette_is_that_of_the_devkit():
    assert VOC[:4] + VOC[15:17] + VOC[254:] == [
        (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0),
        (192, 128, 128), (0, 64, 0), (96, 224, 192), (224, 224, 192),
    ]  # fmt: skip


@pytest.mark.parametrize("ending", ["png", "tif", "bmp"])
def test_a_value_in_the_color_of_another_class_is_refused(tmp_path, ending):
    put_palette_label(tmp_path, [RED, BLACK], ending=ending)
    dataset = pickle.loads(pickle.dumps(load(tmp_path)))
    with pytest.raises(
        ImageDecodeError, match=r"draws the value 0 in \(255, 0, 0\), the color of 'fire'.*read=\"colors\""
    ):
        dataset[0]
    for report in (check_dataset(dataset), look_at(dataset)):
        assert [group.kind for group in report.groups] == ["unreadable-label"]


@pytest.mark.parametrize(("read", "label"), [("colors", [[1, 0, 0]]), ("indices", [[0, 1, 1]])])
def test_a_contradicting_palette_is_read_as_the_option_says(tmp_path, read, label):
    put_palette_label(tmp_path, [RED, BLACK])
    assert load(tmp_path, read=read)[0].label.tolist() == label
    with pytest.raises(InputError, match="read is 'both'"):
        load(tmp_path, read="both")
    with pytest.raises(InputError, match="read=colors is given without colors"):
        load(tmp_path, names=["a", "b"], read="colors")


@pytest.mark.parametrize(
    "palette",
    [[BLACK, RED], GREY, VOC, VOC[:21], [(17 * i,) * 3 for i in range(16)], [(85 * i,) * 3 for i in range(4)],
     [(1, 2, 3), (4, 5, 6)], [BLACK, (9, 9, 9)]],
)  # fmt: skip
def test_palettes_that_agree_and_those_of_no_class_contradict_nothing(tmp_path, palette):
    put_palette_label(tmp_path, palette)
    assert load(tmp_path)[0].label.tolist() == [[0, 1, 1]]


@pytest.mark.parametrize("palette", [GREY, VOC])
def test_default_palettes_contradict_nothing_though_a_class_has_their_color(tmp_path, palette):
    names = {"names": ["a", "b", "c"], "palette": [palette[2], palette[0], palette[1]]}
    put_palette_label(tmp_path, palette, rows=((0, 1, 2),), labels=names)
    assert load(tmp_path)[0].label.tolist() == [[0, 1, 2]]


def test_only_values_that_are_used_and_are_classes_count(tmp_path):
    put_palette_label(tmp_path, [RED, RED, BLACK], rows=((1, 1, 1),))  # 0 in red is not used
    assert load(tmp_path)[0].label.tolist() == [[1, 1, 1]]
    ignored = [BLACK, RED, *[GREEN] * 253, RED]
    put_palette_label(tmp_path, ignored, rows=((0, 1, 255),))
    assert load(tmp_path)[0].label.tolist() == [[0, 1, 255]]


def test_published_data_sets_compare_palettes_too(tmp_path):
    """A prediction of ADE20K's classes, in their colors from 0, in the place of labels, which begin at 1."""
    from segpipe.data.label_sets import dataset_labels

    put_image(tmp_path, "images/training/a.jpg", size=(1, 2))
    (tmp_path / "annotations/training").mkdir(parents=True)
    image = Image.fromarray(np.array([[1, 2]], np.uint8)).convert("P")
    image.putpalette([channel for color in dataset_labels("ade20k").palette for channel in color])
    image.save(tmp_path / "annotations/training/a.png")
    with pytest.raises(ImageDecodeError, match=r"draws the value 1 in .* the color of 'building', .* it is 'wall'"):
        load_dataset("ade20k", tmp_path, "train")[0]
