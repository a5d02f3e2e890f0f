"""What every preparation keeps to: whole files, nothing of the user's touched, errors in one sentence."""

from __future__ import annotations

import pytest
from preparing_material import IDS, pixels, put_camvid, put_city, put_coco, put_context, put_image, put_label

from segpipe.data.datasets.loading import PREPARERS
from segpipe.data.preparing.preparation import prepare_dataset
from segpipe.errors import ImageDecodeError, InputError, UnknownNameError


def test_a_data_set_that_is_read_as_published_needs_nothing(tmp_path):
    put_image(tmp_path / "images/validation/a.jpg")
    put_label(tmp_path / "annotations/validation/a.png", [[0, 1, 150]])
    done = prepare_dataset("ade20k", tmp_path)
    assert (done.written, done.note) == ({}, "ade20k is read as it was published; its val split has 1 images.")


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
