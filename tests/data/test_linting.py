"""The linter: one small data set per fault, with places and numbers worked out by hand."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dataset_material import put_image, put_label, put_text
from PIL import Image

from segpipe.configuration import LabelSet
from segpipe.data import Pair, SegmentationDataset, concat, load_dataset, repeat, subset_classes
from segpipe.data.findings import SEVERITIES, Finding, group_findings
from segpipe.data.label_sets import dataset_labels
from segpipe.data.linting import LOOKED_AT, LOOKED_AT_MOST, check_dataset, check_datasets, look_at

CLASSES = LabelSet(names=("sky", "road", "car"))
BASE = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 1, 1]], np.uint8)  # 4 sky, 6 road, 2 car


def put_pair(root, name, raw=BASE, *, level=90, **options):
    """A gray image of the label's size, and the label."""
    raw = np.asarray(raw, np.uint8)
    image, label = root / f"{name}.png", root / f"{name}_label.png"
    Image.new("RGB", raw.shape[::-1], (level,) * 3).save(image, **options)
    Image.fromarray(raw).save(label)
    return Pair(str(image), str(label))


def dataset_of(*pairs, labels=CLASSES, split="train"):
    return SegmentationDataset("toy", split, labels, pairs)


FILES = {
    "ade20k": ("images/training/1.png", "annotations/training/1.png"),
    "camvid": ("images/train/1.png", "labels/train/1.png"),
    "cityscapes": ("leftImg8bit/train/ulm/ulm_0_leftImg8bit.png", "gtFine/train/ulm/ulm_0_gtFine_labelIds.png"),
    "coco-stuff164k": ("train2017/1.png", "annotations/train2017/1.png"),
    "pascal-voc": ("JPEGImages/1.jpg", "SegmentationClass/1.png"),
    "street-scenes": ("images/train/1.png", "labels/train/1.png"),
}
"""An image and its label, as these data sets are published."""


def published(root, name, rows):
    """The data set with this label, or several that are joined."""
    parts = name.split("+")
    for level, part in enumerate(parts):
        image, label = FILES[part]
        put_image(root, f"{part}/{image}", np.shape(rows), level)
        put_label(root, f"{part}/{label}", rows)
        put_text(root, f"{part}/ImageSets/Segmentation/train.txt", "1")
    return concat([load_dataset(part, root / part) for part in parts])


def only_finding(report):
    assert [(group.kind, group.total) for group in report.groups] == [(report.groups[0].kind, 1)], report.groups
    return report.groups[0].findings[0]


def test_a_sound_data_set_has_no_findings_and_right_counts(tmp_path):
    second = [[0, 255], [1, 1]]
    report = check_dataset(dataset_of(put_pair(tmp_path, "a"), put_pair(tmp_path, "b", second, level=91)))
    assert report.is_ok
    assert report.groups == ()
    assert [(count.name, count.pixels, count.images) for count in report.classes] == [
        ("sky", 5, 2),
        ("road", 8, 2),
        ("car", 2, 1),
    ]
    assert (report.num_images, report.ignored_pixels) == (2, 1)


def test_a_value_out_of_range_is_named_with_file_pixel_and_value(tmp_path):
    raw = BASE.copy()
    raw[1, 2:] = 7
    report = check_dataset(dataset_of(put_pair(tmp_path, "a"), bad := put_pair(tmp_path, "b", raw, level=91)))
    finding = only_finding(report)
    assert (finding.kind, finding.file) == ("out-of-range", bad.label)
    assert finding.what.startswith("value 7 on 2 pixels, first at row 1, column 2; classes are 0 to 2")
    assert not report.is_ok


def test_values_from_one_get_raw_ids_proposed(tmp_path):
    finding = check_dataset(dataset_of(put_pair(tmp_path, "a", BASE + 1))).groups[0].findings[0]
    assert finding.kind == "out-of-range"
    assert finding.fix.startswith("If the values begin at 1, give raw_ids=[1, 2, 3].")


def test_values_beside_raw_ids_are_a_note_with_all_their_pixels(tmp_path):
    labels = LabelSet(names=("road", "car"), raw_ids=(1, 2))
    pairs = [put_pair(tmp_path, name, level=level) for name, level in (("a", 1), ("b", 2))]
    report = check_dataset(dataset_of(*pairs, labels=labels))
    finding = only_finding(report)
    assert (finding.kind, finding.file, report.is_ok) == ("unlisted-value", pairs[0].label, True)
    assert (
        "the value 0 is not a class and is ignored: 8 pixels in 2 labels, here first at row 0, column 0" in finding.what
    )


