"""Classes as other tools write them beside masks."""

from __future__ import annotations

import logging

import pytest
from dataset_material import put_image, put_label, put_text

from segpipe.data import load_dataset
from segpipe.data.label_sets import find_class_table, read_class_table
from segpipe.errors import InputError


def read(folder, text, name="_classes.csv", **how):
    (folder / name).write_text(text, **how)
    return read_class_table(folder / name)


def test_roboflows_classes_are_read(tmp_path):
    labels = read(tmp_path, "Pixel Value, Class\n0, background\n1, road, wet\n2, car\n")
    assert labels.names == ("background", "road, wet", "car")
    assert labels.raw_ids is None
    assert labels.palette is None
    assert find_class_table([tmp_path / "none", tmp_path]) == tmp_path / "_classes.csv"
    assert find_class_table([tmp_path / "none"]) is None


@pytest.mark.parametrize(
    "text", ["Pixel Value,Class\r\n3.0,a\r\n7,b\r\n", "\ufeffClass;Pixel Value\n\na;3\nb;7\n", 'Id\tName\n3\t"a"\n7\tb']
)
def test_a_table_has_its_columns_in_any_order_and_any_values(tmp_path, text):
    labels = read(tmp_path, text)
    assert (labels.names, labels.raw_ids) == (("a", "b"), (3, 7))


@pytest.mark.parametrize(
    "text",
    [
        "name,r,g,b\nsky,0,0,128\nroad,128,64,0\n",
        "Name;Color\nsky;#000080\nroad;#804000\n",
        'Class,RGB\nsky,"(0, 0, 128)"\nroad,128 64 0\n',
    ],
)
def test_a_table_may_have_colors(tmp_path, text):
    labels = read(tmp_path, text, "class_dict.csv")
    assert (labels.names, labels.palette) == (("sky", "road"), ((0, 0, 128), (128, 64, 0)))
    assert labels.raw_ids is None


def test_cvats_labelmap_is_read(tmp_path):
    text = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,0::\n"
    labels = read(tmp_path, text, "labelmap.txt")
    assert (labels.names, labels.palette) == (("background", "road"), ((0, 0, 0), (128, 64, 0)))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("_classes.csv", "", "first line is ''"),
        ("_classes.csv", "filename, cat, dog\na.jpg, 1, 0", "first line is 'filename, cat, dog'"),
        ("_classes.csv", "Pixel Value, Class\nx, a", "could not convert"),
        ("_classes.csv", "Pixel Value, Class\n0.5, a", "'0.5' is not a whole number"),
        ("_classes.csv", "Pixel Value, Class\ninf, a", "'inf' is not a whole number"),
        ("_classes.csv", "Pixel Value, Class\n5", "'5' is too short"),
        ("_classes.csv", "Pixel Value, Class\n70000, a", "0–65535"),
        ("_classes.csv", "Pixel Value, Class\n0, ", "without a name"),
        ("_classes.csv", "Pixel Value, Class\n", "no class"),
        ("_classes.csv", "Pixel Value, Class\n0, a\n1, a", "'a' 2 times"),
        ("class_dict.csv", "name,r,g,b\na,1,2,300", "which is not a color"),
        ("class_dict.csv", "name,color\na,#12", "#12"),
        ("class_dict.csv", "name,color\na,red", "'red' is not a color"),
        ("labelmap.txt", "a:1,2::", "not a color"),
        ("labelmap.txt", "a", "too short"),
    ],
)
def test_what_is_no_table_of_classes_is_refused(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text, name)


def test_roboflows_export_of_masks_opens_as_it_is(tmp_path, caplog):
    for place, folder in enumerate(("train", "valid", "test")):
        put_text(tmp_path, f"{folder}/_classes.csv", "Pixel Value, Class\n0, background\n1, crack\n")
        put_image(tmp_path, f"{folder}/{folder}_jpg.rf.0a1b.jpg", level=place)
        put_label(tmp_path, f"{folder}/{folder}_jpg.rf.0a1b_mask.png", [[0, 1, 0]])
    for split, folder in (("train", "train"), ("val", "valid"), ("test", "test")):
        with caplog.at_level(logging.INFO):
            dataset = load_dataset("folder", tmp_path, split)
        assert dataset.labels.names == ("background", "crack")
        assert [sample.label.tolist() for sample in dataset] == [[[0, 1, 0]]]
        assert f"the classes are those of {tmp_path}/{folder}/_classes.csv" in caplog.text


def test_what_the_caller_says_and_labels_json_come_before_a_table(tmp_path):
    put_text(tmp_path, "class_dict.csv", "name,r,g,b\nsky,0,0,128\nroad,128,64,0\n")
    put_image(tmp_path, "images/a.jpg", size=(1, 2))
    put_label(tmp_path, "masks/a.png", [[[128, 64, 0], [0, 0, 128]]])
    dataset = load_dataset("folder", tmp_path, "all")
    assert (dataset.labels.names, dataset[0].label.tolist()) == (("sky", "road"), [[1, 0]])
    put_text(tmp_path, "mine.csv", "name,r,g,b\nup,0,0,128\ndown,128,64,0\n")
    assert load_dataset("folder", tmp_path, "all", label_set=str(tmp_path / "mine.csv")).labels.names == ("up", "down")
    put_text(tmp_path, "labels.json", '{"names": ["up", "down"]}')
    assert load_dataset("folder", tmp_path, "all").labels.names == ("up", "down")
    assert load_dataset("folder", tmp_path, "all", names=["x", "y"]).labels.names == ("x", "y")
