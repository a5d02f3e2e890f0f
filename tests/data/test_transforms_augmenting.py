"""The transforms of images with one class each, beside Pillow's operations and by what they promise."""

import pickle

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from segpipe.configuration import RandAugment, RandomAreaCrop, RandomErasing, RandomFlip
from segpipe.data import Sample
from segpipe.data.sample_order import Key, sample_rng
from segpipe.data.transforms.augmenting import OPERATIONS, Strength
from segpipe.data.transforms.building import build_transforms
from segpipe.errors import InputError

FILL = (124, 116, 104)
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)
SAMPLE = Sample(PIXELS, None, "noise", class_index=3)
PICTURE = Image.fromarray(PIXELS)
BICUBIC = Image.Resampling.BICUBIC


def done(name, share, sign=1):
    return np.asarray(OPERATIONS[name](PICTURE, Strength(share, sign, 0.45, FILL)))


def shifted(matrix):
    return PICTURE.transform(PICTURE.size, Image.Transform.AFFINE, matrix, resample=BICUBIC, fillcolor=FILL)


@pytest.mark.parametrize(
    ("name", "share", "sign", "expected"),
    [
        ("auto_contrast", 0.9, 1, ImageOps.autocontrast(PICTURE)),
        ("equalize", 0.9, 1, ImageOps.equalize(PICTURE)),
        ("invert", 0.9, 1, ImageOps.invert(PICTURE)),
        ("rotate", 0.9, -1, PICTURE.rotate(-27, resample=BICUBIC, fillcolor=FILL)),
        ("posterize", 0.9, 1, ImageOps.posterize(PICTURE, 1)),
        ("solarize", 0.9, 1, ImageOps.solarize(PICTURE, 26)),
        ("color", 0.9, 1, ImageEnhance.Color(PICTURE).enhance(1.81)),
        ("contrast", 0.9, -1, ImageEnhance.Contrast(PICTURE).enhance(0.19)),
        ("brightness", 0.5, 1, ImageEnhance.Brightness(PICTURE).enhance(1.45)),
        ("sharpness", 1.0, -1, ImageEnhance.Sharpness(PICTURE).enhance(0.1)),
        ("shear_x", 0.9, 1, shifted((1, 0.27, 0, 0, 1, 0))),
        ("shear_y", 0.9, -1, shifted((1, 0, 0, -0.27, 1, 0))),
        ("translate_x", 0.9, 1, shifted((1, 0, 0.405 * 56, 0, 1, 0))),
        ("translate_y", 0.9, -1, shifted((1, 0, 0, 0, 1, -0.405 * 40))),
    ],
)
def test_operations_are_pillows_with_timms_strengths(name, share, sign, expected):
    difference = np.abs(done(name, share, sign).astype(int) - np.asarray(expected).astype(int))
    assert difference.max() <= 1  # 0.9 · 0.9 + 1 is not 1.81 to the last bit


def test_solarize_add_brightens_dark_values_only():
    found = done("solarize_add", 0.9)  # by 99
    expected = np.where(PIXELS < 128, np.minimum(PIXELS.astype(int) + 99, 255), PIXELS)
    np.testing.assert_array_equal(found, expected)