@pytest.mark.parametrize(("name", "notes"), [("camvid", []), ("street-scenes", []), ("toy", ["unlisted-value"])])
def test_the_published_void_of_a_data_set_needs_no_note(tmp_path, name, notes):
    """CamVid's labels say 11 for void; in a folder of one's own the same value may be a class that was forgotten."""
    raw = BASE.copy()
    raw[0, 0] = 11
    dataset = SegmentationDataset(name, "train", dataset_labels("camvid"), (put_pair(tmp_path, "a", raw),))
    report = check_dataset(dataset if name == "toy" else published(tmp_path, name, raw))
    assert [group.kind for group in report.groups if group.severity == "note"] == notes
    assert report.ignored_pixels == 1


def test_masks_of_0_and_255_get_raw_ids_proposed(tmp_path):
    labels = LabelSet(names=("background", "crack"))
    pair = put_pair(tmp_path, "a", (BASE > 1) * 255)
    finding = only_finding(check_dataset(dataset_of(pair, labels=labels)))
    assert finding.kind == "ignored-class"
    assert "nothing but 'background' would be learned" in finding.what
    assert 'give names={0: "background", 255: "crack"}' in finding.fix
    meant = LabelSet(names=("background", "crack"), raw_ids=(0, 255))
    assert check_dataset(dataset_of(pair, labels=meant)).groups == ()


def round_mask(size=64, value=255):
    rows, columns = np.mgrid[:size, :size] - size / 2
    return ((rows**2 + columns**2 < (size / 3) ** 2) * value).astype(np.uint8)


@pytest.mark.parametrize("labels", [LabelSet(names=("no", "yes"), raw_ids=(0, 255)), LabelSet(names=("no",))])
def test_a_smoothed_mask_is_noticed_and_a_hard_one_is_not(tmp_path, labels):
    smoothed = np.asarray(Image.fromarray(round_mask()).resize((50, 50), Image.Resampling.BILINEAR))
    hard = np.asarray(Image.fromarray(round_mask()).resize((50, 50), Image.Resampling.NEAREST))
    report = check_dataset(
        dataset_of(
            put_pair(tmp_path, "hard", hard), bad := put_pair(tmp_path, "soft", smoothed, level=1), labels=labels
        )
    )
    found = {group.kind: group for group in report.groups}
    assert [finding.file for finding in found["smoothed"].findings] == [bad.label]
    assert "unlisted-value" not in found
    assert ("out-of-range" in found) == (labels.raw_ids is None)


def test_a_jpeg_mask_is_refused_and_one_saved_as_png_again_is_noticed(tmp_path):
    labels = LabelSet(names=("no", "yes"), raw_ids=(0, 255))
    good = put_pair(tmp_path, "good", round_mask())
    Image.fromarray(round_mask()).save(tmp_path / "mask.jpg", quality=60)
    again = put_pair(tmp_path, "again", np.asarray(Image.open(tmp_path / "mask.jpg")), level=2)
    report = check_dataset(dataset_of(good, good._replace(label=str(tmp_path / "mask.jpg")), again, labels=labels))
    found = {group.kind: group.findings[0] for group in report.groups}
    assert "is a JPEG, whose compression" in found["unreadable-label"].what
    assert found["smoothed"].file == again.label


def test_a_label_of_another_size_is_named(tmp_path):
    pair = put_pair(tmp_path, "a")
    Image.new("RGB", (5, 3)).save(pair.image)
    finding = only_finding(check_dataset(dataset_of(pair)))
    assert (finding.kind, finding.file) == ("size", pair.label)
    assert f"the label is 3 × 4, its image {pair.image} is 3 × 5" in finding.what


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def test_an_image_turned_by_exif_and_its_label_not_is_explained(tmp_path):
    finding = only_finding(check_dataset(dataset_of(put_pair(tmp_path, "a", exif=exif(6)))))
    assert finding.kind == "size"
    assert "is 4 × 3 (height × width) after turning by its EXIF orientation 6" in finding.what
    assert "Save the image upright" in finding.fix


def test_an_image_upside_down_is_a_warning_since_sizes_fit_either_way(tmp_path):
    report = check_dataset(dataset_of(put_pair(tmp_path, "a", exif=exif(3))))
    assert only_finding(report).kind == "orientation"
    assert report.is_ok


def test_damaged_and_missing_files_are_findings_and_the_rest_is_counted(tmp_path):
    cut, gone, good = (put_pair(tmp_path, name, level=level) for level, name in enumerate("abc"))
    Path(cut.image).write_bytes(Path(cut.image).read_bytes()[:43])
    Path(gone.label).unlink()
    report = check_dataset(dataset_of(cut, gone, good))
    found = {group.kind: group.findings[0].file for group in report.groups}
    assert found == {"unreadable-picture": cut.image, "unreadable-label": gone.label}
    assert report.classes[0].images == 2  # the label beside the damaged image counts


