"""What holds for all transforms, and those that move pixels against numbers worked out by hand and their sources."""

from __future__ import annotations

import pickle
from typing import get_args

import cv2
import numpy as np
import pytest

from segpipe import configuration as documents
from segpipe.configuration import TransformConfig
from segpipe.data.sample import Sample
from segpipe.data.transforms.building import build_transforms
from segpipe.data.transforms.resize_crop_pad import (
    Padding,
    center_crop,
    fit_size,
    pad,
    pad_to_multiple,
    random_resized_crop,
    resize_pad,
    resize_to,
)
from segpipe.data.transforms.warping import flip_horizontal, flip_vertical, linear_map, warp
from segpipe.errors import InputError

IGNORE = 255
FILL = (124, 116, 104)
BORDER = Padding(FILL, IGNORE)
ALL = [
    documents.Resize(size=(20, 40)),
    documents.RandomResize(size=(20, 40)),
    documents.ResizeBetween(least=(10, 20), greatest=(20, 40)),
    documents.ResizeChoice(sizes=((10, 20), (20, 40))),
    documents.AlignedResize(size=(20, 40), multiple=8),
    documents.ResizePad(size=(30, 20)),
    documents.RandomCrop(size=(12, 16), max_class_share=0.75),
    documents.RandomResizedCrop(size=(16, 16)),
    documents.CenterCrop(size=(12, 16)),
    documents.Pad(size=(32, 32)),
    documents.PadToMultiple(multiple=32),
    documents.RandomFlip(probability=1.0),
    documents.RandomRotation(probability=1.0, expand=True),
    documents.Affine(angle=10, translate=(2, 3), scale=0.8, shear=(5, 10)),
    documents.PhotometricDistortion(),
    documents.ColorJitter(brightness=1.2, contrast=1.3, saturation=0.5, hue=0.1),
    documents.Gamma(gamma=0.5),
    documents.Sharpness(factor=2.0, probability=1.0),
    documents.AutoContrast(probability=1.0),
    documents.Rerange(least=10, greatest=200),
    documents.Equalize(),
    documents.Clahe(),
    documents.Posterize(),
    documents.GaussianBlur(probability=1.0),
    documents.Grayscale(probability=1.0),
    documents.RandomAreaCrop(size=(20, 28)),
    documents.RandomErasing(probability=1.0),
]
EVERY_TRANSFORM = pytest.mark.parametrize("config", ALL, ids=lambda config: type(config).__name__)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def build(*configs):
    return build_transforms(configs, ignore_index=IGNORE, fill=FILL)


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colors with some noise."""
    coarse = rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(smooth + rng(seed).normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


def some_sample(height: int = 24, width: int = 36, dtype: type = np.uint8) -> Sample:
    label = rng(1).choice([0, 1, 2, IGNORE], (height, width)).astype(dtype)
    extras = {"distance": label.astype(np.int64)[..., None] * 3, "angle": np.full((height, width), 45, np.float32)}
    return Sample(image(height, width), label, "some.jpg", extras)


def labeled(label, image=None) -> Sample:
    label = np.asarray(label, np.uint8)
    image = np.repeat(label[..., None], 3, axis=2) if image is None else image
    return Sample(image, label, "drawn", {"copy": label.astype(np.int64)})


# Every transform


def test_these_are_all_transforms():
    # That one refuses labels; tests/data/test_transforms_augmenting.py has it.
    assert {type(config) for config in ALL} | {documents.RandAugment} == set(get_args(TransformConfig))


@EVERY_TRANSFORM
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_arrays_fit_each_other_and_labels_stay_labels(config, dtype):
    sample = build(config)(some_sample(dtype=dtype), rng())
    assert sample.image.dtype == np.uint8
    assert sample.label.dtype == dtype
    assert sample.image.shape == (*sample.label.shape, 3)
    assert set(np.unique(sample.label)) <= {0, 1, 2, IGNORE}
    assert sample.extras["distance"].shape == (*sample.label.shape, 1)
    assert sample.extras["angle"].shape == sample.label.shape


@EVERY_TRANSFORM
def test_extras_move_like_the_label(config):
    sample = build(config)(some_sample(), rng(3))
    added = (sample.extras["distance"] == 0)[..., 0]
    expected = np.where(added, sample.label, sample.extras["distance"][..., 0] // 3)
    np.testing.assert_array_equal(sample.label, expected)
    assert set(np.unique(sample.label[added])) <= {0, IGNORE}


@EVERY_TRANSFORM
def test_the_given_arrays_are_left_alone(config):
    sample = some_sample()
    for array in (sample.image, sample.label, *sample.extras.values()):
        array.flags.writeable = False  # writing would raise
    before = pickle.dumps(sample)
    build(config)(sample, rng())
    assert pickle.dumps(sample) == before


@EVERY_TRANSFORM
def test_the_generator_alone_decides_also_after_pickling(config):
    transform = build(config)
    first = transform(some_sample(), rng(5))
    second = pickle.loads(pickle.dumps(transform))(some_sample(), rng(5))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.label, second.label)


@EVERY_TRANSFORM
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (3, 2)])
def test_the_smallest_images_pass(config, size):
    sample = build(config)(some_sample(*size), rng())
    assert sample.image.shape[:2] == sample.label.shape
    assert sample.label.size > 0


@EVERY_TRANSFORM
def test_a_image_without_label_passes(config):
    bare = Sample(image(24, 36), None, "bare", {})
    with_label = some_sample()
    assert build(config)(bare, rng()).label is None
    if not isinstance(config, documents.RandomCrop):  # whose boxes depend on the label
        np.testing.assert_array_equal(build(config)(bare, rng()).image, build(config)(with_label, rng()).image)


# Building


def test_steps_run_in_order_and_a_function_joins():
    def whiten(sample, rng):
        return Sample(np.full_like(sample.image, 255), sample.label, sample.name, sample.extras)

    chain = build(documents.CenterCrop(size=(4, 4)), whiten, documents.Pad(size=(4, 6), value=7))
    image = chain(some_sample(), rng()).image
    assert image.shape == (4, 6, 3)
    assert (image[:, :4] == 255).all()
    assert (image[:, 4:] == 7).all()


def test_an_empty_chain_gives_the_sample_itself():
    sample = some_sample()
    assert build()(sample, rng()) is sample


def test_what_is_no_transform_is_refused():
    with pytest.raises(InputError, match="'random_flip' is not a transform"):
        build("random_flip")


def test_probability_is_how_often():
    sample = labeled([[0, 1]])
    flip = build(documents.RandomFlip(probability=0.25))
    generator = rng()
    flipped = sum(int(flip(sample, generator).label[0, 0]) for _ in range(4000))
    assert flipped == pytest.approx(1000, abs=110)  # four standard deviations
    assert build(documents.RandomFlip(probability=0.0))(sample, generator) is sample


# Resizing


@pytest.mark.parametrize(
    ("size", "box", "expected"),
    [
        ((512, 683), (512, 2048), (512, 683)),
        ((480, 640), (2048, 512), (512, 683)),  # 682.67
        ((100, 1000), (512, 2048), (205, 2048)),  # the long side decides: 2.048
        ((1024, 2048), (1024, 2048), (1024, 2048)),
        ((3, 5), (2, 2), (1, 2)),  # 0.4: 1.2 and 2.0
        ((1, 1000), (1, 100), (1, 100)),  # 0.1 of a pixel is one
    ],
)
def test_ratio_is_kept_and_both_limits_hold(size, box, expected):
    assert fit_size(size, box) == expected


def test_random_resize_follows_mmsegmentation():
    config = documents.RandomResize(size=(20, 77), ratio=(0.5, 2.0))
    for seed in range(40):
        ratio = rng(seed).random() * (2.0 - 0.5) + 0.5
        scale = int(77 * ratio), int(20 * ratio)
        factor = min(max(scale) / 36, min(scale) / 24)
        expected = int(24 * factor + 0.5), int(36 * factor + 0.5)
        assert build(config)(some_sample(), rng(seed)).label.shape == expected


def test_random_resize_of_the_images_own_size_reaches_its_bounds():
    config = documents.RandomResize(size=None, ratio=(0.5, 2.0))
    heights = [build(config)(some_sample(100, 100), rng(seed)).label.shape[0] for seed in range(200)]
    assert 50 <= min(heights) < 54
    assert 196 < max(heights) <= 200


def test_resize_between_draws_both_sides_and_choice_draws_one_of_the_sizes():
    between = build(documents.ResizeBetween(least=(8, 1000), greatest=(10, 1000)))
    choice = build(documents.ResizeChoice(sizes=((6, 1000), (9, 1000))))
    assert {between(some_sample(), rng(seed)).label.shape[0] for seed in range(40)} == {8, 9, 10}
    assert {choice(some_sample(), rng(seed)).label.shape[0] for seed in range(40)} == {6, 9}


def test_aligned_resize_resizes_twice():
    sample = some_sample(48, 64)
    aligned = build(documents.AlignedResize(size=(51, 2048)))(sample, rng())  # 51 × 68, then 64 × 96
    once = cv2.resize(sample.image, (68, 51), interpolation=cv2.INTER_LINEAR)
    expected = cv2.resize(once, (96, 64), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(aligned.image, expected)
    assert aligned.label.shape == (64, 96)


def test_labels_take_the_nearest_pixel():
    sample = resize_to(labeled([[1, 2], [3, 4]]), (4, 6))
    expected = [[1, 1, 1, 2, 2, 2], [1, 1, 1, 2, 2, 2], [3, 3, 3, 4, 4, 4], [3, 3, 3, 4, 4, 4]]
    np.testing.assert_array_equal(sample.label, expected)
    np.testing.assert_array_equal(sample.extras["copy"], expected)


def test_resize_pad_fits_and_fills():
    sample = resize_pad(labeled(np.ones((4, 8))), rng(), size=(4, 4), padding=Padding((9, 8, 7), IGNORE))
    np.testing.assert_array_equal(sample.label, [[1] * 4, [1] * 4, [IGNORE] * 4, [IGNORE] * 4])
    np.testing.assert_array_equal(sample.image[3, 0], [9, 8, 7])


# Cropping and padding


def reference_crop(label, size, max_share, generator):
    """mmsegmentation's rule with numpy.unique; up to ten boxes."""
    for _ in range(10):
        top = generator.integers(0, max(label.shape[0] - size[0], 0) + 1)
        left = generator.integers(0, max(label.shape[1] - size[1], 0) + 1)
        part = label[top : top + size[0], left : left + size[1]]
        values, counts = np.unique(part, return_counts=True)
        counts = counts[values != IGNORE]
        if len(counts) > 1 and np.max(counts) / np.sum(counts) < max_share:
            break
    return part


