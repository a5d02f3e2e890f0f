"""Scores against mmsegmentation's formulas and numbers worked out by hand; boundary IoU against eroded masks."""

import json
import math

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from segpipe.evaluation import BoundaryCounts, ConfusionMatrix
from segpipe.evaluation.boundary_iou import boundary_distance, is_boundary


def random_maps(seed, num_classes=6, size=(23, 31)):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, num_classes - 1, size)  # the last class is in no label
    prediction = np.where(rng.random(size) < 0.6, label, rng.integers(1, num_classes, size))
    label[rng.random(size) < 0.1] = 255
    prediction[prediction == 2] = 3  # class 2 is never predicted
    return prediction, label


def mmsegmentation_scores(maps, num_classes):
    """Area histograms over all pictures, then ratios and nanmean, as its `intersect_and_union` and `eval_metrics`."""
    intersect, predicted, labelled = np.zeros((3, num_classes))
    for prediction, label in maps:
        prediction, label = prediction[label != 255], label[label != 255]
        edges = np.arange(num_classes + 1)
        intersect += np.histogram(prediction[prediction == label], edges)[0]
        predicted += np.histogram(prediction, edges)[0]
        labelled += np.histogram(label, edges)[0]
    with np.errstate(all="ignore"):
        return {
            "aAcc": intersect.sum() / labelled.sum(),
            "IoU": intersect / (predicted + labelled - intersect),
            "Acc": intersect / labelled,
            "Dice": 2 * intersect / (predicted + labelled),
            "Precision": intersect / predicted,
            "Recall": intersect / labelled,
        }


def test_scores_are_mmsegmentations():
    maps, matrix = [random_maps(seed) for seed in range(4)], ConfusionMatrix(6)
    for prediction, label in maps:
        matrix.update(prediction=prediction, label=label)
    scores, expected = matrix.scores(), mmsegmentation_scores(maps, 6)
    assert scores.pixel_accuracy == pytest.approx(expected["aAcc"])
    pairs = [(theirs.lower(), theirs) for theirs in ("IoU", "Dice", "Precision", "Recall")]
    for ours, theirs in [*pairs, ("accuracy", "Acc")]:
        assert list(getattr(scores, ours).values()) == pytest.approx(expected[theirs], nan_ok=True)
        mean = scores.miou if ours == "iou" else getattr(scores, f"mean_{ours}")
        assert mean == pytest.approx(np.nanmean(expected[theirs]))
    assert math.isnan(scores.accuracy["class 5"])
    assert math.isnan(scores.precision["class 2"])


def test_f1_is_mmsegmentations_fscore_where_that_is_a_number():
    """Theirs, with beta 1, is not a number for a class that is never predicted, or never rightly; ours is 0 there."""
    maps, matrix = [random_maps(seed) for seed in range(4)], ConfusionMatrix(6)
    for prediction, label in maps:
        matrix.update(prediction=prediction, label=label)
    expected = mmsegmentation_scores(maps, 6)
    precision, recall = expected["Precision"], expected["Recall"]
    with np.errstate(all="ignore"):
        fscore = 2 * precision * recall / (precision + recall)
    ours = np.array(list(matrix.scores().f1.values()))
    assert np.flatnonzero(np.isnan(fscore)).tolist() == [2, 5]
    assert ours[[0, 1, 3, 4]] == pytest.approx(fscore[[0, 1, 3, 4]])
    assert ours[[2, 5]].tolist() == [0.0, 0.0]


def test_all_scores_by_hand():
    matrix = ConfusionMatrix(num_classes=2)
    matrix.update(prediction=np.array([[0, 0, 0, 1]]), label=np.array([[0, 0, 1, 1]]))
    scores = matrix.scores(["sky", "road"])
    assert scores.recall == {"sky": 1.0, "road": 0.5}
    assert scores.precision == pytest.approx({"sky": 2 / 3, "road": 1.0})
    assert scores.f1 == pytest.approx({"sky": 4 / 5, "road": 2 / 3})
    assert (scores.mean_recall, scores.mean_f1) == pytest.approx((0.75, 11 / 15))
    assert scores.mean_precision == pytest.approx(5 / 6)


def test_scores_become_json_and_a_table():
    matrix = ConfusionMatrix(num_classes=2)
    matrix.update(prediction=np.array([[0, 0]]), label=np.array([[0, 0]]))
    scores = matrix.scores(["sky", "road"])
    document = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    assert document["iou"] == {"sky": 1.0, "road": None}
    assert "ignore index" in document["policy"]
    lines = str(scores).splitlines()
    assert [line.split()[0] for line in lines] == ["class", "sky", "road", "mean", "pixel"]
    assert "100.00" in lines[1]
    assert "–" in lines[2]


def boundary_by_erosion(mask, distance):
    """What a mask loses when it is eroded by a square, with nothing outside of the picture."""
    side = 2 * distance + 1
    eroded = sliding_window_view(np.pad(mask, distance), (side, side)).all(axis=(2, 3))
    return mask & ~eroded


@pytest.mark.parametrize("distance", [1, 2, 5])
def test_one_filter_finds_the_boundaries_of_all_classes(distance):
    classes = np.kron(np.random.default_rng(distance).integers(0, 4, (4, 5)), np.ones((13, 11), dtype=int))
    for index in range(4):
        found = is_boundary(classes, distance) & (classes == index)
        assert np.array_equal(found, boundary_by_erosion(classes == index, distance))


def test_boundary_iou_is_that_of_the_eroded_masks():
    counts, common, union = BoundaryCounts(3, ratio=0.05), np.zeros(3), np.zeros(3)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        label = np.kron(rng.integers(0, 3, (3, 4)), np.ones((15, 16), dtype=int))
        prediction = np.roll(label, 2, axis=1)
        counts.update(prediction=prediction, label=label)
        distance = boundary_distance(label.shape, 0.05)
        for index in range(3):
            ours, theirs = (boundary_by_erosion(maps == index, distance) for maps in (prediction, label))
            common[index] += (ours & theirs).sum()
            union[index] += (ours | theirs).sum()
    assert counts.iou() == pytest.approx(common / union)


def test_a_right_prediction_has_boundary_iou_one_whatever_it_says_of_ignored_pixels():
    label = np.zeros((40, 40), dtype=np.uint8)
    label[10:30, 10:30], label[:, 20:25] = 1, 255
    prediction = np.where(label == 255, np.arange(40) % 2, label)
    counts = BoundaryCounts(2)
    counts.update(prediction=prediction, label=label)
    assert counts.iou().tolist() == [1.0, 1.0]


def test_boundary_iou_by_hand():
    """One class fills 5 × 5 pixels, its boundary is the rim of 16; a wrong corner takes one away and adds one."""
    label, prediction = np.zeros((5, 5), dtype=int), np.zeros((5, 5), dtype=int)
    prediction[0, 0] = 1  # its neighbour (1, 1) becomes boundary
    counts = BoundaryCounts(2)
    counts.update(prediction=prediction, label=label)
    assert counts.iou() == pytest.approx([15 / 17, 0.0])


def test_the_distance_is_two_percent_of_the_diagonal():
    assert boundary_distance((1024, 2048), 0.02) == 46  # 45.79
    assert boundary_distance((10, 10), 0.02) == 1