def refuse(path):
    raise KeyError(path)


def test_an_error_of_a_foreign_reader_is_a_finding(tmp_path):
    report = check_dataset(dataset_of(put_pair(tmp_path, "a")._replace(read=refuse)))
    assert only_finding(report).kind == "unreadable-label"


def test_labels_with_ignored_pixels_only(tmp_path):
    empty = put_pair(tmp_path, "a", np.full((2, 3), 255))
    report = check_dataset(dataset_of(empty, put_pair(tmp_path, "b")))
    assert only_finding(report).what == "all 6 pixels are ignored"
    kinds = [group.kind for group in check_dataset(dataset_of(empty)).groups]
    assert kinds == ["all-ignored", "ignored-label"]


def test_the_same_pixels_in_another_file_are_a_duplicate(tmp_path):
    first, second = put_pair(tmp_path, "a"), put_pair(tmp_path, "b", BASE.clip(1), compress_level=0)
    assert Path(first.image).read_bytes() != Path(second.image).read_bytes()
    finding = only_finding(check_dataset(dataset_of(first, second)))
    assert (finding.kind, finding.file) == ("duplicate", second.image)
    assert finding.what == f"the same image as {first.image}, with another label"


def test_images_of_one_size_with_other_pixels_or_another_shape_are_no_duplicates(tmp_path):
    pairs = [put_pair(tmp_path, "a"), put_pair(tmp_path, "b", level=91), put_pair(tmp_path, "c", BASE.T)]
    assert check_dataset(dataset_of(*pairs)).groups == ()


@pytest.mark.parametrize("is_together", [False, True])
def test_an_image_in_two_splits_is_an_error(tmp_path, is_together):
    train = dataset_of(shared := put_pair(tmp_path, "a"), put_pair(tmp_path, "b", level=1))
    val = dataset_of(put_pair(tmp_path, "c", level=2), put_pair(tmp_path, "d"), split="val")
    report = check_datasets([train, val])[1] if is_together else check_dataset(val, others=[train])
    finding = only_finding(report)
    assert (finding.kind, finding.file) == ("leak", val.pairs[1].image)
    assert finding.what == f"the same image is in toy train: {shared.image}"
    assert check_datasets([train, val])[0].groups == ()


def test_classes_that_never_occur_are_listed(tmp_path):
    report = check_dataset(dataset_of(put_pair(tmp_path, "a", BASE.clip(1))))
    assert only_finding(report).what == "1 of 3 classes never occur: sky"


def test_findings_are_kept_up_to_the_limit_and_counted_beyond(tmp_path):
    pairs = [put_pair(tmp_path, f"p{index}", BASE + 3, level=index) for index in range(4)]
    report = check_dataset(dataset_of(*pairs), limit=2)
    group = next(group for group in report.groups if group.kind == "out-of-range")
    assert (group.total, [finding.file for finding in group.findings]) == (4, [pairs[0].label, pairs[1].label])
    assert report.count("error") == 5  # and no pixel is a class


def test_errors_come_before_warnings_and_these_before_notes():
    findings = [Finding(kind, None, "what", "fix") for kind in reversed(SEVERITIES)]
    severities = [group.severity for group in group_findings(findings, 1)]
    assert severities == sorted(severities, key=("error", "warning", "note").index)