def test_random_crop_avoids_boxes_of_one_class():
    label = np.zeros((30, 30), np.uint8)
    label[20:, 15:] = 1
    label[:, :3] = IGNORE
    crop = build(documents.RandomCrop(size=(10, 12), max_class_share=0.75))
    for seed in range(60):
        expected = reference_crop(label, (10, 12), 0.75, rng(seed))
        np.testing.assert_array_equal(crop(labeled(label), rng(seed)).label, expected)


def test_random_crop_takes_the_last_box_when_none_will_do():
    crop = build(documents.RandomCrop(size=(2, 2), max_class_share=0.75))
    assert crop(labeled(np.ones((5, 5))), rng()).label.tolist() == [[1, 1], [1, 1]]
    assert crop(labeled(np.full((5, 5), IGNORE)), rng()).label.shape == (2, 2)


def test_random_crop_reaches_all_places_and_leaves_small_sides():
    crop = build(documents.RandomCrop(size=(8, 2)))
    corners = {int(crop(labeled(np.arange(5)[None]), rng(seed)).label[0, 0]) for seed in range(80)}
    assert corners == {0, 1, 2, 3}
    assert crop(labeled(np.arange(5)[None]), rng()).label.shape == (1, 2)


def test_center_crop_cuts_the_larger_half_at_the_end():
    label = np.arange(5)[None].repeat(3, axis=0)
    sample = center_crop(labeled(label), rng(), size=(1, 2))
    np.testing.assert_array_equal(sample.label, [[1, 2]])  # three surplus columns: one left, two right
    assert center_crop(labeled(label), rng(), size=(9, 9)).label.shape == (3, 5)


