"""COCO's JSON: polygons, run lengths and panoptic segments with labels worked out by hand."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from dataset_material import put_image, put_label, put_text

from segpipe.data import load_dataset
from segpipe.data.datasets.polygons import rasterise_polygon
from segpipe.data.rle import encode_mask, mask_to_counts
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
    diagonal = {"counts": mask_to_counts(np.eye(4, 5)).tolist(), "size": [4, 5]}
    shapes = ((5, square), (90, column), (1, diagonal))
    put_coco(tmp_path, [{"image_id": 1, "category_id": id_, "segmentation": shape} for id_, shape in shapes])
    dataset = load_dataset("coco-annotations", tmp_path, "val")
    assert dataset.labels.names == ("person", "dog", "sky")
    assert len(dataset) == 1  # the second picture has no objects
    # All three have four pixels: where dog and person meet, the later one, the person, wins.
    v = 255
    assert dataset[0].label.tolist() == [[0, 1, 1, v, 2], [v, 0, 1, v, 2], [v, v, 0, v, 2], [v, v, v, 0, 2]]


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
        ({"image_id": 9, "category_id": 5, "segmentation": [[0, 0, 1, 0, 1, 1]]}, "object of picture 9"),
        ({"image_id": 1, "category_id": 4, "segmentation": [[0, 0, 1, 0, 1, 1]]}, "category 4"),
        ({"image_id": 1, "category_id": 5, "segmentation": "x"}, r"COCO's JSON: .*\$\.annotations\[0\]"),
        ({"image_id": 1, "category_id": 5, "segmentation": [[0, 0]]}, "x and y of three points"),
        ({"image_id": 1, "category_id": 5, "segmentation": {"counts": [30], "size": [5, 6]}}, "has size .5, 6."),
    ],
)
def test_bad_coco_objects_are_explained(tmp_path, annotation, message):
    put_coco(tmp_path, [annotation])
    with pytest.raises((InputError, ImageDecodeError), match=message):
        load_dataset("coco-annotations", tmp_path, "val")[0]


def test_coco_pictures_must_be_there(tmp_path):
    put_coco(tmp_path, [])
    (tmp_path / "val2017/2.jpg").unlink()
    with pytest.raises(InputError, match=r"names 2 pictures, 1 of which are not in .*val2017: 2\.jpg"):
        load_dataset("coco-annotations", tmp_path, "val")
    with pytest.raises(InputError, match="Looked for images/train2017, train2017"):
        load_dataset("coco-annotations", tmp_path, "train", annotations="annotations/instances_val2017.json")
    with pytest.raises(InputError, match=r"Looked for annotations/instances_test2017\.json"):
        load_dataset("coco-annotations", tmp_path, "test")


def put_panoptic(root, ids, segments):
    """One picture; an id's colour has its lowest byte in red."""
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
    with pytest.raises(ImageDecodeError, match=r"1\.png has 1 colours .*\(8, 0, 0\) on 1 pixels"):
        load_dataset("coco-panoptic", tmp_path, "val")[0]
    put_panoptic(tmp_path, [300], [{"id": 300, "category_id": 5}, {"id": 300, "category_id": 1}])
    with pytest.raises(InputError, match=r"1\.png has a segment id twice"):
        load_dataset("coco-panoptic", tmp_path, "val")


def test_polygons_hold_the_pixels_whose_centres_are_inside():
    square = rasterise_polygon([1, 0, 3, 0, 3, 2, 1, 2], (3, 4))
    assert square.tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    triangle = rasterise_polygon([0, 0, 4.2, 0, 0, 4.2], (5, 5))  # x + y + 1 < 4.2 at the centres
    assert triangle.tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0] * 5]
    assert rasterise_polygon([-5, -5, 50, -5, 50, 50, -5, 50], (3, 4)).all()
    assert not rasterise_polygon([10, 10, 20, 10, 20, 20], (3, 4)).any()


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(5))
def test_polygons_are_nearly_those_of_pycocotools(seed):
    oracle = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.random(9)) * 2 * np.pi
    radii = rng.uniform(15, 40, 9)
    points = np.stack([50 + radii * np.cos(angles), 45 + radii * np.sin(angles)], axis=1).ravel().tolist()
    ours = rasterise_polygon(points, (90, 100))
    theirs = oracle.decode(oracle.merge(oracle.frPyObjects([points], 90, 100)))
    assert (ours != theirs).sum() / (ours | theirs).sum() < 0.03  # it rounds corners to fifths of a pixel
