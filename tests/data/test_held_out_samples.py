"""A share of the training data that is held out by names, and options of a single split."""

import logging

import pytest
from dataset_material import NAMES, put_image, put_label, put_text

from segpipe.configuration import DatasetConfig
from segpipe.data import has_own_split, hold_out, load_configured, load_dataset
from segpipe.errors import InputError, MissingSplitError


def put_samples(root, count, images="images/{}.jpg", labels="labels/{}.png"):
    for index in range(count):
        put_image(root, images.format(f"{index:03d}"))
        put_label(root, labels.format(f"{index:03d}"), [[0, 1, 2]])
    put_text(root, "labels.json", '{"names": ["sky", "road", "car"]}')
    return root


def names_of(dataset):
    return {pair.image.rpartition("/")[2] for pair in dataset.pairs}


def both(root, share=0.1, **options):
    return [load_dataset("folder", root, split, val_share=share, **options) for split in ("train", "val")]


def test_a_share_is_held_out_and_both_counts_are_said(tmp_path, caplog):
    put_samples(tmp_path, 200)
    with caplog.at_level(logging.INFO, logger="segpipe"):
        train, val = both(tmp_path)
    assert names_of(train) | names_of(val) == {f"{index:03d}.jpg" for index in range(200)}
    assert not names_of(train) & names_of(val)
    assert 8 <= len(val) <= 35  # 20 ± 3.6 standard deviations of 4.2
    assert (train.split, val.split) == ("all", "val")
    [line] = {record.message for record in caplog.records if "held out" in record.message}
    assert f"val is {len(val)} of the 200 samples of {tmp_path.name} all, held out by a digest of their names" in line
    assert f"{len(train)} are trained on" in line


def test_samples_stay_on_their_side_when_others_come_and_when_the_folder_moves(tmp_path):
    before = names_of(both(put_samples(tmp_path / "a", 60))[1])
    after = names_of(both(put_samples(tmp_path / "b/c", 100, images="images/{}.png"))[1])
    assert {name.replace(".png", ".jpg") for name in after if name < "060"} == before


@pytest.mark.parametrize("share", [0.0001, 0.9999])
def test_each_side_has_a_sample(tmp_path, share):
    train, val = both(put_samples(tmp_path, 3), share)
    assert sorted([len(train), len(val)]) == [1, 2]


def test_folders_of_one_name_for_each_sample_are_told_apart_by_their_folders(tmp_path):
    put_samples(tmp_path, 40, "train/{}/image.png", "train/{}/mask.png")
    assert 1 < len(both(tmp_path, 0.3)[1]) < 25


def test_augmented_copies_of_an_image_stay_together(tmp_path):
    for index in range(20):
        for copy in range(3):
            name = f"street{index}_jpg.rf.{index:02d}{copy}" + "0a" * 15
            put_image(tmp_path, f"images/{name}.jpg")
            put_label(tmp_path, f"labels/{name}.png", [[0, 1, 2]])
    train, val = both(tmp_path, 0.3, names=NAMES)
    assert len(val) % 3 == 0
    assert {name.partition(".rf.")[0] for name in names_of(train)}.isdisjoint(
        name.partition(".rf.")[0] for name in names_of(val)
    )


@pytest.mark.parametrize("share", [0, 1, 1.5, -0.1, True, "0.1"])
def test_what_is_no_share_is_refused(tmp_path, share):
    with pytest.raises(InputError, match=r"val_share is .* above 0 and below 1"):
        both(put_samples(tmp_path, 3), share)


def test_one_sample_and_data_without_names_are_refused(tmp_path):
    with pytest.raises(InputError, match="has one sample; at least two"):
        both(put_samples(tmp_path, 1))
    with pytest.raises(InputError, match="does not name its samples"):
        hold_out([1, 2, 3], 0.5)


@pytest.mark.parametrize("top", ["train/", "Training/", ""])
def test_classified_images_are_held_out_too(tmp_path, top):
    for index in range(30):
        put_image(tmp_path, f"{top}{'cat' if index % 2 else 'dog'}/{index}.png")
    train, val = (load_dataset("class-folders", tmp_path, split, val_share=0.3) for split in ("train", "val"))
    assert len(train) + len(val) == 30
    assert not set(train.paths) & set(val.paths)
    assert val.labels == train.labels