def test_random_resized_crop_pads_what_is_missing():
    sample = labeled(np.ones((8, 16)))
    full = random_resized_crop(sample, rng(), size=(4, 4), ratio=(1.0, 1.0), padding=BORDER)
    half = random_resized_crop(sample, rng(), size=(4, 4), ratio=(0.5, 0.5), padding=BORDER)
    np.testing.assert_array_equal(full.label, np.ones((4, 4)))  # box 4 × 16, so 4 × 8 before the crop
    np.testing.assert_array_equal(half.label, [[1] * 4, [1] * 4, [IGNORE] * 4, [IGNORE] * 4])  # 2 × 4
    assert tuple(half.image[3, 3]) == FILL


def test_pad_fills_right_and_bottom():
    sample = pad(labeled([[1, 2]]), rng(), size=(2, 3), padding=BORDER)
    np.testing.assert_array_equal(sample.label, [[1, 2, IGNORE], [IGNORE] * 3])
    np.testing.assert_array_equal(sample.extras["copy"], [[1, 2, 0], [0, 0, 0]])
    assert tuple(sample.image[1, 2]) == FILL
    assert pad(sample, rng(), size=(1, 3), padding=BORDER) is sample


def test_pad_to_multiple():
    assert pad_to_multiple(some_sample(33, 64), rng(), multiple=32, padding=BORDER).label.shape == (64, 64)


