"""Scores against numbers worked out by hand."""

import math

import numpy as np
import pytest

from segpipe.errors import InputError
from segpipe.evaluation import ConfusionMatrix


def test_miou_ignores_unlabelled_pixels():
    matrix = ConfusionMatrix(num_classes=2, ignore_index=255)
    matrix.update(prediction=np.array([[0, 1, 1]]), label=np.array([[0, 0, 255]]))
    scores = matrix.scores()
    assert scores.miou == pytest.approx(0.25)  # IoU 1/2 and 0/1
    assert scores.pixel_accuracy == pytest.approx(0.5)


def test_scores_of_three_classes_by_hand():
    matrix = ConfusionMatrix(num_classes=3)
    matrix.update(prediction=np.array([[0, 0, 1, 2]]), label=np.array([[0, 1, 1, 2]]))
    scores = matrix.scores(["a", "b", "c"])
    assert scores.iou == pytest.approx({"a": 1 / 2, "b": 1 / 2, "c": 1.0})
    assert scores.mean_accuracy == pytest.approx((1 + 1 / 2 + 1) / 3)


def test_a_class_that_is_nowhere_is_not_averaged():
    matrix = ConfusionMatrix(num_classes=3)
    matrix.update(prediction=np.array([[0, 1]]), label=np.array([[0, 1]]))
    scores = matrix.scores()
    assert scores.miou == 1.0
    assert math.isnan(scores.iou["class 2"])


def test_a_void_prediction_is_wrong_but_no_class():
    matrix = ConfusionMatrix(num_classes=1)
    matrix.update(prediction=np.array([[0, 7]]), label=np.array([[0, 0]]))
    assert matrix.scores().iou["class 0"] == pytest.approx(1 / 2)


def test_a_negative_prediction_is_void_too():
    matrix = ConfusionMatrix(num_classes=2)
    matrix.update(prediction=np.array([[-1, 1]]), label=np.array([[1, 1]]))
    assert matrix.scores().iou == pytest.approx({"class 0": math.nan, "class 1": 1 / 2}, nan_ok=True)


def test_names_must_be_as_many_as_classes():
    with pytest.raises(InputError, match="1 names for 2 classes"):
        ConfusionMatrix(2).scores(["a"])


def test_counting_does_not_depend_on_the_order():
    rng = np.random.default_rng(0)
    maps = [(rng.integers(0, 4, (5, 6)), rng.integers(0, 4, (5, 6))) for _ in range(3)]
    forwards, backwards = ConfusionMatrix(4), ConfusionMatrix(4)
    for prediction, label in maps:
        forwards.update(prediction=prediction, label=label)
    for prediction, label in reversed(maps):
        backwards.update(prediction=prediction, label=label)
    assert np.array_equal(forwards.counts, backwards.counts)


def test_a_label_out_of_range_says_what_would_be_right():
    with pytest.raises(InputError, match=r"value 11, and there are 11 classes.*0 to 10, or 255"):
        ConfusionMatrix(11).update(prediction=np.zeros((1, 1)), label=np.full((1, 1), 11))
