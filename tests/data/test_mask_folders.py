"""Folders of images and masks as people lay them: other names, one folder for both, lists of several kinds."""

import logging
import re
import unicodedata
from pathlib import Path

import pytest
from dataset_material import NAMES, labels_of, put_image, put_label, put_text

from segpipe.data import load_dataset
from segpipe.data.datasets.lists import read_rows
from segpipe.errors import InputError, MissingSplitError

ROW = [[0, 1, 2]]


def put_pairs(root, pairs):
    """Put an image and a mask of other values for each pair of names, so that a wrong pairing shows."""
    for value, (image, mask) in enumerate(pairs):
        put_image(root, image, level=value)
        put_label(root, mask, [[value] * 3])


def values_of(dataset):
    """The value of each image's mask, by the image's name."""
    return {name: rows[0][0] for name, rows in labels_of(dataset).items()}


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/train/{}.jpg", "labels/train/{}_mask.png"),
        ("images/train/{}.jpg", "masks/train/{}_label.png"),
        ("images/train/{}.jpg", "masks/train/{}-mask.png"),
        ("images/train/{}.jpg", "masks/train/{}_gt.png"),
        ("images/train/{}.jpg", "masks/train/{}_seg.png"),
        ("images/train/{}.jpg", "masks/train/{}_labelIds.png"),
        ("images/train/{}.jpg", "masks/train/{}.mask.png"),
        ("images/train/{}.JPG", "masks/train/{}.PNG"),
        ("images/train/{}.jpg", "masks/train/{}_anything.tif"),
        ("images/train/{}.jpg", "masks/train/{}.jpg.png"),
        ("images/train/{}_sat.jpg", "masks/train/{}_mask.png"),
        ("images/train/{}_leftImg8bit.png", "masks/train/{}_gtFine_labelIds.png"),
        ("images/train/image_{}.jpg", "masks/train/mask_{}.png"),
        ("images/train/img{}.jpg", "masks/train/mask{}.png"),
        ("images/train/deep/{}.jpg", "masks/train/deep/{}_mask.png"),
        ("train/{}.jpg", "train/{}_mask.png"),
        ("train/{}.png", "train/{}_mask.png"),
        ("train/street_{}.png", "train/street_{}_L.png"),
        ("train/{}_sat.jpg", "train/{}_mask.png"),
        ("train/{}.jpg", "train/{}.png"),
        ("train/{}_leftImg8bit.png", "train/{}_gtFine_labelIds.png"),
        ("train/scene{}/image.png", "train/scene{}/mask.png"),
        ("train/target_{}.png", "train/target_{}_mask.png"),
        ("train/{}.jpg", "train/masks/{}.png"),
        ("train/{}.jpg", "trainannot/{}.png"),
        ("train/{}.jpg", "train_labels/{}_L.png"),
        ("train_images/{}.jpg", "train_masks/{}.png"),
        ("training_images/{}.jpg", "training_masks/{}.png"),
        ("imagesTrain/{}.jpg", "labelsTrain/{}.png"),
        ("Images/Train/{}.jpg", "Masks/Train/{}.png"),
        ("img_dir/train/{}.jpg", "ann_dir/train/{}.png"),
        ("training/images/{}.jpg", "training/ground_truth/{}.png"),
    ],
)
def test_an_image_finds_its_mask(tmp_path, image, mask):
    put_pairs(tmp_path, [(image.format(name), mask.format(name)) for name in ("1", "2", "3")])
    dataset = load_dataset("folder", tmp_path, "train", names=NAMES)
    assert [int(sample.label[0, 0]) for sample in dataset] == [0, 1, 2]
    assert [int(sample.image[0, 0, 0]) for sample in dataset] == pytest.approx([0, 1, 2], abs=1)


@pytest.mark.parametrize(
    ("image", "mask"),
    [("images/{}.jpg", "masks/{}_mask.png"), ("{}.jpg", "{}_mask.png"), ("{}.jpg", "{}.png"),
     ("all/{}.jpg", "all/{}.png"), ("{}.jpg", "masks/{}.png"), ("JPEGImages/{}.jpg", "SegmentationClass/{}.png")],
)  # fmt: skip
def test_a_folder_without_splits_is_all_of_it(tmp_path, image, mask):
    put_pairs(tmp_path, [(image.format(name), mask.format(name)) for name in ("street 1", "street 2")])
    dataset = load_dataset("folder", tmp_path, "all", names=NAMES)
    assert values_of(dataset) == {"street 1.jpg": 0, "street 2.jpg": 1}


