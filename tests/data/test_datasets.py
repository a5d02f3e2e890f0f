"""Data sets: each layout as a tiny folder with labels worked out by hand, and what is wrong with broken ones."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from dataset_material import NAMES, labels_of, make_dataset, put_image, put_label, put_text
from PIL import Image

import segpipe
from segpipe.configuration import LabelSet
from segpipe.data import DATASETS, dataset_labels, load_dataset, subset_classes
from segpipe.errors import ImageDecodeError, InputError, UnknownNameError

CAMVID = Path(__file__).parents[3] / "shared" / "data" / "camvid"


def test_cityscapes_with_label_ids(tmp_path):
    for city, ids in (("bonn", [7, 33, 0]), ("aachen", [8, 255, 1])):
        put_image(tmp_path, f"leftImg8bit/train/{city}/{city}_0_0_leftImg8bit.png")
        put_label(tmp_path, f"gtFine/train/{city}/{city}_0_0_gtFine_labelIds.png", [ids])
        put_label(tmp_path, f"gtFine/train/{city}/{city}_0_0_gtFine_instanceIds.png", [[9, 9, 9]])
    dataset = load_dataset("cityscapes", tmp_path)
    assert labels_of(dataset) == {
        "aachen_0_0_leftImg8bit.png": [[1, 255, 255]],
        "bonn_0_0_leftImg8bit.png": [[0, 18, 255]],
    }
    assert list(labels_of(dataset)) == ["aachen_0_0_leftImg8bit.png", "bonn_0_0_leftImg8bit.png"]


def test_cityscapes_with_train_ids_only(tmp_path):
    put_image(tmp_path, "leftImg8bit/val/ulm/ulm_0_leftImg8bit.png")
    put_label(tmp_path, "gtFine/val/ulm/ulm_0_gtFine_labelTrainIds.png", [[7, 18, 255]])
    assert labels_of(load_dataset("cityscapes", tmp_path, "validation")) == {"ulm_0_leftImg8bit.png": [[7, 18, 255]]}


@pytest.mark.parametrize("top", ["", "ADEChallengeData2016/"])
def test_ade20k_has_0_for_nothing(tmp_path, top):
    put_image(tmp_path, f"{top}images/validation/ADE_val_1.jpg")
    put_label(tmp_path, f"{top}annotations/validation/ADE_val_1.png", [[0, 1, 150]])
    assert labels_of(load_dataset("ade20k", tmp_path, "val")) == {"ADE_val_1.jpg": [[255, 0, 149]]}


@pytest.mark.parametrize("images", ["", "images/"])
def test_coco_stuff_with_raw_ids(tmp_path, images):
    put_image(tmp_path, f"{images}val2017/0001.jpg", size=(1, 5))
    put_label(tmp_path, "annotations/val2017/0001.png", [[0, 12, 11, 181, 255]])  # 11 is a removed id
    assert labels_of(load_dataset("coco-stuff164k", tmp_path, "val")) == {"0001.jpg": [[0, 11, 255, 170, 255]]}


def test_coco_stuff_prefers_converted_labels_and_obeys_a_list(tmp_path):
    for stem in ("0001", "0002", "0003"):
        put_image(tmp_path, f"train2017/{stem}.jpg")
        put_label(tmp_path, f"annotations/train2017/{stem}.png", [[0, 12, 181]])
        put_label(tmp_path, f"annotations/train2017/{stem}_labelTrainIds.png", [[0, 11, 170]])
    put_text(tmp_path, "train.txt", "0003\n\n0001\n")
    dataset = load_dataset("coco-stuff164k", tmp_path)
    assert labels_of(dataset) == {"0003.jpg": [[0, 11, 170]], "0001.jpg": [[0, 11, 170]]}
    assert dataset.labels.raw_ids is None


@pytest.mark.parametrize("top", ["", "VOC2010/", "VOCdevkit/VOC2010/"])
def test_pascal_context_by_list(tmp_path, top):
    for stem in ("2008_000002", "2008_000003"):
        put_image(tmp_path, f"{top}JPEGImages/{stem}.jpg")
        put_label(tmp_path, f"{top}SegmentationClassContext/{stem}.png", [[0, 1, 59]])
    put_text(tmp_path, f"{top}ImageSets/SegmentationContext/val.txt", "2008_000003\n")
    assert labels_of(load_dataset("pascal-context", tmp_path, "val")) == {"2008_000003.jpg": [[0, 1, 59]]}
    assert labels_of(load_dataset("pascal-context-59", tmp_path, "val")) == {"2008_000003.jpg": [[255, 0, 58]]}


def test_pascal_context_by_folders(tmp_path):
    put_image(tmp_path, "train/image/2008_000002.jpg")
    put_label(tmp_path, "train/label/2008_000002.png", [[0, 1, 59]])
    assert labels_of(load_dataset("pascal-context", tmp_path)) == {"2008_000002.jpg": [[0, 1, 59]]}


def test_pascal_voc_has_palette_labels_with_a_void_outline(tmp_path):
    put_image(tmp_path, "VOCdevkit/VOC2012/JPEGImages/2007_1.jpg")
    put_image(tmp_path, "VOCdevkit/VOC2012/JPEGImages/2007_2.jpg")  # no label: it is for detection
    image = Image.frombytes("P", (3, 1), bytes([0, 15, 255]))
    image.putpalette([channel for color in dataset_labels("pascal-voc").palette for channel in color])
    (tmp_path / "VOCdevkit/VOC2012/SegmentationClass").mkdir()
    image.save(tmp_path / "VOCdevkit/VOC2012/SegmentationClass/2007_1.png")
    put_text(tmp_path, "VOCdevkit/VOC2012/ImageSets/Segmentation/trainval.txt", "2007_1\n")
    assert labels_of(load_dataset("pascal-voc", tmp_path, "trainval")) == {"2007_1.jpg": [[0, 15, 255]]}


@pytest.mark.parametrize(("images", "labels"), [("images/test", "labels/test"), ("test", "testannot")])
def test_camvid_ignores_void(tmp_path, images, labels):
    put_image(tmp_path, f"{images}/0001TP_1.png")
    put_label(tmp_path, f"{labels}/0001TP_1.png", [[0, 10, 11]])
    assert labels_of(load_dataset("camvid", tmp_path, "test")) == {"0001TP_1.png": [[0, 10, 255]]}


@pytest.mark.shared
@pytest.mark.skipif(not CAMVID.is_dir(), reason="needs the parity files beside the checkout")
def test_camvid_itself():
    dataset = load_dataset("camvid", CAMVID, "val")
    sample = dataset[0]
    assert len(dataset) == 101
    assert sample.image.shape == (360, 480, 3)
    raw = np.asarray(Image.open(dataset.pairs[0].label))
    assert np.array_equal(sample.label, np.where(raw == 11, 255, raw))


@pytest.mark.parametrize(
    ("images", "masks"),
    [("images/val", "masks/val"), ("val/images", "val/annotations"), ("images/val", "labels/val")],
)
def test_a_folder_of_ones_own_with_splits(tmp_path, images, masks):
    put_image(tmp_path, f"{images}/deep/a.jpeg")
    put_label(tmp_path, f"{masks}/deep/a.png", [[0, 2, 255]])
    dataset = load_dataset("folder", tmp_path, "val", names=NAMES)
    assert labels_of(dataset) == {"a.jpeg": [[0, 2, 255]]}
    assert (dataset.name, dataset.split, dataset.labels.names) == (tmp_path.name, "val", NAMES)


def test_labels_with_more_classes_than_names_are_told_of(tmp_path, caplog):
    for name, values in (("a", [0, 1, 2, 255]), ("b", [0, 3, 7, 255])):
        put_image(tmp_path, f"images/val/{name}.png", size=(1, 4))
        put_label(tmp_path, f"labels/val/{name}.png", [values])
    with caplog.at_level("WARNING", logger="segpipe"):
        load_dataset("folder", tmp_path, "val", names=list("abcdefgh"))
        assert not caplog.records
        load_dataset("folder", tmp_path, "val", names=NAMES)
    [record] = caplog.records
    assert "b.png has the values 3, 7, and the 3 classes are 0 to 2" in record.getMessage()


def put_mixed_folder(root):
    for stem in "abc":
        put_image(root, f"images/{stem}.jpg")
        put_label(root, f"labels/{stem}.png", [[1, 2, 9]])


def test_a_folder_without_splits_is_all_or_listed(tmp_path):
    put_mixed_folder(tmp_path)
    put_text(tmp_path, "labels.json", '{"names": ["sky", "road"], "raw_ids": [9, 1]}')
    assert labels_of(load_dataset("folder", tmp_path, "all"))["a.jpg"] == [[1, 255, 0]]
    with pytest.raises(InputError, match=r"train\.txt, splits/train\.txt, .* \(no such list\)"):
        load_dataset("folder", tmp_path, "train")
    put_text(tmp_path, "train.txt", "c\nb.jpg\n")
    assert list(labels_of(load_dataset("folder", tmp_path, "train"))) == ["c.jpg", "b.jpg"]


def test_a_split_file_counts_instead(tmp_path):
    put_mixed_folder(tmp_path)
    put_text(tmp_path, "mine.txt", "b\n")
    assert list(labels_of(load_dataset("folder", tmp_path, names=NAMES, split_file="mine.txt"))) == ["b.jpg"]
    assert len(load_dataset("folder", tmp_path, names=NAMES, split_file=tmp_path / "mine.txt")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nz\n", "names 1 images that are not there: z. Names are like 'a'"),
        ("a\nb\na\n", "names 1 images twice: a"),
        ("a\na.jpg\n", "with and without its ending"),
        ("\n", "is empty"),
    ],
)
def test_bad_split_files_are_explained(tmp_path, text, message):
    put_mixed_folder(tmp_path)
    put_text(tmp_path, "train.txt", text)
    with pytest.raises(InputError, match=message):
        load_dataset("folder", tmp_path, names=NAMES)


def test_color_masks_are_mapped_exactly(tmp_path):
    put_image(tmp_path, "images/all/a.jpg")
    put_label(tmp_path, "labels/all/a.png", [[[0, 0, 255], [255, 0, 0], [0, 0, 0]]])
    palette = [(255, 0, 0), (0, 0, 255)]
    dataset = load_dataset("folder", tmp_path, "all", names=["hot", "cold"], palette=palette, ignore_colors=[(0, 0, 0)],
                           images="images/all", labels="labels/all")  # fmt: skip
    assert labels_of(dataset) == {"a.jpg": [[1, 0, 255]]}
    assert labels_of(subset_classes(dataset, ["cold"])) == {"a.jpg": [[0, 255, 255]]}
    assert labels_of(pickle.loads(pickle.dumps(dataset))) == {"a.jpg": [[1, 0, 255]]}


def test_color_masks_are_understood_by_a_label_set_with_colors(tmp_path):
    put_image(tmp_path, "images/a.jpg")
    put_label(tmp_path, "labels/a.png", [[[128, 128, 128], [128, 0, 0], [1, 1, 1]]])
    known = load_dataset("folder", tmp_path, "all", label_set="camvid", ignore_colors=[(1, 1, 1)])
    assert labels_of(known) == {"a.jpg": [[0, 1, 255]]}
    with pytest.raises(ImageDecodeError, match=r"a\.png has 1 colors that the palette does not: \(1, 1, 1\) on 1 pix"):
        load_dataset("folder", tmp_path, "all", label_set="camvid")[0]
    with pytest.raises(ImageDecodeError, match=r"ignore_colors=\[\(2, 2, 2\), \(1, 1, 1\)\]"):  # with what is given
        load_dataset("folder", tmp_path, "all", label_set="camvid", ignore_colors=[(2, 2, 2)])[0]


def test_a_folder_needs_class_names_from_one_place(tmp_path):
    put_mixed_folder(tmp_path)
    with pytest.raises(InputError, match=r'Nothing says what the classes .* Give names=\["road", "sky"\]'):
        load_dataset("folder", tmp_path, "all")
    with pytest.raises(InputError, match="Give one of them"):
        load_dataset("folder", tmp_path, "all", names=NAMES, label_set="camvid")
    with pytest.raises(InputError, match="ignore_colors is given without colors"):
        load_dataset("folder", tmp_path, "all", names=NAMES, ignore_colors=[(0, 0, 0)])


def test_labels_whose_image_is_of_another_format_are_told_of(tmp_path, caplog):
    for stem in ("a", "b"):
        put_image(tmp_path, f"images/train/{stem}.jpg")
        put_label(tmp_path, f"labels/train/{stem}.png", [[0, 1]])
    (tmp_path / "images/train/b.jpg").unlink()
    (tmp_path / "images/train/b.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(12))
    assert len(load_dataset("folder", tmp_path, "train", names=NAMES)) == 1
    [record] = caplog.records
    assert "1 labels in" in record.message
    assert "1 HEIC image are passed by" in record.message
    assert "are left out: b." in record.message


def test_missing_labels_are_listed(tmp_path):
    put_mixed_folder(tmp_path)
    (tmp_path / "labels/b.png").unlink()
    with pytest.raises(InputError, match=r"1 of 3 images in .* have no label: b\. .*labels.b\.png"):
        load_dataset("folder", tmp_path, "all", names=NAMES)


def test_two_files_of_one_name_are_refused(tmp_path):
    put_mixed_folder(tmp_path)
    put_image(tmp_path, "images/a.png")
    with pytest.raises(InputError, match=r"a\.jpg and .*a\.png have the same name"):
        load_dataset("folder", tmp_path, "all", names=NAMES)


def test_hidden_files_and_other_files_are_left_out(tmp_path):
    put_mixed_folder(tmp_path)
    put_text(tmp_path, "images/._a.jpg", "")
    put_text(tmp_path, "images/.cache/x.jpg", "")
    put_text(tmp_path, "images/notes.txt", "")
    assert len(load_dataset("folder", tmp_path, "all", names=NAMES)) == 3


def test_an_empty_root_says_what_was_looked_for(tmp_path):
    (tmp_path / "images/training").mkdir(parents=True)
    with pytest.raises(InputError) as caught:
        load_dataset("ade20k", tmp_path)
    message = str(caught.value)
    assert "images/training (no files *.jpg)" in message
    assert "ADEChallengeData2016/images/training (no such folder)" in message
    assert "Right would be images in images/training (*.jpg) and labels in annotations/training (*.png)" in message


def test_a_root_that_is_no_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"There is no folder .*nowhere; the root of a data set is one"):
        load_dataset("camvid", tmp_path / "nowhere")


def test_unknown_names_get_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match=r"no data set 'cityscape'\. Did you mean 'cityscapes'"):
        load_dataset("cityscape", tmp_path)
    with pytest.raises(UnknownNameError, match=r"no split of camvid 'trian'\. Did you mean 'train'"):
        load_dataset("camvid", tmp_path, "trian")
    with pytest.raises(InputError, match=r"no option of the data set camvid 'split_fiel'\. Did you mean 'split_file'"):
        load_dataset("camvid", tmp_path, split_fiel="a.txt")


def test_a_label_of_another_size_names_both_files(tmp_path):
    dataset = make_dataset(tmp_path, rows=[[[0, 1]]])
    with pytest.raises(ImageDecodeError, match=r"labels.0\.png is 1 × 2 .*images.0\.png is 1 × 3; they must be equal"):
        dataset[0]


def test_an_image_that_exif_turns_away_from_its_label_is_explained(tmp_path):
    dataset = make_dataset(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    put_image(tmp_path, "one/images/0.png", exif=exif)
    with pytest.raises(ImageDecodeError, match=r"is 3 × 1; they must be equal\. The image is turned by its EXIF"):
        dataset[0]
    put_label(tmp_path, "one/labels/0.png", [[0], [1], [2]])
    assert dataset[0].image.shape == (3, 1, 3)


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_explains_an_empty_root(tmp_path, name):
    options = {"names": NAMES} if name == "folder" else {}
    with pytest.raises(InputError, match=re.escape(str(tmp_path))) as caught:
        load_dataset(name, tmp_path, "val", **options)
    assert "Looked" in str(caught.value)


def test_a_plugin_can_add_a_data_set(tmp_path, monkeypatch):
    one = make_dataset(tmp_path)

    def build_mine(root, split="train", *, first=0):
        return one[first:]

    monkeypatch.setitem(DATASETS._entries, "mine", build_mine)
    assert len(segpipe.load_dataset("mine", tmp_path, first=1)) == 1


def test_modelscope_names_open_data_sets(tmp_path):
    from segpipe.compat.modelscope import MsDataset

    put_image(tmp_path, "val2017/0001.jpg")
    put_label(tmp_path, "annotations/val2017/0001.png", [[0, 12, 255]])
    named = MsDataset.load("coco_stuff164k", namespace="damo", split="validation", data_dir=str(tmp_path))
    assert named.split == "validation"
    assert labels_of(named.open()) == {"0001.jpg": [[0, 11, 255]]}
    owned = MsDataset.load("damo/coco_stuff164k", split="validation", root=tmp_path, classes=["car"], version="v2")
    assert owned.open().labels.names == ("car",)


def test_modelscope_folders_open_as_folders(tmp_path):
    from segpipe.compat.modelscope import MsDataset

    put_image(tmp_path, "images/train/a.jpg")
    put_label(tmp_path, "labels/train/a.png", [[0, 2, 255]])
    label_set = LabelSet(names=NAMES)
    assert labels_of(MsDataset.load(os.fspath(tmp_path), label_set=label_set).open()) == {"a.jpg": [[0, 2, 255]]}


@pytest.mark.parametrize(
    ("options", "names", "values"),
    [
        ({"names": "sky"}, ("sky",), [[0, 255]]),
        ({"names": "road,sky"}, ("road", "sky"), [[0, 1]]),
        ({"names": {0: "road", 1: "sky"}}, ("road", "sky"), [[0, 1]]),
        ({"names": {1: "sky"}}, ("sky",), [[255, 0]]),
        ({"names": np.array(["road", "sky"]), "raw_ids": (1, 0)}, ("road", "sky"), [[1, 0]]),
        ({"label_set": {"names": ["road", "sky"]}}, ("road", "sky"), [[0, 1]]),
    ],
)
def test_names_of_a_folder_have_many_forms(tmp_path, options, names, values):
    put_image(tmp_path, "images/train/a.png", size=(1, 2))
    put_label(tmp_path, "labels/train/a.png", [[0, 1]])
    dataset = load_dataset("folder", tmp_path, **options)
    assert dataset.labels.names == names
    assert dataset[0].label.tolist() == values


def test_the_hint_for_a_file_of_labels_fits_masks_that_begin_at_0(tmp_path):
    put_image(tmp_path, "images/train/a.png", size=(1, 2))
    put_label(tmp_path, "labels/train/a.png", [[0, 1]])
    with pytest.raises(InputError) as caught:
        load_dataset("folder", tmp_path)
    (tmp_path / "labels.json").write_text(re.search(r"labels\.json: (\{.*?\})", str(caught.value))[1])
    assert load_dataset("folder", tmp_path)[0].label.tolist() == [[0, 1]]


def test_the_colors_of_a_mask_are_offered_as_a_palette(tmp_path):
    put_image(tmp_path, "images/train/a.png", size=(1, 2))
    (tmp_path / "labels/train").mkdir(parents=True)
    Image.fromarray(np.array([[[9, 0, 0], [255, 0, 0]]], np.uint8)).save(tmp_path / "labels/train/a.png")
    with pytest.raises(ImageDecodeError, match=re.escape("give palette=[(9, 0, 0), (255, 0, 0)], in the order")):
        _ = load_dataset("folder", tmp_path, names=["road", "sky"])[0]
    dataset = load_dataset("folder", tmp_path, names=["road", "sky"], palette=np.array([[9, 0, 0], [255, 0, 0]]))
    assert dataset[0].label.tolist() == [[0, 1]]


def test_an_option_that_is_a_text_is_one(tmp_path):
    put_image(tmp_path, "2024/train/a.png", size=(1, 2))
    put_label(tmp_path, "labels/train/a.png", [[0, 1]])
    assert len(load_dataset("folder", tmp_path, names="a,b", images=2024)) == 1
    for value in (2.5, True, ["a"], {"a": 1}):
        with pytest.raises(InputError, match=r"^images is .*; a text is needed\. Write e\.g\. images="):
            load_dataset("folder", tmp_path, names="a,b", images=value)
