"""The linter: one small data set per fault, with places and numbers worked out by hand."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segpipe.configuration import LabelSet
from segpipe.data import Pair, SegmentationDataset, repeat
from segpipe.data.findings import SEVERITIES, Finding, group_findings
from segpipe.data.labels import dataset_labels
from segpipe.data.linter import check_dataset, check_datasets

CLASSES = LabelSet(names=("sky", "road", "car"))
BASE = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 1, 1]], np.uint8)  # 4 sky, 6 road, 2 car


def put_pair(root, name, raw=BASE, *, level=90, **options):
    """A grey picture of the label's size, and the label."""
    raw = np.asarray(raw, np.uint8)
    image, label = root / f"{name}.png", root / f"{name}_label.png"
    Image.new("RGB", raw.shape[::-1], (level,) * 3).save(image, **options)
    Image.fromarray(raw).save(label)
    return Pair(str(image), str(label))


def dataset_of(*pairs, labels=CLASSES, split="train"):
    return SegmentationDataset("toy", split, labels, pairs)


def only_finding(report):
    assert [(group.kind, group.total) for group in report.groups] == [(report.groups[0].kind, 1)], report.groups
    return report.groups[0].findings[0]


def test_a_sound_data_set_has_no_findings_and_right_counts(tmp_path):
    second = [[0, 255], [1, 1]]
    report = check_dataset(dataset_of(put_pair(tmp_path, "a"), put_pair(tmp_path, "b", second, level=91)))
    assert report.is_ok
    assert report.groups == ()
    assert [(count.name, count.pixels, count.pictures) for count in report.classes] == [
        ("sky", 5, 2),
        ("road", 8, 2),
        ("car", 2, 1),
    ]
    assert (report.num_pictures, report.ignored_pixels) == (2, 1)


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
    assert finding.fix.startswith("If the values begin at 1, give raw_ids 1 to 3.")


def test_values_beside_raw_ids_are_a_note_with_all_their_pixels(tmp_path):
    labels = LabelSet(names=("road", "car"), raw_ids=(1, 2))
    pairs = [put_pair(tmp_path, name, level=level) for name, level in (("a", 1), ("b", 2))]
    report = check_dataset(dataset_of(*pairs, labels=labels))
    finding = only_finding(report)
    assert (finding.kind, finding.file, report.is_ok) == ("unlisted-value", pairs[0].label, True)
    assert "the value 0 is no class and is ignored: 8 pixels in 2 labels, here first at row 0, column 0" in finding.what


@pytest.mark.parametrize(("name", "notes"), [("camvid", []), ("street-scenes", []), ("toy", ["unlisted-value"])])
def test_the_published_void_of_a_data_set_needs_no_note(tmp_path, name, notes):
    """CamVid's labels say 11 for void; in a folder of one's own the same value may be a class that was forgotten."""
    raw = BASE.copy()
    raw[0, 0] = 11
    dataset = SegmentationDataset(name, "train", dataset_labels("camvid"), (put_pair(tmp_path, "a", raw),))
    report = check_dataset(dataset)
    assert [group.kind for group in report.groups if group.severity == "note"] == notes
    assert report.ignored_pixels == 1


def test_masks_of_0_and_255_get_raw_ids_proposed(tmp_path):
    labels = LabelSet(names=("background", "crack"))
    pair = put_pair(tmp_path, "a", (BASE > 1) * 255)
    finding = only_finding(check_dataset(dataset_of(pair, labels=labels)))
    assert finding.kind == "ignored-class"
    assert "nothing but 'background' would be learnt" in finding.what
    assert "did you mean raw_ids 0, 255?" in finding.fix
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
    assert f"the label is 3 × 4, its picture {pair.image} is 3 × 5" in finding.what


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    return data


def test_a_picture_turned_by_exif_and_its_label_not_is_explained(tmp_path):
    finding = only_finding(check_dataset(dataset_of(put_pair(tmp_path, "a", exif=exif(6)))))
    assert finding.kind == "size"
    assert "is 4 × 3 (height × width) after turning by its EXIF orientation 6" in finding.what
    assert "Save the picture upright" in finding.fix


def test_a_picture_upside_down_is_a_warning_since_sizes_fit_either_way(tmp_path):
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
    assert report.classes[0].pictures == 2  # the label beside the damaged picture counts


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
    assert finding.what == f"the same picture as {first.image}, with another label"


def test_pictures_of_one_size_with_other_pixels_or_another_shape_are_no_duplicates(tmp_path):
    pairs = [put_pair(tmp_path, "a"), put_pair(tmp_path, "b", level=91), put_pair(tmp_path, "c", BASE.T)]
    assert check_dataset(dataset_of(*pairs)).groups == ()


@pytest.mark.parametrize("is_together", [False, True])
def test_a_picture_in_two_splits_is_an_error(tmp_path, is_together):
    train = dataset_of(shared := put_pair(tmp_path, "a"), put_pair(tmp_path, "b", level=1))
    val = dataset_of(put_pair(tmp_path, "c", level=2), put_pair(tmp_path, "d"), split="val")
    report = check_datasets([train, val])[1] if is_together else check_dataset(val, others=[train])
    finding = only_finding(report)
    assert (finding.kind, finding.file) == ("leak", val.pairs[1].image)
    assert finding.what == f"the same picture is in toy train: {shared.image}"
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
    assert (report.num_pictures, report.is_ok, report.groups) == (0, True, ())
