"""The result object: ModelScope's keys, shares, pictures, files and documents."""

from __future__ import annotations

import copy
import errno
import json
import math
import pickle

import numpy as np
import pytest
from PIL import Image

from segpipe.data.rle import decode_mask
from segpipe.drawing.overlay import complete_palette
from segpipe.errors import InputError, UnknownNameError
from segpipe.pipelines.results.segmentation import Segmentation

NAMES = ("sky", "road", "car", "tree")
PALETTE = ((10, 20, 30), (40, 50, 60), (70, 80, 90), (100, 110, 120))
LABEL_MAP = np.array([[3, 3, 3, 4], [1, 1, 3, 4], [1, 255, 3, 3]], np.uint8)  # 4 and 255 are void


def make_result(**changes):
    arguments = {
        "label_map": LABEL_MAP.copy(),
        "class_scores": {1: 0.9, 3: 0.5},
        "names": NAMES,
        "palette": PALETTE,
        "image": np.full((3, 4, 3), 200, np.uint8),
        "source": "street.jpg",
    }
    return Segmentation(**{**arguments, **changes})


def test_it_is_a_mapping_with_modelscopes_keys():
    result = make_result()
    assert (len(result), list(result)) == (3, ["masks", "labels", "scores"])
    assert set(dict(result)) == {"masks", "labels", "scores"}
    assert "masks" in result
    assert "boxes" not in result
    assert result.get("boxes") is None
    with pytest.raises(KeyError, match="masks, labels, scores"):
        result["boxes"]


def test_classes_present_come_in_ascending_order_and_void_is_left_out():
    result = make_result()
    assert result["labels"] == ["road", "tree"]
    assert result["scores"] == [0.9, 0.5]
    assert result.classes == [1, 3]
    assert result.areas == [3, 6]


def test_masks_are_zero_and_one_in_uint8():
    masks = make_result()["masks"]
    assert [mask.dtype for mask in masks] == [np.uint8, np.uint8]
    assert masks[0].tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0]]
    assert masks[1].tolist() == [[1, 1, 1, 0], [0, 0, 1, 0], [0, 0, 1, 1]]


def test_shares_are_of_the_whole_picture():
    assert make_result().shares == {"road": 0.25, "tree": 0.5}


def test_mask_by_name_may_be_empty_but_must_be_known():
    result = make_result()
    assert result.mask("road").sum() == 3
    assert result.mask("sky").sum() == 0
    with pytest.raises(UnknownNameError, match="Did you mean 'road'"):
        result.mask("raod")


def test_scores_may_be_an_array_and_may_be_missing():
    assert make_result(class_scores=np.array([0.1, 0.2, 0.3, 0.4])).scores == [0.2, 0.4]
    road, tree = make_result(class_scores={1: 0.5}).scores
    assert road == 0.5
    assert math.isnan(tree)


def test_sixteen_bit_label_maps_count_right():
    names = [f"class {index}" for index in range(1000)]
    label_map = np.random.default_rng(0).integers(0, 1001, (700, 600)).astype(np.uint16)
    result = make_result(label_map=label_map, names=names, palette=None, image=None, class_scores=np.ones(1000))
    assert result.areas == [int((label_map == index).sum()) for index in range(1000)]
    assert result.mask("class 999").sum() == result.areas[-1]


def test_overlay_blends_and_leaves_void_alone():
    overlay = make_result().overlay(0.5, borders=False)
    assert overlay[1, 0].tolist() == [120, 125, 130]
    assert overlay[2, 1].tolist() == overlay[0, 3].tolist() == [200, 200, 200]
    assert make_result().colorize()[2, 1].tolist() == [0, 0, 0]


def test_overlay_needs_the_picture_of_the_label_map():
    with pytest.raises(InputError, match="without its image"):
        make_result(image=None).overlay()
    with pytest.raises(InputError, match=r"\(4, 3, 3\)"):
        make_result(image=np.zeros((4, 3, 3), np.uint8))


@pytest.mark.parametrize(
    "label_map", [np.zeros((2, 2), np.int64), np.zeros((2, 2, 1), np.uint8), np.zeros((0, 2), np.uint8)]
)
def test_wrong_label_maps_are_refused(label_map):
    with pytest.raises(InputError, match="uint8 or uint16"):
        make_result(label_map=label_map, image=None)


def test_saving_makes_folders_and_leaves_nothing_else(tmp_path):
    result = make_result()
    path = result.save(tmp_path / "new" / "deeper" / "overlay.png")
    assert np.array_equal(np.asarray(Image.open(path)), result.overlay())
    assert json.loads(result.save(tmp_path / "new" / "result.json").read_text("utf-8")) == result.to_dict()
    assert Image.open(result.save(str(tmp_path / "new" / "overlay.JPG"))).size == (4, 3)
    assert sorted(entry.name for entry in (tmp_path / "new").iterdir()) == ["deeper", "overlay.JPG", "result.json"]


def test_unknown_suffix_is_refused_before_anything_is_written(tmp_path):
    for method in (make_result().save, make_result().save_label_map):
        with pytest.raises(InputError, match=r"\.png"):
            method(tmp_path / "result.xyz")
    assert list(tmp_path.iterdir()) == []


def test_failed_saving_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "overlay.png"
    path.write_bytes(b"old")

    def fail(source, target):
        raise OSError(errno.ENOSPC, "disk full", source)

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full") as caught:
        make_result().save(path)
    assert caught.value.filename == str(path)
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == [b"old"]