def test_a_configuration_holds_out_and_has_options_of_single_splits(tmp_path):
    root = str(put_samples(tmp_path, 20))
    train, val = load_configured(DatasetConfig(type="folder", root=root, val_share=0.2))
    assert names_of(val) == names_of(both(tmp_path, 0.2)[1])
    put_text(tmp_path, "lists/a.txt", "000\n001\n")
    put_text(tmp_path, "lists/b.txt", "002\n")
    options = {"train.split_file": "lists/a.txt", "val.split_file": "lists/b.txt"}
    train, val = load_configured(DatasetConfig(type="folder", root=root, options=options))
    assert (names_of(train), names_of(val)) == ({"000.jpg", "001.jpg"}, {"002.jpg"})


def test_splits_that_an_option_makes_the_same_are_refused(tmp_path):
    put_samples(tmp_path, 4)
    put_text(tmp_path, "mine.txt", "000\n001\n")
    config = DatasetConfig(type="folder", root=str(tmp_path), options={"split_file": "mine.txt"})
    with pytest.raises(InputError, match=r"train and val are the same 2 images, .* val\.split_file=…, or hold some"):
        load_configured(config)


def test_a_split_that_is_there_and_not_used_is_told_of(tmp_path, caplog):
    for split in ("train", "valid"):
        put_samples(tmp_path, 4, f"images/{split}/{{}}.jpg", f"labels/{split}/{{}}.png")
    load_configured(DatasetConfig(type="folder", root=str(tmp_path), val_share=0.5))
    assert "has a split 'val', which is not used, since val_share is given" in caplog.text


def test_a_missing_val_split_says_how_to_hold_some_out(tmp_path):
    put_samples(tmp_path, 4, "images/train/{}.jpg", "labels/train/{}.png")
    with pytest.raises(MissingSplitError, match=r"no images of .* val .* evaluate on instead, give val_share=0\.1\."):
        load_configured(DatasetConfig(type="folder", root=str(tmp_path)))


@pytest.mark.parametrize(
    "options",
    [{"valid.names": NAMES}, {"val": {"names": NAMES}}, {"names": ("x",), "validation.names": NAMES},
     {"names": NAMES, "train.names": ("x",), "val.classes": NAMES}],
)  # fmt: skip
def test_an_option_with_a_split_in_front_is_for_that_split(tmp_path, options):
    put_samples(tmp_path, 2, "images/val/{}.jpg", "labels/val/{}.png")
    assert load_dataset("folder", tmp_path, "val", **options).labels.names == NAMES


def test_an_option_of_a_misspelt_split_is_refused(tmp_path):
    put_samples(tmp_path, 2, "images/train/{}.jpg", "labels/train/{}.png")
    with pytest.raises(InputError, match=r"'trian\.split_file' is for a split 'trian'.* Did you mean 'train'"):
        load_dataset("folder", tmp_path, "train", **{"trian.split_file": "a.txt"})
    with pytest.raises(InputError, match=r"no option of the data set folder 'split_fiel'"):
        load_dataset("folder", tmp_path, "train", **{"train.split_fiel": "a.txt"})


def test_a_split_of_all_images_is_not_one_of_its_own(tmp_path, caplog):
    odd = put_samples(tmp_path / "odd", 5, "photos/{}.jpg", "marks/{}.png")
    places = {"images": "photos", "labels": "marks"}
    assert len(load_dataset("folder", odd, "val", **places)) == 5
    assert not has_own_split("folder", odd, "val", **places)
    load_configured(DatasetConfig(type="folder", root=str(odd), val_share=0.4), **places)
    assert "which is not used" not in caplog.text
    put_samples(tmp_path / "usual", 5, "images/train/{}.jpg", "labels/train/{}.png")
    put_samples(tmp_path / "usual", 2, "images/val/{}.jpg", "labels/val/{}.png")
    assert has_own_split("folder", tmp_path / "usual", "val")
    assert not has_own_split("folder", tmp_path / "usual", "test")
