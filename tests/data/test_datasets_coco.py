"""COCO's JSON: polygons, run lengths and panoptic segments with labels worked out by hand."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pytest
from dataset_material import put_image, put_label, put_text, rasterize_polygon
from preparing_material import encode_mask

from segpipe.data import load_dataset
from segpipe.data.annotations import read_annotations
from segpipe.data.datasets.lists import read_names
from segpipe.data.rle import decompress_counts
from segpipe.errors import ImageDecodeError, InputError

CATEGORIES = [{"id": 1, "name": "person"}, {"id": 5, "name": "dog"}, {"id": 90, "name": "sky"}]


def put_coco(root, annotations, size=(4, 5), name="annotations/instances_val2017.json"):
    images = [{"id": index, "file_name": f"{index}.jpg", "height": size[0], "width": size[1]} for index in (1, 2)]
    for image in images:
        put_image(root, f"val2017/{image['file_name']}", size=size)
    document = {"info": {}, "images": images, "annotations": annotations, "categories": CATEGORIES}
    put_text(root, name, json.dumps(document))


def test_coco_polygons_and_run_lengths(tmp_path):
    square = [[1, 0, 3, 0, 3, 2, 1, 2]]
    column = {"counts": encode_mask(np.eye(5)[[4] * 4]), "size": [4, 5]}
    diagonal = {"counts": decompress_counts(encode_mask(np.eye(4, 5))).tolist(), "size": [4, 5]}
    shapes = ((5, square), (90, column), (1, diagonal))
    put_coco(tmp_path, [{"image_id": 1, "category_id": id_, "segmentation": shape} for id_, shape in shapes])
    dataset = load_dataset("coco-annotations", tmp_path, "val")
    assert dataset.labels.names == ("person", "dog", "sky")
    assert len(dataset) == 1  # the second image has no objects
    # All three have four pixels: where dog and person meet, the later one, the person, wins.
    v = 255
    assert dataset[0].label.tolist() == [[0, 1, 1, v, 2], [v, 0, 1, v, 2], [v, v, 0, v, 2], [v, v, v, 0, 2]]


@pytest.mark.parametrize("counts", [[20], [20, 0], encode_mask(np.zeros((4, 5)))])
def test_coco_run_lengths_without_a_pixel_are_no_mask(tmp_path, counts):
    mask = {"counts": counts, "size": [4, 5]}
    whole = {"image_id": 1, "category_id": 5, "segmentation": [[0, 0, 1, 0, 1, 1, 0, 1]]}
    put_coco(tmp_path, [whole, {"image_id": 1, "category_id": 1, "segmentation": mask, "bbox": [2, 1, 2, 2]}])
    dataset = load_dataset("coco-annotations", tmp_path, "val", background="background")
    assert dataset[0].label.tolist() == [[2, 0, 0, 0, 0], [0, 0, 255, 255, 0], [0, 0, 255, 255, 0], [0] * 5]
    assert [note.kind for note in dataset.notes] == ["no-mask", "dropped"]


def test_coco_small_objects_lie_on_large_ones(tmp_path):
    put_coco(
        tmp_path,
        [
            {"image_id": 2, "category_id": 5, "segmentation": [[1, 1, 2, 1, 2, 2, 1, 2]]},
            {"image_id": 2, "category_id": 90, "segmentation": [[0, 0, 5, 0, 5, 2, 0, 2]]},
        ],
    )
    label = load_dataset("coco-annotations", tmp_path, "val")[0].label
    assert label[:2].tolist() == [[2, 2, 2, 2, 2], [2, 1, 2, 2, 2]]


def test_coco_background_is_a_class_where_it_has_a_name(tmp_path):
    put_coco(tmp_path, [{"image_id": 1, "category_id": 5, "segmentation": [[0, 0, 5, 0, 5, 1, 0, 1]]}])
    dataset = load_dataset("coco-annotations", tmp_path, "val", background="background")
    assert dataset.labels.names == ("background", "person", "dog", "sky")
    assert dataset.labels.raw_ids == (0, 1, 5, 90)
    assert [np.unique(sample.label).tolist() for sample in dataset] == [[0, 2], [0]]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"image_id": 1, "category_id": 5, "segmentation": "x"}, r"COCO's JSON: .*\$\.annotations\[0\]"),
        ({"image_id": 1, "category_id": 5, "segmentation": [[0, 0, 1e300, 0, 1, 1]]}, "each within ±1e.09"),
        ({"image_id": 1, "category_id": 5, "segmentation": {"counts": [2**62] * 4 + [20], "size": [4, 5]}}, "not all"),
        ({"image_id": 1, "category_id": 5, "segmentation": {"counts": [2**70], "size": [4, 5]}}, "whole numbers"),
        ({"image_id": 1, "category_id": 5, "segmentation": {"counts": [30], "size": [5, 6]}}, "has size .5, 6."),
    ],
)
def test_bad_coco_objects_are_explained(tmp_path, annotation, message):
    put_coco(tmp_path, [annotation])
    with pytest.raises((InputError, ImageDecodeError), match=message):
        load_dataset("coco-annotations", tmp_path, "val")[0]


SQUARE = {"category_id": 1, "segmentation": [[1, 0, 4, 0, 4, 3, 1, 3]]}
"""Nine pixels of a person."""
WITH_SQUARE = [[0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]]


def label_and_notes(root, *objects, background="bg"):
    put_coco(root, [{"image_id": 1, **each} for each in (SQUARE, *objects)])
    dataset = load_dataset("coco-annotations", root, "val", background=background)
    return dataset[0].label.tolist(), [(note.kind, note.what) for note in dataset.notes]


@pytest.mark.parametrize("shape", [{"segmentation": []}, {"segmentation": None}, {}, {"segmentation": [[3, 3]]}])
def test_the_box_of_an_object_without_a_mask_is_ignored_and_counted(tmp_path, shape, caplog):
    label, notes = label_and_notes(tmp_path, {"category_id": 5, "bbox": [0, 2.5, 2, 1], "iscrowd": 1, **shape})
    # The box touches rows 2 and 3 and columns 0 and 1: four pixels, fewer than the person's nine.
    assert label == [[0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [255, 255, 1, 1, 0], [255, 255, 0, 0, 0]]
    assert "objects with a box and no mask, the pixels of whose boxes are ignored: 1 (1.jpg)" in notes[0][1]
    assert caplog.text.count("objects with a box and no mask") == 1


def test_a_small_mask_lies_on_the_box_of_a_larger_object(tmp_path):
    label, _ = label_and_notes(tmp_path, {"category_id": 5, "bbox": [0, 0, 5, 3]})
    assert label == [[255, 1, 1, 1, 255]] * 3 + [[0] * 5]
    nobody, _ = label_and_notes(tmp_path, {"category_id": 5, "bbox": [0, 0, 2, 4]}, background=None)
    assert nobody == [[255, 255, 0, 0, 255]] * 3 + [[255] * 5]


@pytest.mark.parametrize("box", [{}, {"bbox": None}, {"bbox": [1, 2]}, {"bbox": [0, 0, -3, 2]}, {"bbox": "?"}])
def test_an_object_without_mask_and_box_may_be_anywhere_in_its_image(tmp_path, box):
    label, notes = label_and_notes(tmp_path, {"category_id": 5, "segmentation": [], **box})
    assert label == [[255, 1, 1, 1, 255]] * 3 + [[255] * 5]
    assert "objects with neither, so that all pixels of no object are ignored: 1 (1.jpg)" in notes[0][1]


@pytest.mark.parametrize(
    "shape",
    [
        {"segmentation": [[3, 2]]},
        {"segmentation": [[0, 1, 4, 1, 2, 1]]},
        {"segmentation": [[1, 0, 1, 3, 1, 2]]},
        {"segmentation": [], "bbox": [1, 1, 0, 3]},
        {"segmentation": [], "bbox": [50, 1, 5, 3]},
    ],
)
def test_what_has_no_area_is_passed_over_and_counted(tmp_path, shape):
    label, notes = label_and_notes(tmp_path, {"category_id": 5, **shape})
    assert label == WITH_SQUARE
    assert notes == [
        ("dropped", "polygons, masks and boxes without area in their image, which are passed over: 1 (1.jpg)")
    ]


def test_objects_of_unknown_images_are_dropped_and_those_of_unknown_categories_ignored(tmp_path):
    label, notes = label_and_notes(
        tmp_path,
        {"category_id": 5, "image_id": 9, "segmentation": [[0, 0, 5, 0, 5, 4, 0, 4]]},
        {"category_id": 77, "segmentation": [[0, 0, 2, 0, 2, 1, 0, 1]]},
    )
    assert label == [[255, 255, 1, 1, 0], *WITH_SQUARE[1:]]
    assert [what.split(":")[1] for _, what in notes] == [" 1 (9)", " 1 (77)"]


def test_objects_none_of_which_has_a_mask_are_an_error(tmp_path):
    put_coco(tmp_path, [{"image_id": 1, "category_id": 5, "segmentation": [], "bbox": [0, 0, 2, 2]}] * 2)
    for background in (None, "bg"):
        with pytest.raises(InputError, match=r"None of the 2 objects .* has a mask .*: 2 have only a box, 0 neither"):
            load_dataset("coco-annotations", tmp_path, "val", background=background)


def test_images_without_an_object_are_left_out_and_named(tmp_path):
    _, notes = label_and_notes(tmp_path, background=None)
    assert notes == [("left-out", "images without the mask of any object, which are left out: 1 (2.jpg)")]


def forged(root, **changes):
    put_coco(root, [{"image_id": 1, **SQUARE}])
    path = root / "annotations/instances_val2017.json"
    document = json.loads(path.read_text())
    document["images"][0] |= changes
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 10**9, "width": 10**9}, "1000000000 × 1000000000"),
        ({"height": -4}, "-4 × 5"),
        ({"id": "2"}, "two images with the id '2'"),
        ({"file_name": "2.jpg"}, "two images with the file '2.jpg'"),
        ({"file_name": "../../secret.jpg"}, r"1 of which are not in .*secret\.jpg"),
        ({"file_name": "/etc/passwd"}, "1 of which are not in"),
        ({"file_name": "a\0.jpg"}, "1 of which are not in"),
    ],
)
def test_forged_coco_images_are_refused(tmp_path, changes, message):
    forged(tmp_path, **changes)
    with pytest.raises(InputError, match=message):
        load_dataset("coco-annotations", tmp_path, "val")


def test_annotation_files_are_regular_bounded_and_flat(tmp_path, monkeypatch):
    path = forged(tmp_path)
    text = path.read_text()
    path.write_text("\ufeff" + text)  # a byte-order mark is harmless
    assert len(load_dataset("coco-annotations", tmp_path, "val")) == 1
    path.write_text(text[:-1] + ', "x": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(InputError, match="recursion"):
        load_dataset("coco-annotations", tmp_path, "val")
    monkeypatch.setenv("SEGPIPE_MAX_ANNOTATION_BYTES", "99")
    with pytest.raises(InputError, match="at most 99 are read"):
        load_dataset("coco-annotations", tmp_path, "val")
    with pytest.raises(InputError, match="is a named pipe"):
        read_annotations(put_pipe(tmp_path), dict, "JSON")
    with pytest.raises(InputError, match="is a named pipe"):
        read_names(tmp_path / "pipe")  # a list of images


def put_pipe(root):
    os.mkfifo(root / "pipe")
    return root / "pipe"


@pytest.mark.parametrize(("name", "value"), [("DRAWN_PIXELS", "20"), ("POLYGON_CROSSINGS", "10")])
def test_what_is_drawn_into_one_label_is_bounded(tmp_path, monkeypatch, name, value):
    put_coco(tmp_path, [{"image_id": 1, **SQUARE}] * 3)  # nine pixels, and two edges that cross three rows, each
    dataset = load_dataset("coco-annotations", tmp_path, "val")
    assert (dataset[0].label == 0).sum() == 9
    monkeypatch.setenv(f"SEGPIPE_MAX_{name}", value)
    with pytest.raises(ImageDecodeError, match=f"need more than {value}"):
        dataset[0]


def test_coco_images_must_be_there(tmp_path):
    put_coco(tmp_path, [])
    (tmp_path / "val2017/2.jpg").unlink()
    with pytest.raises(InputError, match=r"names 2 images, 1 of which are not in .*val2017: 2\.jpg"):
        load_dataset("coco-annotations", tmp_path, "val")
    with pytest.raises(InputError, match="Looked for images/train2017, train2017"):
        load_dataset("coco-annotations", tmp_path, "train", annotations="annotations/instances_val2017.json")
    with pytest.raises(InputError, match=r"Looked for annotations/instances_test2017\.json"):
        load_dataset("coco-annotations", tmp_path, "test")


def put_panoptic(root, ids, segments):
    """One image; an id's color has its lowest byte in red."""
    put_image(root, "val2017/1.jpg", size=(1, len(ids)))
    put_label(root, "annotations/panoptic_val2017/1.png", [[[i & 255, i >> 8 & 255, i >> 16] for i in ids]])
    document = {
        "images": [{"id": 1, "file_name": "1.jpg", "height": 1, "width": len(ids)}],
        "annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": segments}],
        "categories": [{**entry, "color": [entry["id"], 0, 0]} for entry in CATEGORIES],
    }
    put_text(root, "annotations/panoptic_val2017.json", json.dumps(document))