# Mirroring, turning, shearing


def test_flips_mirror_positions_and_directions():
    sample = labeled([[1, 2, 3], [4, 5, 6]])
    sample = Sample(sample.image, sample.label, "x", {"angle": np.array([[0, 90, 45], [180, -90, -135]], np.int16)})
    across, down = flip_horizontal(sample, rng()), flip_vertical(sample, rng())
    np.testing.assert_array_equal(across.label, [[3, 2, 1], [6, 5, 4]])
    np.testing.assert_array_equal(across.extras["angle"], [[135, 90, 180], [-45, -90, 0]])
    np.testing.assert_array_equal(down.label, [[4, 5, 6], [1, 2, 3]])
    np.testing.assert_array_equal(down.extras["angle"], [[180, 90, 135], [0, -90, -45]])
    np.testing.assert_array_equal(across.image, sample.image[:, ::-1])
    assert min(across.image.strides) > 0  # torch takes no others


def test_a_quarter_turn_is_exact_and_clockwise():
    label = np.arange(12).reshape(3, 4)
    sample = Sample(labeled(label).image, label.astype(np.uint8), "x", {"angle": np.zeros((3, 4))})
    turned = warp(sample, linear_map(angle=90), size=(4, 3), padding=BORDER)
    np.testing.assert_array_equal(turned.label, np.rot90(label, -1))
    np.testing.assert_array_equal(turned.image[..., 0], np.rot90(label, -1))
    np.testing.assert_allclose(turned.extras["angle"], np.full((4, 3), 90))


def test_expanding_rotation_keeps_all_corners():
    label = np.zeros((21, 31), np.uint8)
    label[:3, :3], label[:3, -3:], label[-3:, :3], label[-3:, -3:] = 1, 2, 3, 4
    turn = {"degrees": 40.0, "probability": 1.0, "label_value": 9}
    large = build(documents.RandomRotation(**turn, expand=True))(labeled(label), rng(1)).label
    same = build(documents.RandomRotation(**turn))(labeled(label), rng(1)).label
    assert set(np.unique(large)) == {0, 1, 2, 3, 4, 9}
    assert same.shape == label.shape
    assert set(np.unique(same)) != {0, 1, 2, 3, 4, 9}


def test_affine_moves_down_and_right_with_its_own_fills():
    config = documents.Affine(translate=(1, 2), value=50, label_value=77)
    sample = build(config)(labeled([[1, 2, 3], [4, 5, 6]]), rng())
    np.testing.assert_array_equal(sample.label, [[77, 77, 77], [77, 77, 1]])
    np.testing.assert_array_equal(sample.image[..., 0], [[50, 50, 50], [50, 50, 1]])
    np.testing.assert_array_equal(sample.extras["copy"], [[0, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize(("angle", "scale", "shear"), [(30, 1.5, (10, -20)), (-75, 0.5, (0, 40)), (0, 1.0, (25, 0))])
def test_affine_matrix_is_torchvisions(angle, scale, shear):
    """The closed form in torchvision's `_get_inverse_affine_matrix`, with its shear (x, y)."""
    turn, sy, sx = np.radians([angle, *shear])
    a = np.cos(turn - sy) / np.cos(sy)
    b = -np.cos(turn - sy) * np.tan(sx) / np.cos(sy) - np.sin(turn)
    c = np.sin(turn - sy) / np.cos(sy)
    d = -np.sin(turn - sy) * np.tan(sx) / np.cos(sy) + np.cos(turn)
    np.testing.assert_allclose(linear_map(angle=angle, scale=scale, shear=shear), scale * np.array([[a, b], [c, d]]))