def test_progress_is_told_on_the_thread_of_the_caller_and_results_do_not_depend_on_readers(tmp_path):
    pairs = [put_pair(tmp_path, f"p{index}", level=index // 2) for index in range(6)]
    told = []
    report = check_dataset(
        repeat(dataset_of(*pairs), 3),
        others=[dataset_of(*pairs[:2])],
        readers=4,
        progress=lambda done, total: told.append((done, total, threading.current_thread())),
    )
    assert told == [(done, 8, threading.main_thread()) for done in range(1, 9)]
    assert report == check_dataset(dataset_of(*pairs), others=[dataset_of(*pairs[:2])], readers=1)


def test_an_error_of_the_progress_callback_stops_the_check(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_dataset(dataset_of(put_pair(tmp_path, "a")), progress=stop)


def test_an_empty_data_set_is_reported_as_such():
    report = check_dataset(dataset_of())
    assert (report.num_images, report.is_ok, only_finding(report).kind) == (0, False, "empty")


@pytest.mark.parametrize(
    ("name", "rows", "kinds"),
    [
        ("cityscapes", [[0, 1, 2, 8, 10, 13, 18, 255]], ["encoding"]),  # train ids in place of label ids
        ("cityscapes", [[0, 4, 7, 8, 11, 21, 23, 26, 255]], []),
        ("cityscapes", [[7, 21, 90]], ["out-of-range"]),
        ("ade20k", [[0, 1, 150]], []),
        ("ade20k", [[0, 1, 149, 255]], ["shifted"]),  # made smaller by one
        ("ade20k", [[0, 1, 200]], ["out-of-range"]),  # full ADE20K's numbers
        ("coco-stuff164k", [[0, 89, 181, 255]], []),
        ("coco-stuff164k", [[0, 11, 160]], ["out-of-range"]),  # class indices: raw id 11 was given to nothing
        ("camvid", [[0, 11, 12]], ["out-of-range"]),
        ("camvid+street-scenes", [[0, 10, 11]], []),
        ("pascal-voc", [[0, 15, 33]], ["out-of-range"]),
    ],
)
def test_labels_of_a_published_data_set_hold_its_values(tmp_path, name, rows, kinds):
    report = check_dataset(published(tmp_path, name, rows))
    assert [group.kind for group in report.groups if group.kind not in ("missing-class", "unlisted-value")] == kinds


def test_masks_of_0_and_1_with_raw_ids_0_and_255_are_another_encoding(tmp_path):
    labels = LabelSet(names=("no", "yes"), raw_ids=(0, 255), ignore_index=254)
    report = check_dataset(dataset_of(put_pair(tmp_path, "a", [[0, 0, 1]]), labels=labels))
    assert report.groups[0].kind == "encoding"
    assert "such as 1, which is not a class" in report.groups[0].findings[0].what


def test_numbers_of_objects_are_not_taken_for_classes(tmp_path):
    names = tuple(f"class {index}" for index in range(21))
    rows = [[0, *range(1, 2 + index % 4), 255] for index in range(8)]
    pairs = [put_pair(tmp_path, f"p{index}", [row], level=index) for index, row in enumerate(rows)]
    kinds = [group.kind for group in check_dataset(dataset_of(*pairs, labels=LabelSet(names=names))).groups]
    assert kinds == ["missing-class", "instances"]
    pairs[3] = put_pair(tmp_path, "classes", [[0, 2, 15]], level=50)
    kinds = [group.kind for group in check_dataset(dataset_of(*pairs, labels=LabelSet(names=names))).groups]
    assert kinds == ["missing-class"]


def test_a_single_class_is_an_error(tmp_path):
    pair = put_pair(tmp_path, "a", [[0, 0]])
    assert only_finding(check_dataset(dataset_of(pair, labels=LabelSet(names=("fire",))))).kind == "one-class"


def test_a_look_reads_some_labels_spread_over_the_set(tmp_path):
    good, bad = put_pair(tmp_path, "good"), put_pair(tmp_path, "bad", BASE + 3, level=3)
    report = look_at(dataset_of(*[good] * 250, *[bad] * 250))
    assert (report.num_images, report.is_ok) == (LOOKED_AT, False)
    assert 8 <= report.groups[0].total <= 16  # of either half about twelve
    assert look_at(dataset_of(good)).groups == check_dataset(dataset_of(good)).groups


def test_a_look_goes_on_while_only_further_labels_can_tell(tmp_path):
    """Nine of ten labels are ignored: the first 24 may all be, and yet the data is good."""
    empty, good = put_pair(tmp_path, "empty", np.full((2, 3), 255)), put_pair(tmp_path, "good")
    report = look_at(dataset_of(*[empty] * 480, *[good] * 2))
    assert report.num_images > LOOKED_AT
    assert report.is_ok or report.num_images == LOOKED_AT_MOST
    assert [group.kind for group in look_at(dataset_of(*[empty] * 500)).groups] == ["all-ignored", "ignored-label"]


def test_a_look_ends_when_its_time_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr("segpipe.data.linting.SECONDS", 0)
    assert look_at(dataset_of(*[put_pair(tmp_path, "a")] * 99)).num_images <= 4


def test_of_a_part_of_the_labels_missing_classes_are_said_when_nearly_all_are(tmp_path):
    pair = put_pair(tmp_path, "a")  # three classes
    for num_names, kinds in ((12, []), (150, ["missing-class"])):
        labels = LabelSet(names=tuple(map(str, range(num_names))))
        assert [group.kind for group in look_at(dataset_of(*[pair] * 99, labels=labels)).groups] == kinds


def test_joined_data_keeps_the_notes_of_its_parts(tmp_path):
    note = Finding("no-mask", "a.json", "one object has a box alone", "Draw it")
    parts = [dataset_of(put_pair(tmp_path, "a")), replace(dataset_of(put_pair(tmp_path, "b", level=2)), notes=(note,))]
    for dataset in (concat(parts), repeat(parts[1], 2), parts[1][:1], subset_classes(parts[1], ["road", "sky", "car"])):
        assert check_dataset(dataset).groups[0].findings == (note,)