def test_coco_panoptic_segments_become_their_categories(tmp_path):
    segments = [{"id": 300, "category_id": 5}, {"id": 70000, "category_id": 90}, {"id": 8, "category_id": 5}]
    put_panoptic(tmp_path, [300, 70000, 8, 0], segments)
    dataset = load_dataset("coco-panoptic", tmp_path, "validation")
    assert dataset[0].label.tolist() == [[1, 2, 1, 255]]
    assert dataset.labels.palette == ((1, 0, 0), (5, 0, 0), (90, 0, 0))
    assert pickle.loads(pickle.dumps(dataset))[0].label.tolist() == [[1, 2, 1, 255]]


def test_coco_panoptic_segments_must_be_described(tmp_path):
    put_panoptic(tmp_path, [300, 8], [{"id": 300, "category_id": 5}])
    with pytest.raises(ImageDecodeError, match=r"1\.png has 1 colors .*\(8, 0, 0\) on 1 pixels"):
        load_dataset("coco-panoptic", tmp_path, "val")[0]
    put_panoptic(tmp_path, [300], [{"id": 300, "category_id": 5}, {"id": 300, "category_id": 1}])
    with pytest.raises(InputError, match=r"1\.png has a segment id twice"):
        load_dataset("coco-panoptic", tmp_path, "val")


