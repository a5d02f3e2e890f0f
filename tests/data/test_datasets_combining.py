"""A data set as a sequence: read late, small to pickle, joined, repeated, with fewer classes."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from dataset_material import NAMES, labels_of, make_dataset, put_image, put_label, put_text

from segpipe.configuration import DatasetConfig, MixedDataConfig, SplitConfig
from segpipe.data import concat, load_configured, load_dataset, repeat, subset_classes
from segpipe.errors import ImageDecodeError, InputError


def test_nothing_is_decoded_before_it_is_asked_for(tmp_path):
    make_dataset(tmp_path)
    put_text(tmp_path, "one/images/1.png", "broken")
    dataset = load_dataset("folder", tmp_path / "one", "all", names=NAMES)
    assert dataset[0].label.tolist() == [[0, 1, 2]]
    with pytest.raises(ImageDecodeError, match=r"1\.png"):
        dataset[1]


def test_a_data_set_is_a_sequence(tmp_path):
    dataset = make_dataset(tmp_path)
    assert [sample.image[0, 0, 0] for sample in dataset] == [0, 1]
    assert dataset[-1].name.endswith("1.png")
    assert [Path(pair.image).name for pair in repeat(dataset, 2)[1:3].pairs] == ["1.png", "0.png"]
    with pytest.raises(IndexError, match="There is no sample 2; one all has 2"):
        dataset[2]


def test_data_sets_pickle_small(tmp_path):
    dataset = make_dataset(tmp_path)
    again = pickle.loads(pickle.dumps(repeat(dataset, 1000)))
    assert (len(again), labels_of(again[:2])) == (2000, labels_of(dataset))
    assert len(pickle.dumps(repeat(dataset, 1000))) < 2000


def test_concat_and_repeat(tmp_path):
    one, two = make_dataset(tmp_path), make_dataset(tmp_path, "two", rows=[[[1, 1, 1]]])
    joined = concat([repeat(two, 2), one])
    assert [sample.label.tolist()[0] for sample in joined] == [[1, 1, 1], [1, 1, 1], [0, 1, 2], [2, 2, 2]]
    assert (joined.name, joined.split) == ("two+one", "all")
    assert len(repeat(joined, 3)) == 12
    with pytest.raises(InputError, match="times is 0"):
        repeat(one, 0)


def test_concat_refuses_other_classes(tmp_path):
    one = make_dataset(tmp_path)
    with pytest.raises(InputError, match=r"differ in their labels' `names`: .*'sky', 'road', 'car'.* and \('road',\)"):
        concat([one, subset_classes(one, ["road"])])
    with pytest.raises(InputError, match="no data sets to join"):
        concat([])


def test_classes_are_chosen_and_numbered(tmp_path):
    make_dataset(tmp_path)
    dataset = load_dataset("folder", tmp_path / "one", "all", names=NAMES, classes=["car", "sky"])
    assert dataset.labels.names == ("car", "sky")
    assert dataset[0].label.tolist() == [[1, 255, 0]]


def test_a_configuration_names_what_is_mixed_and_how_often(tmp_path):
    for name in ("main", "more"):
        for split in ("train", "val"):
            put_image(tmp_path, f"{name}/images/{split}/0.png")
            put_label(tmp_path, f"{name}/labels/{split}/0.png", [[0, 1, 11]])
    more = MixedDataConfig(type="street-scenes", root=str(tmp_path / "more"), times=2)
    config = DatasetConfig(
        type="camvid", root=str(tmp_path / "main"), train=SplitConfig(split="train", times=3), mixed=(more,)
    )
    train, evaluation = load_configured(config)
    assert [Path(sample.name).parts[-4] for sample in train] == ["main"] * 3 + ["more"] * 2
    assert len(evaluation) == 1, "nothing is mixed into what scores are measured on"


def test_mixed_data_needs_a_folder(tmp_path):
    put_image(tmp_path, "images/train/0.png")
    put_label(tmp_path, "labels/train/0.png", [[0, 1, 11]])
    put_image(tmp_path, "images/val/0.png")
    put_label(tmp_path, "labels/val/0.png", [[0, 1, 11]])
    config = DatasetConfig(type="camvid", root=str(tmp_path), mixed=(MixedDataConfig(type="street-scenes"),))
    with pytest.raises(InputError, match=r'cfg_options=\{"dataset\.mixed\[0\]\.root": '):
        load_configured(config)


def test_mixed_data_without_a_folder_says_how_to_get_it_and_how_to_do_without(tmp_path):
    streets = DatasetConfig(type="folder", root=str(tmp_path), mixed=(MixedDataConfig(type="street-scenes"),))
    put_image(tmp_path, "images/train/a.png", (4, 4))
    put_label(tmp_path, "labels/train/a.png", np.zeros((4, 4)))
    put_image(tmp_path, "images/val/a.png", (4, 4))
    put_label(tmp_path, "labels/val/a.png", np.zeros((4, 4)))
    with pytest.raises(
        InputError, match=r'prepare street-scenes ROOT draws them.*cfg_options=\{"dataset\.mixed": \[\]\}'
    ):
        load_configured(streets, names=NAMES)
