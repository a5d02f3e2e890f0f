"""Samples into batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segpipe.data import Sample, collate
from segpipe.errors import InputError


def make_sample(name="a.png", size=(2, 3), level=7, label=1):
    image = np.full((*size, 3), level, np.uint8)
    image[0, 0] = (10, 20, 30)
    return Sample(image, np.full(size, label, np.uint8), name)


def test_a_batch_has_channels_first_and_int64_labels():
    batch = collate([make_sample("a.png"), make_sample("b.png", level=9, label=255)])
    assert batch.images.shape == (2, 3, 2, 3)
    assert batch.images.dtype == torch.uint8
    assert batch.images[0, :, 0, 0].tolist() == [10, 20, 30]
    assert batch.images[1, :, 1, 2].tolist() == [9, 9, 9]
    assert batch.labels.dtype == torch.uint8
    assert batch.labels[1].unique().tolist() == [255]
    assert batch.names == ("a.png", "b.png")


def test_labels_of_many_classes_keep_their_values():
    sample = Sample(np.zeros((1, 2, 3), np.uint8), np.array([[65535, 300]], np.uint16), "a.png")
    assert collate([sample]).labels.tolist() == [[[65535, 300]]]
    assert collate([sample]).labels.dtype == torch.int32


def test_images_of_two_sizes_are_refused_with_names_and_sizes():
    with pytest.raises(InputError, match=r"a\.png is 2 × 3 and b\.png is 4 × 3 .*one size.*random_crop"):
        collate([make_sample("a.png"), make_sample("b.png", size=(4, 3))])


def test_a_label_of_another_size_is_refused():
    sample = Sample(np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2), np.uint8), "a.png")
    with pytest.raises(InputError, match=r"a\.png: the image is 2 × 3 and its label 3 × 2"):
        collate([sample])


def test_a_sample_without_a_label_is_refused():
    with pytest.raises(InputError, match=r"a\.png has no label"):
        collate([Sample(np.zeros((2, 3, 3), np.uint8), None, "a.png")])


def test_no_samples_are_no_batch():
    with pytest.raises(InputError, match="no samples"):
        collate([])