def test_what_was_found_is_said_in_one_line(tmp_path, caplog):
    put_pairs(tmp_path, [("images/val/a.jpg", "labels/val/a_mask.png"), ("images/val/b.jpg", "labels/val/b_mask.png")])
    with caplog.at_level(logging.INFO, logger="segpipe"):
        dataset = load_dataset("folder", tmp_path, "val", names=NAMES)
    [line] = [record.message for record in caplog.records if "_mask" in record.message]
    assert "names of labels end in '_mask'" in line
    assert "label_suffix=…" in line
    assert [note.kind for note in dataset.notes] == ["assumed"]


def test_masks_of_several_kinds_need_the_suffix(tmp_path):
    for kind, values in (("_color", [[9, 9, 9]]), ("_labelIds", ROW)):
        put_label(tmp_path, f"labels/train/a{kind}.png", values)
    put_image(tmp_path, "images/train/a.jpg")
    with pytest.raises(InputError, match=r"end in '_color', '_labelIds': choose the labels, such as label_suffix=\"_c"):
        load_dataset("folder", tmp_path, names=NAMES)
    for suffix in ("_labelIds", "_labelIds.png"):
        assert labels_of(load_dataset("folder", tmp_path, names=NAMES, label_suffix=suffix)) == {"a.jpg": ROW}


def test_images_may_have_a_suffix_of_their_own_where_that_of_masks_is_given(tmp_path):
    put_pairs(tmp_path, [("images/train/a_leftImg8bit.png", "labels/train/a_gtFine_labelIds.png")])
    put_label(tmp_path, "labels/train/a_gtFine_color.png", [[9, 9, 9]])
    with pytest.raises(InputError, match=r"end in '_gtFine_color', '_gtFine_labelIds'"):
        load_dataset("folder", tmp_path, names=NAMES)
    assert len(load_dataset("folder", tmp_path, names=NAMES, label_suffix="_gtFine_labelIds")) == 1


def test_suffixes_differ_in_case_and_a_stray_label_is_left_out(tmp_path, caplog):
    put_pairs(
        tmp_path, [("images/train/a.jpg", "labels/train/a_mask.png"), ("images/train/b.jpg", "labels/train/b_Mask.png")]
    )
    put_label(tmp_path, "labels/train/readme.png", [[0]])
    assert values_of(load_dataset("folder", tmp_path, names=NAMES)) == {"a.jpg": 0, "b.jpg": 1}
    assert "1 labels in" in caplog.text
    assert "are left out: readme." in caplog.text


def test_a_suffix_tells_masks_from_images_in_one_folder(tmp_path):
    put_pairs(tmp_path, [("train/a.png", "train/a_7.png"), ("train/b.png", "train/b_7.png")])
    assert values_of(load_dataset("folder", tmp_path, names=NAMES, label_suffix="_7")) == {"a.png": 0, "b.png": 1}
    with pytest.raises(MissingSplitError, match="no labels that names or formats tell from the images"):
        load_dataset("folder", tmp_path, names=NAMES)


def test_a_missing_mask_is_named_as_it_should_be(tmp_path):
    put_pairs(tmp_path, [(f"images/train/{name}.jpg", f"labels/train/{name}_mask.png") for name in "abc"])
    (tmp_path / "labels/train/b_mask.png").unlink()
    with pytest.raises(InputError, match=r"1 of 3 images in .* have no label: b\. .*labels/train/b_mask\.png"):
        load_dataset("folder", tmp_path, names=NAMES)


def test_names_of_one_letter_and_of_two_are_one_name(tmp_path):
    composed, split = (unicodedata.normalize(form, "Straße_é") for form in ("NFC", "NFD"))
    put_pairs(tmp_path, [(f"images/train/{split}.jpg", f"labels/train/{composed}.png")])
    assert len(load_dataset("folder", tmp_path, names=NAMES)) == 1
    (tmp_path / "list.txt").write_text(f"{composed}.jpg\n", encoding="utf-8")
    assert len(load_dataset("folder", tmp_path, names=NAMES, split_file="list.txt")) == 1
    (tmp_path / "list.txt").write_text(f"images/train/{composed}.jpg labels/train/{split}.png\n", encoding="utf-8")
    assert len(load_dataset("folder", tmp_path, names=NAMES, split_file="list.txt")) == 1


@pytest.mark.parametrize("asked", ["val", "valid", "validation", "dev"])
@pytest.mark.parametrize("there", ["valid", "Validation", "dev", "val"])
def test_a_split_is_found_by_any_spelling(tmp_path, asked, there):
    put_pairs(tmp_path, [(f"images/{there}/a.jpg", f"labels/{there}/a.png")])
    assert len(load_dataset("folder", tmp_path, asked, names=NAMES)) == 1