def test_rand_augment_takes_all_operations_and_leaves_half_of_them_out(monkeypatch):
    seen = []
    for name in OPERATIONS:
        monkeypatch.setitem(OPERATIONS, name, lambda image, strength, name=name: seen.append((name, strength)) or image)
    chain = build_transforms([RandAugment()], ignore_index=255, fill=FILL)
    for index in range(600):
        chain(SAMPLE, np.random.default_rng(index))
    assert {name for name, _ in seen} == set(OPERATIONS)
    assert 500 < len(seen) < 700  # two are drawn, one is done
    shares = np.array([strength.share for _, strength in seen])
    assert shares.mean() == pytest.approx(0.9, abs=0.01)
    assert shares.std() == pytest.approx(0.05, abs=0.01)
    assert shares.max() <= 1.0
    assert {strength.sign for _, strength in seen} == {-1, 1}
    assert seen[0][1].fill == FILL


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (24, 24)])
def test_rand_augment_pickles_passes_the_smallest_images_and_writes_into_none(size):
    chain = build_transforms([RandAugment(operations=8, operation_probability=1.0)], ignore_index=255, fill=FILL)
    pixels = PIXELS[: size[0], : size[1]].copy()
    pixels.flags.writeable = False
    sample = Sample(pixels, None, "small", class_index=1)
    for index in range(20):
        first, second = (
            step(sample, np.random.default_rng(index)).image for step in (chain, pickle.loads(pickle.dumps(chain)))
        )
        np.testing.assert_array_equal(first, second)
        assert (first.shape, first.dtype) == ((*size, 3), np.uint8)


def test_images_with_a_label_map_are_refused():
    chain = build_transforms([RandAugment()], ignore_index=255, fill=FILL)
    with pytest.raises(InputError, match="rand_augment moves pixels without it"):
        chain(Sample(PIXELS, np.zeros((40, 56), np.uint8), "labeled"), np.random.default_rng(0))


def test_area_crops_have_the_size_and_cover_the_shares():
    chain = build_transforms([RandomAreaCrop(size=(24, 32))], ignore_index=255, fill=FILL)
    crops = [chain(SAMPLE, np.random.default_rng(index)).image for index in range(50)]
    assert {crop.shape for crop in crops} == {(24, 32, 3)}
    assert len({crop.tobytes() for crop in crops}) >= 48  # whole pixels may be drawn twice
    whole = build_transforms(
        [RandomAreaCrop(size=(24, 32), area=(1, 1), ratio=(1.4, 1.4))], ignore_index=255, fill=FILL
    )
    expected = PICTURE.resize((32, 24), BICUBIC)
    np.testing.assert_array_equal(whole(SAMPLE, np.random.default_rng(0)).image, expected)


def test_a_box_that_never_fits_becomes_the_middle():
    narrow = Sample(np.tile(np.arange(90, dtype=np.uint8)[:, None, None], (1, 10, 3)), None, "narrow")
    chain = build_transforms([RandomAreaCrop(size=(8, 6), area=(1, 1))], ignore_index=255, fill=FILL)
    found = chain(narrow, np.random.default_rng(0)).image  # 13 of 90 rows around the middle
    assert found.min() >= 37
    assert found.max() <= 52


def test_erased_boxes_are_noise_around_the_mean_in_a_quarter_of_the_images():
    gray = Sample(np.zeros((64, 64, 3), np.uint8), None, "black", class_index=0)
    chain = build_transforms([RandomErasing()], ignore_index=255, fill=FILL)
    masks = [chain(gray, np.random.default_rng(index)).image.any(axis=2) for index in range(400)]
    shares = [mask.mean() for mask in masks if mask.any()]
    assert 70 < len(shares) < 130
    assert min(shares) > 0.015
    assert max(shares) < 0.36
    always = build_transforms([RandomErasing(probability=1.0, area=(0.3, 0.3))], ignore_index=255, fill=FILL)
    values = always(gray, np.random.default_rng(1)).image
    assert values[values.any(axis=2)].mean(axis=0) == pytest.approx(FILL, abs=6)
    assert not gray.image.any()  # the sample that was given stays


def test_the_recipe_follows_from_seed_epoch_and_index():
    steps = [RandomAreaCrop(size=(24, 24)), RandomFlip(), RandAugment(), RandomErasing(probability=1.0)]
    chain = build_transforms(steps, ignore_index=255, fill=FILL)
    first, again, other = (chain(SAMPLE, sample_rng(5, Key(epoch, 7))) for epoch in (2, 2, 3))
    np.testing.assert_array_equal(first.image, again.image)
    assert (first.image != other.image).any()
    assert (first.label, first.class_index) == (None, 3)
