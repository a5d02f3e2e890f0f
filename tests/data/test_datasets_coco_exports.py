"""COCO's JSON as tools export it: their folders, their names of files, their numbers and colors."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from dataset_material import put_image, put_label, rasterize_polygon

from segpipe.data import load_dataset
from segpipe.data.datasets.coco_documents import Category, color_of
from segpipe.data.datasets.finding_files import NamedFiles
from segpipe.data.linting import check_splits
from segpipe.errors import InputError

SQUARE = [[1, 0, 3, 0, 3, 2, 1, 2]]
LABEL = [[255, 0, 0, 255], [255, 0, 0, 255], [255, 255, 255, 255]]
"""The square in an image of 3 × 4, of the first class."""


def document(*names, **changes):
    """Images of 3 × 4, each with a square of category 1."""
    return {
        "images": [{"id": number, "file_name": name, "height": 3, "width": 4} for number, name in enumerate(names)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [{"image_id": number, "category_id": 1, "segmentation": SQUARE} for number in range(len(names))],
        **changes,
    }


def put_document(root, content, name="annotations/train.json", *files):
    for file in files:
        put_image(root, file, size=(3, 4))
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def open_one(root, file_name, *files):
    put_document(root, document(file_name), "annotations/train.json", *files)
    return Path(load_dataset("coco-annotations", root)[0].name).relative_to(root).as_posix()


def test_roboflows_export_opens_as_it_is(tmp_path):
    groups = [{"id": 0, "name": "cats-dogs", "supercategory": "none"}]
    categories = [
        {"id": 1, "name": "cat", "supercategory": "cats-dogs"},
        {"id": 2, "name": "dog", "supercategory": "x"},
    ]
    for folder in ("train", "valid", "test"):
        content = document(f"{folder}_jpg.rf.0a1b.jpg", categories=groups + categories)
        put_document(tmp_path, content, f"{folder}/_annotations.coco.json", f"{folder}/{folder}_jpg.rf.0a1b.jpg")
    for split, folder in (("train", "train"), ("val", "valid"), ("validation", "valid"), ("test", "test")):
        dataset = load_dataset("coco-annotations", tmp_path, split)
        assert dataset.labels.names == ("cat", "dog")
        assert f"{folder}/{folder}_jpg.rf" in dataset[0].name
        assert dataset[0].label.tolist() == LABEL
    assert [note.kind for note in dataset.notes] == ["assumed"]
    assert "cats-dogs" in dataset.notes[0].what


@pytest.mark.parametrize("entry", [{"id": 0, "name": "a"}, {"id": 0, "name": "cat", "supercategory": "animal"}])
def test_a_first_category_that_groups_no_other_is_a_class(tmp_path, entry):
    categories = [entry, {"id": 1, "name": "b", "supercategory": "animal"}]
    put_document(tmp_path, document("a.jpg", categories=categories), "annotations/train.json", "train/a.jpg")
    assert load_dataset("coco-annotations", tmp_path).labels.names == (entry["name"], "b")


def test_a_group_that_has_objects_is_a_class(tmp_path):
    categories = [{"id": 0, "name": "pets", "supercategory": "none"}, {"id": 1, "name": "cat", "supercategory": "pets"}]
    content = document("a.jpg", categories=categories)
    content["annotations"][0]["category_id"] = 0
    put_document(tmp_path, content, "annotations/train.json", "train/a.jpg")
    assert load_dataset("coco-annotations", tmp_path).labels.names == ("pets", "cat")


@pytest.mark.parametrize(
    ("json_name", "listed", "file"),
    [
        ("annotations/instances_default.json", "a.jpg", "images/default/a.jpg"),  # CVAT
        ("annotations/instances_default.json", "sub/a.jpg", "images/sub/a.jpg"),
        ("result.json", "images\\a.jpg", "images/a.jpg"),  # Label Studio
        ("annotations.json", "JPEGImages/a.jpg", "JPEGImages/a.jpg"),  # labelme
        ("labels.json", "a.jpg", "data/a.jpg"),  # FiftyOne
        ("_annotations.coco.json", "a.jpg", "a.jpg"),
        ("annotations/coco_training.json", "a.jpg", "images/a.jpg"),
        ("train/labels.json", "a.jpg", "train/images/a.jpg"),
    ],
)
def test_exports_of_other_tools_open_as_they_are(tmp_path, caplog, json_name, listed, file):
    put_document(tmp_path, document(listed), json_name, file)
    with caplog.at_level(logging.INFO):
        dataset = load_dataset("coco-annotations", tmp_path)
    assert dataset[0].name == str(tmp_path / file)
    assert dataset[0].label.tolist() == LABEL
    assert f"{json_name} is taken for train: it is the only JSON" in caplog.text
    with pytest.raises(InputError, match=r"does not hold COCO's JSON of val. Looked for annotations/instances_val2017"):
        load_dataset("coco-annotations", tmp_path, "val")


def test_one_of_several_documents_must_be_named(tmp_path):
    for name in ("first.json", "second.json", "panoptic.json", "val.json", "captions.json"):
        put_document(tmp_path, document("a.jpg"), name, "images/a.jpg")
    with pytest.raises(InputError, match=r"may be COCO's JSON of train: first.json, second.json. .*annotations=…"):
        load_dataset("coco-annotations", tmp_path)
    assert len(load_dataset("coco-annotations", tmp_path, annotations="second.json")) == 1
    with pytest.raises(InputError, match=r"Looked for third.json"):
        load_dataset("coco-annotations", tmp_path, annotations="third.json")


def test_a_document_in_place_of_the_root_is_said(tmp_path):
    put_document(tmp_path, document("a.jpg"), "train.json", "a.jpg")
    with pytest.raises(
        InputError, match=rf"train\.json is a file; the root of a data set is its folder\. Give {tmp_path}"
    ):
        load_dataset("coco-annotations", tmp_path / "train.json")


def test_a_path_below_each_splits_folder_holds_for_all_splits(tmp_path):
    for folder in ("train", "valid"):
        put_document(tmp_path, document("a.jpg"), f"{folder}/made/by-hand.json", f"{folder}/photos/a.jpg")
    for split, folder in (("train", "train"), ("val", "valid")):
        dataset = load_dataset("coco-annotations", tmp_path, split, annotations="made/by-hand.json", images="photos")
        assert dataset[0].name == str(tmp_path / folder / "photos/a.jpg")
        assert dataset.pairs[0].label.startswith(str(tmp_path / folder))


def test_paths_begin_at_the_root_or_the_current_folder(tmp_path, monkeypatch):
    put_document(
        tmp_path, document("a.jpg"), "set/Annotations/Validation.JSON", "set/Images/Valid/a.jpg", "other/a.jpg"
    )
    monkeypatch.chdir(tmp_path)
    for options in ({}, {"annotations": "set/Annotations/Validation.JSON", "images": Path("Images/Valid")}):
        dataset = load_dataset("coco-annotations", "set", "val", **options)
        assert Path(dataset[0].name).resolve() == tmp_path / "set/Images/Valid/a.jpg"
    dataset = load_dataset("coco-annotations", "set", "val", images="other")
    assert Path(dataset[0].name).resolve() == tmp_path / "other/a.jpg"


def test_a_check_goes_on_without_images_that_are_not_there(tmp_path):
    names = ("a.jpg", "gone.jpg", "b.jpg")
    put_document(tmp_path, document(*names), "annotations/train.json", "train/a.jpg", "train/b.jpg")
    train, val = check_splits("coco-annotations", tmp_path, ["train", "val"])
    assert (train.num_images, train.classes[0].pixels) == (2, 8)
    assert [(group.kind, group.total) for group in train.groups if group.severity == "error"] == [("list", 1)]
    assert "gone.jpg is not in" in str(train.groups[0].findings[0])
    assert "val_share" in val.groups[0].findings[0].fix


def test_each_split_has_its_own_options_and_a_single_document_is_divided(tmp_path):
    for name in ("one.json", "two.json"):
        put_document(
            tmp_path, document(f"{name[:3]}1.jpg", f"{name[:3]}2.jpg"), name, f"{name[:3]}1.jpg", f"{name[:3]}2.jpg"
        )
    options = {"train.annotations": "one.json", "val": {"annotations": "two.json"}}
    names = [
        [Path(sample.name).name for sample in load_dataset("coco-annotations", tmp_path, split, **options)]
        for split in ("train", "val")
    ]
    assert names == [["one1.jpg", "one2.jpg"], ["two1.jpg", "two2.jpg"]]
    parts = [
        load_dataset("coco-annotations", tmp_path, split, annotations="one.json", val_share=0.5)
        for split in ("train", "val")
    ]
    assert [len(part) for part in parts] == [1, 1]


@pytest.mark.parametrize(
    "name",
    [
        "images\\train\\a b.jpg",
        "C:\\Users\\me\\a b.jpg",
        "/home/me/images/train/a b.jpg",
        "./a b.jpg",
        "../images/a b.jpg",
        "a%20b.jpg",
        "https://host/files/a%20b.jpg?width=5",
        "/data/local-files/?d=images/a%20b.jpg",
        "A B.JPG",
        " a b.jpg ",
    ],
)
def test_the_name_of_an_image_may_be_that_of_another_machine(tmp_path, caplog, name):
    with caplog.at_level(logging.INFO):
        found = open_one(tmp_path, name, "images/train/a b.jpg", "images/train/b.jpg")
    assert found == "images/train/a b.jpg"
    assert f"1 images are found by the end of their names: {name} is {tmp_path}/images/train/a b.jpg" in caplog.text


def test_unicode_forms_of_a_name_are_one(tmp_path):
    composed, decomposed = "caf\u00e9.jpg", "cafe\u0301.jpg"
    assert open_one(tmp_path, composed, f"train/{decomposed}") == f"train/{decomposed}"


def test_images_of_one_stem_are_different_files(tmp_path):
    names = ("a.jpg", "a.png", "sub/a.jpg", "sub/a.png")
    put_document(tmp_path, document(*names), "annotations/train.json", *(f"train/{name}" for name in names))
    found = [Path(sample.name).relative_to(tmp_path / "train") for sample in load_dataset("coco-annotations", tmp_path)]
    assert [path.as_posix() for path in found] == sorted(names)


def test_a_name_means_the_file_that_agrees_with_most_of_it():
    files = NamedFiles(
        {name: name for name in ("a.jpg", "x/a.jpg", "y/x/a.jpg", "p/b.jpg", "q/b.jpg", "C.jpg", "c.jpg")}
    )
    found = {name: files.find(name) for name in ("/z/x/a.jpg", "/y/x/a.jpg", "/o/a.jpg", "z/p/b.jpg", "./c.jpg")}
    assert found == dict(zip(found, ("x/a.jpg", "y/x/a.jpg", "a.jpg", "p/b.jpg", "c.jpg"), strict=True))
    assert [files.find(name) for name in ("b.jpg", "r/b.jpg", "", "/", "..", "../secret.jpg", "x?y=", "%")] == [
        None
    ] * 8


@pytest.mark.parametrize("name", ["/home/me/scene-{}/image.png", "scene-{}/IMAGE.png"])
def test_files_of_one_name_in_many_folders_are_found_without_comparing_each_with_all(name):
    count = 40_000  # which takes 20 minutes where all are compared, and a second where they are looked up
    files = NamedFiles({f"scene-{place}/image.png": str(place) for place in range(count)})
    assert [files.find(name.format(place)) for place in range(count)] == list(map(str, range(count)))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("/a/1.jpg", "/b/1.jpg"), "two names for the image .*1.jpg"),
        (("2.jpg",), r"names 1 images, 1 of which are not in .*images/train: 2\.jpg. .* as images=…"),
        (("sub/1.jpg", "other/3.jpg"), r"1 of which are not in .*: other/3\.jpg"),
    ],
)
def test_names_that_fit_no_file_or_one_file_twice_are_refused(tmp_path, names, message):
    put_document(tmp_path, document(*names), "annotations/train.json", "images/train/1.jpg", "images/train/up/3.jpg")
    with pytest.raises(InputError, match=message):
        load_dataset("coco-annotations", tmp_path)


def test_images_of_another_split_are_never_taken(tmp_path):
    put_document(tmp_path, document("1.jpg"), "annotations/train.json", "valid/1.jpg", "images/testing/1.jpg")
    with pytest.raises(InputError, match=r"1 of which are not in .*images: 1\.jpg"):
        load_dataset("coco-annotations", tmp_path)
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(InputError, match=r"no folder with the images of train .* Looked for images/train2017, "):
        load_dataset("coco-annotations", tmp_path)
    put_image(tmp_path, "elsewhere/1.jpg", size=(3, 4))
    assert load_dataset("coco-annotations", tmp_path)[0].name == str(tmp_path / "elsewhere/1.jpg")


@pytest.mark.parametrize("write", [float, str, lambda number: f" {number}"])
def test_numbers_may_be_floats_and_texts(tmp_path, write):
    runs = {"counts": [3, 2, 1, 2, 4], "size": [write(3), write(4)]}
    runs["counts"] = [float(run) for run in runs["counts"]] if write is float else runs["counts"]
    content = {
        "images": [{"id": write(7), "file_name": "a.jpg", "height": write(3), "width": write(4), "license": None}],
        "categories": [{"id": write(10), "name": "cat", "keypoints": []}, {"id": 9, "name": 3}],
        "annotations": [
            {"image_id": 7, "category_id": write(9), "segmentation": [list(map(write, SQUARE[0]))], "area": "4"},
            {"image_id": write(7), "category_id": 10, "segmentation": runs, "iscrowd": False},
        ],
        "info": {"contributor": ""},
    }
    if write not in (float, str):  # blanks are allowed in ids alone
        content["images"][0] |= {"height": 3, "width": 4}
        content["annotations"][0]["segmentation"] = SQUARE
        runs["size"] = [3, 4]
    put_document(tmp_path, content, "annotations/train.json", "train/a.jpg")
    dataset = load_dataset("coco-annotations", tmp_path)
    assert dataset.labels.names == ("3", "cat")
    assert dataset.labels.raw_ids == (9, 10)
    assert dataset[0].label.tolist() == [[255, 1, 1, 255], [255, 1, 1, 255], [255, 255, 255, 255]]


@pytest.mark.parametrize("ids", [("b7", "a3"), (70000, 2**40), (-1, -2), ("5#6", "01")])
def test_categories_may_have_any_ids(tmp_path, ids):
    content = document("a.jpg", categories=[{"id": ids[0], "name": "x"}, {"id": ids[1], "name": "y"}])
    content["images"][0]["id"] = content["annotations"][0]["image_id"] = "im#1"
    content["annotations"][0]["category_id"] = ids[0]
    put_document(tmp_path, content, "annotations/train.json", "train/a.jpg")
    dataset = load_dataset("coco-annotations", tmp_path, background="none")
    assert sorted(dataset.labels.names) == ["none", "x", "y"]
    assert (dataset[0].label == dataset.labels.names.index("x")).sum() == 4
    assert (dataset[0].label == 0).sum() == 8


def test_a_color_that_is_nested_without_end_is_passed_over():
    assert color_of(Category(1, "cat", color=msgspec.Raw(b"[" * 100_000 + b"]" * 100_000))) is None


def test_a_category_may_be_the_background(tmp_path):
    categories = [{"id": 4, "name": "cat"}, {"id": 7, "name": "other"}, {"id": 1, "name": "dog"}]
    put_document(tmp_path, document("a.jpg", categories=categories), "annotations/train.json", "train/a.jpg")
    dataset = load_dataset("coco-annotations", tmp_path, background="other")
    assert dataset.labels.names == ("dog", "cat", "other")
    assert dataset[0].label.tolist() == [[2, 0, 0, 2], [2, 0, 0, 2], [2, 2, 2, 2]]


def test_objects_without_ids_are_counted_as_those_of_unlisted_ones(tmp_path):
    content = document("a.jpg")
    for ids in ({"image_id": None, "category_id": 1}, {"category_id": 1}, {"image_id": 0, "category_id": None}):
        content["annotations"].append({"segmentation": [[0, 2, 1, 2, 1, 3, 0, 3]], **ids})
    put_document(tmp_path, content, "annotations/train.json", "train/a.jpg")
    dataset = load_dataset("coco-annotations", tmp_path, background="none")
    assert dataset[0].label.tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [255, 0, 0, 0]]
    assert [note.what.rpartition(":")[2] for note in dataset.notes] == [" 2 (null)", " 1 (null)"]


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([], "lists no categories"),
        ([{"id": 1, "name": "a"}, {"id": "1", "name": "b"}], "two categories with the id '1'"),
        ([{"id": 1, "name": "a"}, {"id": 2, "name": "a"}], "two categories with the name 'a'"),
    ],
)
def test_categories_are_different(tmp_path, categories, message):
    put_document(tmp_path, document("a.jpg", categories=categories), "annotations/train.json", "train/a.jpg")
    with pytest.raises(InputError, match=message):
        load_dataset("coco-annotations", tmp_path)


@pytest.mark.parametrize(
    ("colors", "palette"),
    [
        (["#a60f2f", "#fff"], ((166, 15, 47), (255, 255, 255))),
        (["rgb(1, 2, 3)", "red"], ((1, 2, 3), (255, 0, 0))),
        ([[1, 2, 3], [4.0, 5, 6, 255]], ((1, 2, 3), (4, 5, 6))),
        (["#a60f2f", None], None),
        (["#a60f2f", "no colour"], None),
        ([[1, 2], [300, 0, 0]], None),
        ([{"r": 1}, 7], None),
        ([[[1], 2, 3], True], None),
        ([[0.65, 0.06, 0.18], [0, 0, 0]], None),
    ],
)
def test_colors_of_categories_are_read_in_any_form_or_passed_over(tmp_path, colors, palette):
    content = document("a.jpg")
    for category, color in zip(content["categories"], colors, strict=True):
        category["color"] = color
    put_document(tmp_path, content, "annotations/train.json", "train/a.jpg")
    dataset = load_dataset("coco-annotations", tmp_path)
    assert dataset.labels.palette == palette
    assert dataset[0].label.tolist() == LABEL


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_a_byte_order_mark_is_passed_over(tmp_path, encoding):
    put_document(tmp_path, document("ä.jpg"), "annotations/train.json", "train/ä.jpg")
    path = tmp_path / "annotations/train.json"
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    path.write_bytes((mark + json.dumps(document("ä.jpg"), ensure_ascii=False)).encode(encoding))
    assert load_dataset("coco-annotations", tmp_path)[0].label.tolist() == LABEL


def test_numbers_that_json_does_not_know_are_passed_over_where_they_are_not_needed(tmp_path):
    content = document("NaN Infinity.jpg")
    content["annotations"][0] |= {"area": float("nan"), "bbox": [float("-inf")] * 4, "score": float("inf")}
    content["annotations"].append({"image_id": 0, "category_id": 1, "segmentation": [[0, 0, float("nan"), 1, 1, 1]]})
    put_document(tmp_path, content, "annotations/train.json", "train/NaN Infinity.jpg")
    dataset = load_dataset("coco-annotations", tmp_path)
    assert dataset[0].label.tolist() == LABEL
    assert [note.what for note in dataset.notes] == [
        "polygons, masks and boxes without area in their image, which are passed over: 1 (NaN Infinity.jpg)"
    ]


@pytest.mark.parametrize("size", [{}, {"height": None, "width": None}, {"height": 0, "width": 4}])
def test_an_image_without_a_size_has_that_of_its_file(tmp_path, size):
    content = document("a.jpg")
    content["images"][0] = {"id": 0, "file_name": "a.jpg", **size}
    put_document(tmp_path, content, "annotations/train.json", "train/a.jpg")
    assert load_dataset("coco-annotations", tmp_path)[0].label.tolist() == LABEL


@pytest.mark.parametrize(
    "segmentation", [SQUARE[0], [[[1, 0], [3, 0], [3, 2], [1, 2]]], [[1, 0, 3, 0, 3, 2, 1, 2], [[5, 5]]]]
)
def test_polygons_may_be_nested_in_another_way(tmp_path, segmentation):
    content = document("a.jpg")
    content["annotations"][0]["segmentation"] = segmentation
    put_document(tmp_path, content, "annotations/train.json", "train/a.jpg")
    assert load_dataset("coco-annotations", tmp_path)[0].label.tolist() == LABEL


DEGENERATE = {
    "a point": [30, 20],
    "no number": [],
    "half a point": [30],
    "an odd number": [1, 1, 3, 1, 3, 3, 1],
    "a line of two points": [1, 1, 3, 3],
    "one point three times": [1.5, 1.5] * 3,
    "a line on a row": [0, 1, 4, 1, 2, 1],
    "a slanted line": [0, 0, 2, 2, 1, 1, 0.5, 0.5],
    "a line of fractions": [0.1, 0.1, 0.2, 0.2, 0.3, 0.3],
    "there and back": [0, 0, 3, 1, 0, 0, 1, 3, 0, 0],
    "right of the image": [4, 0, 9, 0, 9, 2],
    "above the image": [0, -5, 3, -5, 3, 0],
}


@pytest.mark.parametrize("polygon", DEGENERATE.values(), ids=DEGENERATE)
def test_polygons_without_area_are_passed_over_and_warned_of_once(tmp_path, caplog, polygon):
    content = document("a.jpg")
    for segmentation in ([polygon], [polygon, polygon]):
        content["annotations"].append({"image_id": 0, "category_id": 2, "segmentation": segmentation})
    put_document(tmp_path, content, "annotations/train.json", "train/a.jpg")
    dataset = load_dataset("coco-annotations", tmp_path)
    assert dataset[0].label.tolist() == LABEL
    assert (
        caplog.text.count("polygons, masks and boxes without area in their image, which are passed over: 3 (a.jpg)")
        == 1
    )


def test_panoptic_exports_may_have_the_same_forms(tmp_path):
    put_image(tmp_path, "images/validation/a.jpg", size=(1, 2))
    put_label(tmp_path, "annotations/panoptic_valid/a.png", [[[44, 1, 0], [0, 0, 0]]])
    content = {
        "images": [{"id": "1", "file_name": "/x/a.jpg"}],
        "annotations": [
            {"image_id": 1.0, "file_name": "m\\a.png", "segments_info": [{"id": 300.0, "category_id": "2"}]}
        ],
        "categories": [{"id": "2", "name": "dog", "color": "#010203"}],
    }
    put_document(tmp_path, content, "annotations/panoptic_valid.json")
    dataset = load_dataset("coco-panoptic", tmp_path, "val")
    assert dataset[0].label.tolist() == [[0, 255]]
    assert dataset.labels.palette == ((1, 2, 3),)


def test_polygons_in_shares_of_the_image_are_refused(tmp_path):
    content = document("a.jpg", "b.jpg")
    content["annotations"][0]["segmentation"] = [[0.1, 0.1, 0.4, 0.1, 0.4, 0.6]]
    put_document(tmp_path, content, "annotations/train.json", "images/train/a.jpg", "images/train/b.jpg")
    assert len(load_dataset("coco-annotations", tmp_path, "train")) == 2  # one tiny object is no reason
    content["annotations"][1]["segmentation"] = [[0, 0, 1, 0, 1, 1, 0, 1]]
    (tmp_path / "annotations/train.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"between 0 and 1.*Multiply each x by the width"):
        load_dataset("coco-annotations", tmp_path, "train", background="nothing")


@pytest.mark.peer
@pytest.mark.parametrize(
    "points",
    [
        [10, 10, 60, 10, 60, 50, 10, 50, 10, 10],
        [10, 10, 10, 10, 60, 10, 60, 50, 60, 50, 10, 50],
        [10, 10, 60, 50, 60, 10, 10, 50],
        [10, 10, 60, 10, 60, 50, 60, 80, 60, 50, 10, 50],
        [10, 10, 60, 10, 60, 60, 10, 60, 10, 10, 25, 25, 45, 25, 45, 45, 25, 45, 25, 25],
        [-20, -30, 130, 20, 50, 120],
    ],
    ids=["closed", "points twice", "a bow", "a spike", "a hole by a seam", "beyond the image"],
)
def test_polygons_with_area_are_those_of_pycocotools(points):
    from segpipe.data.annotations import has_area

    oracle = pytest.importorskip("pycocotools.mask")
    theirs = oracle.decode(oracle.merge(oracle.frPyObjects([list(map(float, points))], 90, 100)))
    ours = rasterize_polygon(points, (90, 100))
    assert has_area(points)
    assert (ours != theirs).sum() / (ours | theirs).sum() < 0.05
    assert np.abs(ours.astype(int) - theirs).sum(axis=1).max() <= 4  # along edges alone