def test_another_spelling_is_said(tmp_path, caplog):
    put_pairs(tmp_path, [("images/valid/a.jpg", "labels/val/a.png")])
    with caplog.at_level(logging.INFO, logger="segpipe"):
        load_dataset("folder", tmp_path, "val", names=NAMES)
    assert f"{tmp_path}/images/valid is taken for images/val." in caplog.messages


@pytest.mark.parametrize("name", ["camvid", "street-scenes", "ade20k", "pascal-context"])
def test_a_published_data_set_knows_other_spellings_too(tmp_path, name):
    images, labels = {"ade20k": ("images/{}", "annotations/{}"), "pascal-context": ("{}/image", "{}/label")}.get(
        name, ("images/{}", "labels/{}")
    )
    for split in ("valid", "train"):
        put_image(tmp_path, f"{images.format(split)}/a.png")
        put_label(tmp_path, f"{labels.format(split)}/a.png", [[1, 2, 3]])
    assert [len(load_dataset(name, tmp_path, split)) for split in ("validation", "training")] == [1, 1]


LINES = [
    "images/x1.jpg labels/y1.png",
    "images/x1.jpg\tlabels/y1.png",
    "images/x1.jpg,labels/y1.png",
    "images/x1.jpg, labels/y1.png",
    "images/x1.jpg;labels/y1.png",
    "images/x1.jpg | labels/y1.png",
    '"images/x1.jpg","labels/y1.png"',
    "0,images/x1.jpg,labels/y1.png,train",
    "./images/x1.jpg   ./labels/y1.png",
    r"images\x1.jpg labels\y1.png",
    r"C:\data\set\images\x1.jpg,C:\data\set\labels\y1.png",
    "/SegNet/CamVid/images/x1.jpg /SegNet/CamVid/labels/y1.png",
    "x1.jpg y1.png",
    "images/x1 labels/y1",
    "images/x1, labels/y1",
    "images/x1,labels/y1",
    "images/X1.JPG labels/y1.PNG".replace("X1", "x1"),
    "images/x1.jpg labels/y1.png  # a good one",
]


@pytest.mark.parametrize("line", LINES)
def test_a_list_of_two_columns_pairs_what_it_names(tmp_path, line):
    put_pairs(tmp_path, [("images/x1.jpg", "labels/y1.png"), ("images/x2.jpg", "labels/y2.png")])
    second = line.replace("x1", "x2").replace("y1", "y2").replace("0,", "1,")
    put_text(tmp_path, "train.txt", f"# the training images\n\n{second}\n{line}\n")
    dataset = load_dataset("folder", tmp_path, names=NAMES)
    assert [(Path(pair.image).name, Path(pair.label).name) for pair in dataset.pairs] == [
        ("x2.jpg", "y2.png"), ("x1.jpg", "y1.png")]  # fmt: skip


@pytest.mark.parametrize("line", ["a/b," * 2000 + " x", "/" * 8000 + " x", "a/ " * 2000, "a.png b.pngx" * 600])
def test_a_line_of_any_signs_is_parsed_in_a_moment(tmp_path, line):
    put_text(tmp_path, "list.txt", line)  # an expression with backtracking takes longer than anyone waits
    assert len(read_rows(tmp_path / "list.txt")) == 1


def test_a_list_may_have_titles_blanks_in_names_and_a_byte_order_mark(tmp_path):
    put_pairs(tmp_path, [("my images/street 1.jpg", "my masks/mask of 1.png")])
    (tmp_path / "val.csv").write_bytes(b"\xef\xbb\xbfimage,mask\r\nmy images/street 1.jpg,my masks/mask of 1.png\r\n")
    assert values_of(load_dataset("folder", tmp_path, "val", names=NAMES)) == {"street 1.jpg": 0}
    put_text(tmp_path, "lists/test.txt", "my images/street 1.jpg my masks/mask of 1.png\n")
    assert values_of(load_dataset("folder", tmp_path, "test", names=NAMES)) == {"street 1.jpg": 0}


@pytest.mark.parametrize("line", ["a", "a.jpg", "images/a.jpg", r"images\a.jpg", "/elsewhere/images/a.jpg", "a.JPG"])
def test_a_list_of_one_column_names_images_in_any_usual_way(tmp_path, line):
    put_pairs(tmp_path, [("images/a.jpg", "labels/a.png"), ("images/b.jpg", "labels/b.png")])
    put_text(tmp_path, "train.txt", f"{line}  # first\n")
    assert values_of(load_dataset("folder", tmp_path, names=NAMES)) == {"a.jpg": 0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images/a.jpg labels/a.png\nimages/z.jpg labels/a.png\n", "names 1 files that are not there: images/z.jpg"),
        ("images/a.jpg labels/a.png\nimages/b.jpg\n", "its label in 1 lines, and not in 1 others: images/b.jpg"),
        ("images/a.jpg labels/a.png\nimages/a.jpg labels/b.png\n", "names 1 images twice: images/a.jpg"),
        ("images/a.jpg ../outside.png\n", r"names 1 files that are not there: \.\./outside\.png"),
        ("# nothing\n", "is empty"),
    ],
)
def test_a_list_that_cannot_be_right_says_so(tmp_path, text, message):
    put_label(tmp_path, "outside.png", ROW)
    put_pairs(tmp_path / "set", [("images/a.jpg", "labels/a.png"), ("images/b.jpg", "labels/b.png")])
    put_text(tmp_path / "set", "train.txt", text)
    with pytest.raises(InputError, match=message):
        load_dataset("folder", tmp_path / "set", names=NAMES)


