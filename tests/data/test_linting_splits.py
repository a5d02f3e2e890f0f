"""A check of whole data sets reports every kind of fault at once and reads what is left."""

import json

import numpy as np
import pytest
from dataset_material import NAMES, put_image, put_label, put_text

from segpipe.cli.main import main
from segpipe.data.linting import check_splits
from segpipe.errors import InputError, UnknownNameError

CLASSES = np.kron([[0, 1], [1, 2]], np.ones((4, 4)))


@pytest.fixture
def faulty(tmp_path):
    """A folder whose train split has a fault of each kind, and whose val split is missing."""
    root = tmp_path / "set"
    for index in range(7):
        put_image(root, f"images/train/{index}.jpg", size=(8, 8), level=30 * index)
        put_label(root, f"labels/train/{index}_mask.png", CLASSES)
    put_image(root, "images/train/0.png", size=(8, 8))
    (root / "labels/train/1_mask.png").unlink()
    (root / "images/train/2.jpg").write_bytes(b"\xff\xd8broken")
    (root / "labels/train/3_mask.png").write_bytes(b"broken")
    put_label(root, "labels/train/4_mask.png", CLASSES[:4, :4])
    put_label(root, "labels/train/5_mask.png", CLASSES + 6)
    put_label(root, "labels/train/lonely_mask.png", CLASSES)
    return root


KINDS = {
    "same-name": 1, "missing-label": 1, "unreadable-picture": 1, "unreadable-label": 1, "size": 1, "out-of-range": 1,
    "unpaired-label": 1, "ignored-label": 1, "assumed": 1,
}  # fmt: skip


def test_all_kinds_of_fault_are_in_one_report(faulty):
    train, val = check_splits("folder", faulty, ["train", "val"], names=NAMES)
    assert {group.kind: group.total for group in train.groups} == KINDS
    assert train.num_images == 6
    assert [count.images for count in train.classes] == [4, 3, 3]  # of 0, 2, 4 and 6; the small one has 0 alone
    assert [(group.kind, group.total) for group in val.groups] == [("layout", 1)]
    assert not train.is_ok
    assert not val.is_ok


def test_the_command_shows_all_of_them_and_exits_with_1(faulty, capsys):
    arguments = ["data", "check", "folder", str(faulty), "--option", "names=sky,road,car"]
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.count("\nerror: ") == 7
    assert "instead, give --val-share 0.1." in said.out
    assert said.out.endswith("Not ready for training: 7 errors, 2 warnings.\n")
    assert main([*arguments, "--json"]) == 1
    train, val = json.loads(capsys.readouterr().out)["splits"]
    assert {each["kind"]: each["total"] for each in train["findings"]} == KINDS
    assert val["findings"][0]["kind"] == "layout"


def test_a_held_out_share_is_checked_and_no_fault_is_told_twice(faulty):
    reports = check_splits("folder", faulty, ["train", "val"], names=NAMES, val_share=0.4)
    assert sum(report.num_images for report in reports) == 6
    totals = dict.fromkeys(KINDS, 0)
    for report in reports:
        for group in report.groups:
            totals[group.kind] = totals.get(group.kind, 0) + group.total
    assert {kind: totals[kind] for kind in KINDS} == {**KINDS, "assumed": 2}


def test_without_names_the_values_that_occur_are_shown(faulty):
    [report] = check_splits("folder", faulty, ["train"])
    assert report.groups[0].kind == "classes"
    assert [count.name for count in report.classes] == [f"value {value}" for value in (0, 1, 2, 6, 7, 8)]
    assert {"missing-label", "unreadable-label", "size"} <= {group.kind for group in report.groups}


def test_a_list_with_wrong_lines_is_read_without_them(tmp_path):
    for name in "ab":
        put_image(tmp_path, f"images/{name}.png", level=ord(name))
        put_label(tmp_path, f"labels/{name}.png", [[0, 1, 2]])
    put_text(tmp_path, "train.txt", "a\nz\na\nb\n")
    put_text(tmp_path, "val.txt", "images/a.png labels/a.png\nimages/b.png labels/c.png\n")
    train, val = check_splits("folder", tmp_path, ["train", "val"], names=NAMES)
    assert [(group.kind, group.total) for group in train.groups] == [("list", 2)]
    assert [(group.kind, group.total) for group in val.groups] == [("list", 1), ("leak", 1)]
    assert (train.num_images, val.num_images) == (2, 1)


def test_what_is_wrong_for_all_splits_alike_is_raised(tmp_path):
    with pytest.raises(InputError, match="There is no folder"):
        check_splits("folder", tmp_path / "nowhere", ["train", "val"])
    with pytest.raises(UnknownNameError, match="no data set 'fodler'"):
        check_splits("fodler", tmp_path, ["train", "val"])


def test_a_folder_without_splits_is_read_as_a_whole(tmp_path, capsys):
    for name in "ab":
        put_image(tmp_path, f"img/{name}.jpg", level=ord(name))
        put_label(tmp_path, f"gt/{name}_mask.png", [[0, 1, 2]])
    train, val, whole = check_splits("folder", tmp_path, ["train", "val"], names=NAMES)
    assert [each.groups[0].kind for each in (train, val)] == ["layout", "layout"]
    assert (whole.split, whole.num_images, whole.is_ok) == ("all", 2, True)
    kinds = [[group.kind for group in report.groups] for report in check_splits("folder", tmp_path, ["train", "val"])]
    assert kinds == [["layout"], ["layout"], ["classes", "assumed"]]
    assert main(["data", "check", "folder", str(tmp_path), "--val-share", "2"]) == 2
    assert "--val-share: '2' is not a share above 0 and below 1" in capsys.readouterr().err


def test_faults_of_a_split_that_is_not_divided_are_kept(faulty):
    for name in ("a", "b"):
        put_image(faulty, f"images/test/{name}.png", level=ord(name))
    put_label(faulty, "labels/test/a.png", [[0, 1, 2]])
    reports = check_splits("folder", faulty, ["train", "val", "test"], names=NAMES, val_share=0.4)
    assert [sum(group.total for group in each.groups if group.kind == "missing-label") for each in reports] == [1, 0, 1]
