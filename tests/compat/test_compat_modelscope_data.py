"""`MsDataset`: where data sets are looked for, and how their files lie."""

import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest
from compat_material import coco_stuff_files, packed

from segpipe.compat.modelscope import DownloadMode, MsDataset, snapshot_download
from segpipe.errors import ModelNotFoundError, OfflineError, UnknownNameError

NAME = "damo/coco_stuff164k"


def write(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_it_is_fetched_once_and_again_when_a_script_says_so(modelscope):
    modelscope.data[NAME] = {"all.zip": packed(coco_stuff_files("x/y/"))}
    dataset = MsDataset.load(NAME, split="train")
    assert len(dataset) == len(dataset["validation"]) == 2
    assert len(modelscope.requests_for("FilePath=all.zip")) == 1
    again = MsDataset.load(NAME, split="train", download_mode=DownloadMode.FORCE_REDOWNLOAD)
    assert len(again.open()) == 2
    assert len(modelscope.requests_for("FilePath=all.zip")) == 2


def test_the_folder_of_a_data_set_is_in_the_cache_that_is_named_and_may_have_to_be_there(modelscope, tmp_path):
    modelscope.data[NAME] = {"all.zip": packed(coco_stuff_files("x/y/"))}
    place = {"repo_type": "dataset", "cache_dir": tmp_path / "other"}
    with pytest.raises(OfflineError, match="would need a request"):
        snapshot_download(NAME, local_files_only=True, **place)
    assert modelscope.seen == []
    folder = snapshot_download(NAME, **place)
    assert Path(folder).is_relative_to(tmp_path / "other")
    assert snapshot_download(NAME, local_files_only=True, **place) == folder


@pytest.mark.parametrize("place", ["small_coco_stuff164k", "EasyCV/small_coco_stuff164k", "small-coco-stuff164k"])
def test_data_on_this_disk_is_used_without_a_request(modelscope, monkeypatch, tmp_path, place, caplog):
    write(tmp_path / "data" / place, coco_stuff_files("inner/"))
    monkeypatch.setenv("SEGPIPE_DATA", str(tmp_path / "data"))
    with caplog.at_level(logging.INFO, "segpipe"):
        dataset = MsDataset.load("small_coco_stuff164k", namespace="EasyCV", split="validation").open()
    assert len(dataset) == 2
    assert len(dataset.labels.names) == 171
    assert modelscope.seen == []
    assert "small_coco_stuff164k is read as coco-stuff164k" in caplog.text
    assert "the data set is in" in caplog.text


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("COCO_stuff164k", "coco-stuff164k"),
        ("damo/cocostuff", "coco-stuff164k"),
        ("ADE20K_2016", "ade20k"),
        ("ADEChallengeData2016", "ade20k"),
        ("cityscapes_mini", "cityscapes"),
        ("PASCAL_VOC2012", "pascal-voc"),
        ("coco_stuff10k", "folder"),
        ("my_streets", "folder"),
        ("camvid", "camvid"),
    ],
)
def test_how_files_lie_follows_from_the_name(name, kind):
    assert replace(MsDataset.load("x"), name=name)._kind() == kind


@pytest.mark.parametrize("data_dir", [None, "coco_stuff164k"])
def test_a_folder_of_its_name_in_the_current_folder_is_used(modelscope, monkeypatch, tmp_path, data_dir):
    write(tmp_path / "coco_stuff164k", coco_stuff_files())
    monkeypatch.chdir(tmp_path)
    options = {} if data_dir is None else {"data_dir": data_dir}
    assert len(MsDataset.load("coco_stuff164k", namespace="damo", split="validation", **options).open()) == 2
    assert modelscope.seen == []


def test_a_plain_folder_with_the_name_of_a_data_set_is_read_as_what_it_is(tmp_path):
    files = {name.replace("_labelTrainIds", ""): data for name, data in coco_stuff_files().items()}
    plain = {
        re.sub("(annotations/)?train2017", lambda m: "labels/train" if m[1] else "images/train", name): data
        for name, data in files.items()
        if "train2017" in name
    }
    write(tmp_path / "camvid", plain)
    dataset = MsDataset.load(str(tmp_path / "camvid"), split="train", label_set="coco-stuff164k")
    assert len(dataset) == 2


def test_what_is_nowhere_is_said_with_where_to_put_it(modelscope, monkeypatch):
    with pytest.raises(ModelNotFoundError, match=r"404.*SEGPIPE_DATA/coco_stuff164k; data_dir=… says where"):
        MsDataset.load("coco_stuff164k", namespace="damo").open()
    monkeypatch.setenv("SEGPIPE_OFFLINE", "1")
    with pytest.raises(OfflineError, match=r"SEGPIPE_OFFLINE.*SEGPIPE_DATA/coco_stuff164k"):
        MsDataset.load("coco_stuff164k", namespace="damo").open()


def test_what_a_table_of_data_would_have_is_said_to_be_elsewhere():
    dataset = MsDataset.load("x")
    assert not hasattr(dataset, "to_hf_dataset")
    with pytest.raises(UnknownNameError, match=r"no 'remap_columns'. open\(\) gives the data set"):
        dataset.remap_columns({})