def test_a_split_file_may_have_two_columns(tmp_path):
    put_pairs(tmp_path, [("images/train/a.jpg", "labels/train/a.png"), ("left/b.jpg", "right/c.png")])
    put_text(tmp_path, "lists/mine.txt", "left/b.jpg right/c.png\n")
    dataset = load_dataset("folder", tmp_path, names=NAMES, split_file="lists/mine.txt")
    assert values_of(dataset) == {"b.jpg": 1}


def test_the_only_folder_of_a_root_is_the_data_set(tmp_path, caplog):
    put_pairs(tmp_path, [("set/street/train/images/a.jpg", "set/street/train/masks/a.png")])
    put_text(tmp_path, "set/__MACOSX/._a.jpg", "")
    put_text(tmp_path, "set/.DS_Store", "")
    with caplog.at_level(logging.INFO, logger="segpipe"):
        dataset = load_dataset("folder", tmp_path, names=NAMES)
    assert dataset.name == "street"
    assert f"{tmp_path}/set/street is taken for the data set, since it is all that {tmp_path} holds." in caplog.messages


def test_other_drawings_beside_an_image_and_its_mask_are_left_out_and_named(tmp_path, caplog):
    put_pairs(tmp_path, [("train/a.jpg", "train/a_mask.png"), ("train/a_2.jpg", "train/a_2_mask.png")])
    for name in ("a_overlay", "a_2_overlay"):
        put_image(tmp_path, f"train/{name}.png")
    with caplog.at_level(logging.INFO, logger="segpipe"):
        assert values_of(load_dataset("folder", tmp_path, names=NAMES)) == {"a.jpg": 0, "a_2.jpg": 1}
    assert "a_2_overlay, a_overlay: named after another image and without a label, 2 in" in caplog.text
    put_image(tmp_path, "train/a_3.jpg")
    with pytest.raises(InputError, match="have no label: "):
        load_dataset("folder", tmp_path, names=NAMES)


def test_what_is_missing_is_said_with_what_is_there(tmp_path):
    put_pairs(tmp_path, [("images/train/a.jpg", "labels/train/a.png")])
    for before, after, why in (
        (".png", ".npy", ""),
        (".npy", ".jpg", ", whose compression changes the values of labels"),
    ):
        (tmp_path / f"labels/train/a{before}").rename(tmp_path / f"labels/train/a{after}")
        message = re.escape(f"labels/train (no files *.png, but 1 *{after}{why})")
        with pytest.raises(MissingSplitError, match=message) as caught:
            load_dataset("folder", tmp_path, names=NAMES)
    assert "name the folders: images=… and labels=…." in str(caught.value)


def test_a_folder_without_splits_says_how_it_opens(tmp_path):
    put_pairs(tmp_path, [("images/a.jpg", "labels/a.png"), ("images/b.jpg", "labels/b.png")])
    with pytest.raises(MissingSplitError, match=r'as a whole by split="all", or divided in two by val_share=0\.1\.'):
        load_dataset("folder", tmp_path, names=NAMES)


def test_a_split_that_is_missing_is_told_beside_those_that_are_there(tmp_path):
    put_pairs(tmp_path, [(f"images/{split}/a.jpg", f"labels/{split}/a.png") for split in ("training", "val")])
    with pytest.raises(MissingSplitError, match=r"no images of .* test .* Splits that are there: train, val\.$"):
        load_dataset("folder", tmp_path, "test", names=NAMES)


def test_folders_of_each_split_may_be_named(tmp_path):
    put_pairs(tmp_path, [("a/tr/1.jpg", "b/tr/1.png"), ("a/te/2.jpg", "b/te/2.png")])
    options = {
        "names": NAMES,
        "train.images": "a/tr",
        "train.labels": "b/tr",
        "val.images": "a/te",
        "val.labels": "b/te",
    }
    for split, expected in (("train", {"1.jpg": 0}), ("val", {"2.jpg": 1})):
        assert values_of(load_dataset("folder", tmp_path, split, **options)) == expected
