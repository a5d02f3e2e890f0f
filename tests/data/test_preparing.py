"""Preparing Cityscapes, COCO-Stuff, PASCAL-Context, beside cityscapesscripts' own code and hand-worked numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from preparing_material import (
    IDS,
    TRAIN_IDS,
    box,
    labels_of,
    pixels,
    polygons,
    put_city,
    put_coco,
    put_context,
    put_image,
    put_json,
    put_label,
)

from segpipe.data import dataset_labels, load_dataset
from segpipe.data.datasets.cityscapes import NAMES, draw_label_ids, read_outlines
from segpipe.data.datasets.pascal import RAW_IDS
from segpipe.data.preparing.preparation import prepare_dataset
from segpipe.errors import InputError


def test_cityscapes_gets_train_ids_that_load_as_the_raw_ids_did(tmp_path):
    target = put_city(tmp_path, ids=IDS)
    before = labels_of(load_dataset("cityscapes", tmp_path, "val"))
    done = prepare_dataset("cityscapes", tmp_path)
    assert (done.written, done.kept) == ({"gtFine/val/ulm": 1}, 0)
    assert pixels(target) == TRAIN_IDS
    assert labels_of(load_dataset("cityscapes", tmp_path, "val")) == before == [TRAIN_IDS]
    target.with_name("ulm_0_gtFine_labelIds.png").unlink()
    assert labels_of(load_dataset("cityscapes", tmp_path, "val")) == before


def test_cityscapes_outlines_are_drawn_in_order_with_their_border(tmp_path):
    """By hand: Pillow fills the outline too, so a box from 0 to 1 has 2 × 2 pixels."""
    outlines = polygons(
        ("road", box(0, 0, 5, 3), {}),
        ("cargroup", box(0, 0, 1, 1), {}),
        ("person", box(1, 1, 2, 2), {}),
        ("sky", box(0, 0, 5, 3), {"deleted": 1}),
        ("license plate", box(5, 0, 5, 3), {}),
        ("ego vehicle", box(0, 3, 5, 3), {}),
    )
    target = put_city(tmp_path, outlines=outlines)
    prepare_dataset("cityscapes", tmp_path)
    expected = [[13, 13, 0, 0, 0, 0], [13, 11, 11, 0, 0, 0], [0, 11, 11, 0, 0, 0], [255] * 6]
    assert pixels(target) == expected
    assert labels_of(load_dataset("cityscapes", tmp_path, "val")) == [expected]


@pytest.mark.peer
def test_cityscapes_outlines_are_drawn_as_cityscapesscripts_draws_them(tmp_path):
    official = pytest.importorskip("cityscapesscripts.preparation.json2labelImg")
    known = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    assert tuple(label.name for label in known if label.id >= 0) == NAMES
    rng = np.random.default_rng(5)
    names = [*NAMES, "license plate", "persongroup", "bicyclegroup", "polegroup"]
    shapes = [
        (name, rng.integers(-9, 99, (int(rng.integers(2, 9)), 2)).tolist(), {"deleted": int(rng.integers(0, 5) == 0)})
        for name in rng.permutation(names * 2).tolist()
    ]
    path = put_json(tmp_path / "a_polygons.json", polygons(*shapes, size=(70, 90)))
    official.json2labelImg(str(path), str(tmp_path / "ids.png"))
    drawn = draw_label_ids(read_outlines(path), origin="a")
    assert len(np.unique(drawn)) > 15
    assert np.array_equal(drawn, np.asarray(Image.open(tmp_path / "ids.png")))
    target = put_city(tmp_path, outlines=polygons(*shapes, size=(70, 90)))
    prepare_dataset("cityscapes", tmp_path)
    official.json2labelImg(str(path), str(tmp_path / "train_ids.png"), "trainIds")
    assert np.array_equal(Image.open(target), Image.open(tmp_path / "train_ids.png"))


def test_cityscapes_ids_count_more_than_outlines_and_half_a_set_of_ids_loads_when_prepared(tmp_path):
    first = put_city(tmp_path, "ulm_0", ids=IDS, outlines=polygons(("sky", box(0, 0, 5, 3), {})))
    put_city(tmp_path, "ulm_1", outlines=polygons(("sky", box(0, 0, 5, 3), {})))
    with pytest.raises(InputError, match="1 of 2 images"):
        load_dataset("cityscapes", tmp_path, "val")
    prepare_dataset("cityscapes", tmp_path)
    assert pixels(first) == TRAIN_IDS
    assert labels_of(load_dataset("cityscapes", tmp_path, "val")) == [TRAIN_IDS, [[10] * 6] * 4]


def test_cityscapes_coarse_labels_are_an_option(tmp_path):
    put_label(tmp_path / "gtCoarse/train_extra/ulm/ulm_0_gtCoarse_labelIds.png", IDS)
    prepare_dataset("cityscapes", tmp_path, annotations="gtCoarse")
    assert pixels(tmp_path / "gtCoarse/train_extra/ulm/ulm_0_gtCoarse_labelTrainIds.png") == TRAIN_IDS


@pytest.mark.parametrize(
    ("outlines", "message"),
    [
        (polygons(("cloud", box(0, 0, 1, 1), {})), "has a 'cloud'"),
        (polygons(("sky", [[0, 0]], {})), "sky of 1 points"),
        ({"imgHeight": 4, "objects": []}, "not a polygons.json"),
        (polygons(size=(0, 6)), "0 × 6"),
        (polygons(size=(10**6, 10**6)), "1000000 × 1000000"),
        (polygons(("sky", [[0, 0], [1e300, 0], [0, 5]], {})), "a coordinate beyond"),
        (polygons(("sky", [[0, 0], [1, 0]] * 200, {}), size=(1_000_000, 1)), "crossings of polygon edges"),
    ],
)
def test_cityscapes_outlines_that_cannot_be_are_named(tmp_path, outlines, message):
    target = put_city(tmp_path, outlines=outlines)
    with pytest.raises(InputError, match=message):
        prepare_dataset("cityscapes", tmp_path)
    assert not target.exists()


def test_coco_stuff_gets_class_indices_and_drops_raw_ids_that_are_no_class(tmp_path):
    put_coco(tmp_path)
    put_coco(tmp_path, "train2017")
    before = labels_of(load_dataset("coco-stuff164k", tmp_path, "val"))
    done = prepare_dataset("coco-stuff164k", tmp_path)
    assert done.written == {"annotations/train2017": 2, "annotations/val2017": 2}
    # 11 (street sign) is one of the eleven ids without a class, so 12 and 13 are classes 11 and 12.
    assert pixels(tmp_path / "annotations/val2017/0001_labelTrainIds.png") == [[0, 12, 11, 170, 255, 255]]
    assert labels_of(load_dataset("coco-stuff164k", tmp_path, "val")) == before


def test_coco_stuff_loads_while_it_is_prepared_in_part(tmp_path):
    put_coco(tmp_path)
    before = labels_of(load_dataset("coco-stuff164k", tmp_path, "val"))
    prepare_dataset("coco-stuff164k", tmp_path)
    (tmp_path / "annotations/val2017/0002_labelTrainIds.png").unlink()
    assert labels_of(load_dataset("coco-stuff164k", tmp_path, "val")) == before
    (tmp_path / "annotations/val2017/0002.png").unlink()
    with pytest.raises(InputError, match="1 of 2 images"):
        load_dataset("coco-stuff164k", tmp_path, "val")


def test_pascal_context_gets_masks_and_lists_from_its_json(tmp_path):
    put_context(tmp_path)
    done = prepare_dataset("pascal-context", tmp_path)
    assert sum(done.written.values()) == 2 + 3
    assert labels_of(load_dataset("pascal-context", tmp_path, "train")) == [[[47, 20, 47], [0, 20, 0]]]
    assert labels_of(load_dataset("pascal-context", tmp_path, "val")) == [[[0, 0, 0], [0, 0, 59]]]
    assert len(load_dataset("pascal-context", tmp_path, "trainval")) == 2
    assert labels_of(load_dataset("pascal-context-59", tmp_path, "train"))[0][1] == [255, 19, 255]


def test_pascal_context_numbers_ascend_with_the_names():
    """mmsegmentation's converter gives 2008_000002, a television before a window (427, 454), the values 55 and 58."""
    assert (RAW_IDS.index(427), RAW_IDS.index(454)) == (55, 58)
    names = sorted(dataset_labels("pascal-context").names[1:])
    assert (names[54], names[57], names[19], names[46]) == ("tvmonitor", "window", "cow", "sky")
    assert len(RAW_IDS) == 60
    assert list(RAW_IDS) == sorted(set(RAW_IDS))


def test_pascal_context_says_what_is_missing(tmp_path):
    with pytest.raises(InputError, match="has no JPEGImages: it holds nothing"):
        prepare_dataset("pascal-context", tmp_path)
    put_image(tmp_path / "JPEGImages/2008_000002.jpg")
    with pytest.raises(InputError, match=r"no trainval_merged\.json"):
        prepare_dataset("pascal-context", tmp_path)
    put_json(tmp_path / "trainval_merged.json", {"images": [{"image_id": "a"}]})
    with pytest.raises(InputError, match="not PASCAL-Context's JSON"):
        prepare_dataset("pascal-context", tmp_path)


@pytest.mark.parametrize(("field", "value"), [("file_name", "../evil.jpg"), ("height", 3)])
def test_pascal_context_refuses_names_and_sizes_that_do_not_fit(tmp_path, field, value):
    path = put_context(tmp_path)
    document = json.loads(path.read_text())
    document["images"][0][field] = value
    put_json(path, document)
    with pytest.raises(InputError, match=r"names the image|must be equal"):
        prepare_dataset("pascal-context", tmp_path)