def test_panoptic_labels_lie_in_their_folder_and_what_is_not_listed_is_counted(tmp_path):
    put_panoptic(tmp_path, [300, 8], [{"id": 300, "category_id": 5}, {"id": 8, "category_id": 77}])
    dataset = load_dataset("coco-panoptic", tmp_path, "val")
    assert dataset[0].label.tolist() == [[1, 255]]
    assert [note.what for note in dataset.notes] == [
        "segments of categories that are not listed, which are ignored: 1 (77)"
    ]
    path = tmp_path / "annotations/panoptic_val2017.json"
    document = json.loads(path.read_text())
    put_label(tmp_path, "secret.png", [[[44, 1, 0]]])
    document["annotations"][0]["file_name"] = "../../secret.png"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"1 of which are not in .*panoptic_val2017: \.\./"):
        load_dataset("coco-panoptic", tmp_path, "val")


@pytest.mark.parametrize("identity", [0, -5, 2**24, 2**70])
def test_panoptic_segment_ids_are_those_of_a_color(tmp_path, identity):
    put_panoptic(tmp_path, [300], [{"id": identity, "category_id": 5}])
    with pytest.raises(InputError, match="not in 1–16777215"):
        load_dataset("coco-panoptic", tmp_path, "val")


def test_polygons_hold_the_pixels_whose_centres_are_inside():
    square = rasterize_polygon([1, 0, 3, 0, 3, 2, 1, 2], (3, 4))
    assert square.tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    triangle = rasterize_polygon([0, 0, 4.2, 0, 0, 4.2], (5, 5))  # x + y + 1 < 4.2 at the centres
    assert triangle.tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0] * 5]
    assert rasterize_polygon([-5, -5, 50, -5, 50, 50, -5, 50], (3, 4)).all()
    assert not rasterize_polygon([10, 10, 20, 10, 20, 20], (3, 4)).any()


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(5))
def test_polygons_are_nearly_those_of_pycocotools(seed):
    oracle = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.random(9)) * 2 * np.pi
    radii = rng.uniform(15, 40, 9)
    points = np.stack([50 + radii * np.cos(angles), 45 + radii * np.sin(angles)], axis=1).ravel().tolist()
    ours = rasterize_polygon(points, (90, 100))
    theirs = oracle.decode(oracle.merge(oracle.frPyObjects([points], 90, 100)))
    assert (ours != theirs).sum() / (ours | theirs).sum() < 0.03  # it rounds corners to fifths of a pixel
