"""Tiny data sets as they are published, for the tests of preparing, and what is read of them."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from segpipe.data.rle import decompress_counts, encode_label_map


def encode_mask(mask):
    """Encode a mask (H, W), in which everything but 0 is inside."""
    return encode_label_map(mask != 0, [True])[0]


def put_image(path, size=(1, 3), level=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size[1], size[0]), (level,) * 3).save(path)
    return path


def put_label(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(rows, np.uint8)).save(path)
    return path


def put_json(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def pixels(path):
    return np.asarray(Image.open(path)).tolist()


def labels_of(dataset):
    return [sample.label.tolist() for sample in dataset]


# Cityscapes


def polygons(*objects, size=(4, 6)):
    shapes = [{"label": label, "polygon": points, **rest} for label, points, rest in objects]
    return {"imgHeight": size[0], "imgWidth": size[1], "objects": shapes}


def box(left, top, right, bottom):
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def put_city(root, stem="ulm_0", ids=None, outlines=None):
    put_image(root / f"leftImg8bit/val/ulm/{stem}_leftImg8bit.png", (4, 6))
    if ids is not None:
        put_label(root / f"gtFine/val/ulm/{stem}_gtFine_labelIds.png", ids)
    if outlines is not None:
        put_json(root / f"gtFine/val/ulm/{stem}_gtFine_polygons.json", outlines)
    return root / f"gtFine/val/ulm/{stem}_gtFine_labelTrainIds.png"


IDS = [[7, 8, 11, 33, 0, 9]] * 4
TRAIN_IDS = [[0, 1, 2, 18, 255, 255]] * 4


# COCO-Stuff


def put_coco(root, split="val2017", stems=("0001", "0002"), raw=((0, 13, 12, 181, 255, 11),)):
    for stem in stems:
        put_image(root / f"images/{split}/{stem}.jpg", (1, 6))
        put_label(root / f"annotations/{split}/{stem}.png", raw)


# PASCAL-Context


def runs(mask, compressed=True):
    mask = np.array(mask, np.uint8)
    counts = encode_mask(mask)
    return {"size": list(mask.shape), "counts": counts if compressed else decompress_counts(counts).tolist()}


def put_context(root, voc="VOCdevkit/VOC2010"):
    """A cow (98) before the sky (360) to train with; wood (458) and a number that is not a class to validate."""
    stems = [("2008_000002", "train"), ("2008_000003", "val"), ("2008_000004", "test")]
    for stem, _ in stems:
        put_image(root / voc / f"JPEGImages/{stem}.jpg", (2, 3))
    images = [
        {"image_id": int(stem.replace("_", "")), "file_name": f"{stem}.jpg", "height": 2, "width": 3, "phase": phase}
        for stem, phase in stems
    ]
    masks = [
        (2008000002, 360, runs([[1, 1, 1], [0, 0, 0]])),
        (2008000002, 98, runs([[0, 1, 0], [0, 1, 0]], compressed=False)),
        (2008000003, 458, runs([[0, 0, 0], [0, 0, 1]])),
        (2008000003, 459, runs([[0, 0, 1], [0, 0, 0]])),
    ]
    annotations = [
        {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": 0}
        for number, (image, category, segmentation) in enumerate(masks)
    ]
    document = {"info": {}, "images": images, "annos_segmentation": annotations, "parts": [], "categories": []}
    return put_json(root / voc / "trainval_merged.json", document)


# CamVid

ROAD, LANE, SKY, BLACK, SMOOTHED = (128, 64, 128), (128, 0, 192), (128, 128, 128), (0, 0, 0), (26, 26, 26)


def put_camvid(root, *stems):
    for level, stem in enumerate(stems):
        put_image(root / f"701_StillsRaw_full/{stem}.png", (1, 4), level)
        put_label(root / f"LabeledApproved_full/{stem}_L.png", [[ROAD, LANE, SKY, BLACK]])