def test_label_map_is_saved_as_palette_png_with_its_values(tmp_path):
    picture = Image.open(make_result().save_label_map(tmp_path / "labels.png"))
    assert picture.mode == "P"
    assert np.array_equal(np.asarray(picture), LABEL_MAP)
    assert picture.convert("RGB").getpixel((0, 1)) == (40, 50, 60)
    assert picture.convert("RGB").getpixel((1, 2)) == (0, 0, 0)


def test_label_map_of_many_classes_is_saved_as_sixteen_bit_grey(tmp_path):
    label_map = np.array([[0, 299], [255, 300]], np.uint16)
    result = make_result(label_map=label_map, names=["x"] * 300, palette=None, image=None)
    picture = Image.open(result.save_label_map(tmp_path / "labels.png"))
    assert picture.mode.startswith("I")
    assert np.array_equal(np.asarray(picture), label_map)


def test_legend_widens_the_overlay(tmp_path):
    picture = Image.open(make_result().save_overlay(tmp_path / "overlay.png", legend=True))
    assert picture.width > 100
    assert (40, 50, 60) in [color for _, color in picture.getcolors(maxcolors=10_000)]


def test_a_legend_beside_a_low_image_lists_all_classes():
    label_map = np.arange(12, dtype=np.uint8).repeat(10)[None].repeat(30, axis=0)
    names = [f"class {index}" for index in range(12)]
    result = make_result(label_map=label_map, names=names, palette=None, image=np.zeros((30, 120, 3), np.uint8))
    shown = {tuple(color) for color in result.overlay(legend=True)[:, 140:].reshape(-1, 3).tolist()}
    assert {tuple(color) for color in complete_palette(None, 12).tolist()} <= shown


def test_document_follows_its_schema():
    document = json.loads(make_result(class_scores={1: 0.9}).to_json())
    assert list(document) == ["source", "height", "width", "segments"]
    assert (document["source"], document["height"], document["width"]) == ("street.jpg", 3, 4)
    road, tree = document["segments"]
    counts = road.pop("rle")
    assert road == {"class_index": 1, "label": "road", "score": 0.9, "share": 0.25, "area": 3}
    assert counts["size"] == [3, 4]
    assert np.array_equal(decode_mask(counts["counts"], (3, 4)), LABEL_MAP == 1)
    assert tree["score"] is None


def test_document_comes_back_as_an_equal_result():
    result = make_result(label_map=np.array([[0, 1], [3, 4]], np.uint8), image=None, class_scores=np.full(4, 0.5))
    document = json.loads(result.to_json())
    assert Segmentation.from_dict(document, names=NAMES, palette=PALETTE) == result
    image = np.zeros((*result.size, 3), np.uint8)
    assert np.array_equal(Segmentation.from_dict(document, names=NAMES, image=image).image, image)
    unnamed = Segmentation.from_dict(document)
    assert unnamed.names == ("sky", "road", "class 2", "tree")
    assert np.array_equal(unnamed.label_map, result.label_map)


@pytest.mark.parametrize("document", [{}, {"source": "a", "height": "x", "width": 1, "segments": []}])
def test_other_documents_are_refused(document):
    with pytest.raises(InputError, match="not a segmentation document"):
        Segmentation.from_dict(document)


def test_document_with_too_few_names_is_refused():
    with pytest.raises(InputError, match="class index 3 and there are 2 names"):
        Segmentation.from_dict(make_result().to_dict(), names=("sky", "road"))


def test_results_compare_copy_and_pickle():
    result = make_result(timings={"forward": 0.1})
    result["masks"]
    for other in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result), make_result()):
        assert other == result
    assert pickle.loads(pickle.dumps(result)).timings == {"forward": 0.1}
    assert len(pickle.dumps(result)) == len(pickle.dumps(make_result(timings={"forward": 0.1})))
    assert result != make_result(class_scores={1: 0.9, 3: 0.6})
    assert result != make_result(label_map=np.zeros((3, 4), np.uint8))
    assert result != {"masks": [], "labels": [], "scores": []}
    assert make_result(class_scores={}) == make_result(class_scores={})


def test_attributes_cannot_be_replaced():
    with pytest.raises(AttributeError):
        make_result().label_map = LABEL_MAP
    with pytest.raises(AttributeError):
        make_result().color = "red"


def test_printing_shows_the_largest_class_first():
    assert str(make_result()).splitlines() == [
        "street.jpg: 3 × 4 pixels, 2 of 4 classes",
        "  class   share  score",
        "  tree   50.0 %  0.500",
        "  road   25.0 %  0.900",
    ]
    assert repr(make_result()) == "<Segmentation of street.jpg, 3 × 4: tree 50.0 %, road 25.0 %>"


def test_printing_sums_up_what_is_small():
    label_map = np.arange(100, dtype=np.uint8).reshape(10, 10)
    text = str(make_result(label_map=label_map, names=["天空"] * 100, palette=None, image=None, class_scores={}))
    lines = text.splitlines()
    assert len(lines) == 23
    assert lines[-1] == "  and 80 more  80.0 %"
    assert lines[2] == "  天空          1.0 %    nan"


def test_a_picture_of_void_alone_has_no_class(tmp_path):
    result = make_result(label_map=np.full((3, 4), 255, np.uint8))
    assert (result["masks"], result["labels"], result["scores"], result.shares) == ([], [], [], {})
    assert "no class" in repr(result)
    assert "0 of 4 classes" in str(result)
    assert result.to_dict()["segments"] == []
    assert result.save_overlay(tmp_path / "a.png", legend=True).exists()
