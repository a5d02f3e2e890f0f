"""Transforms of colors against the formulas of their sources, and Pillow."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from segpipe import configuration as documents
from segpipe.data.sample import Sample
from segpipe.data.transforms.building import build_transforms


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colors with some noise."""
    coarse = rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(smooth + rng(seed).normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


def filtered(config, image: np.ndarray, seed: int = 0) -> np.ndarray:
    return build_transforms([config], ignore_index=255, fill=(0, 0, 0))(Sample(image, None, "x", {}), rng(seed)).image


def distance(first: np.ndarray, second) -> int:
    return int(np.abs(first.astype(int) - np.asarray(second).astype(int)).max())


def reference_distortion(image, generator):
    """mmsegmentation's PhotoMetricDistortion, on BGR, step by step in floats."""

    def convert(values, alpha=1, beta=0):
        return np.clip(values.astype(np.float32) * alpha + beta, 0, 255).astype(np.uint8)

    def contrast(values):
        return convert(values, alpha=generator.uniform(0.5, 1.5)) if generator.integers(2) else values

    if generator.integers(2):
        image = convert(image, beta=generator.uniform(-32, 32))
    mode = generator.integers(2)
    if mode == 1:
        image = contrast(image)
    if generator.integers(2):
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        hsv[:, :, 1] = convert(hsv[:, :, 1], alpha=generator.uniform(0.5, 1.5))
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    if generator.integers(2):
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        hsv[:, :, 0] = (hsv[:, :, 0].astype(int) + generator.integers(-18, 18)) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    return contrast(image) if mode == 0 else image


def test_photometric_distortion_is_mmsegmentations():
    image = picture(40, 50)
    for seed in range(60):
        expected = reference_distortion(np.ascontiguousarray(image[..., ::-1]), rng(seed))[..., ::-1]
        np.testing.assert_array_equal(filtered(documents.PhotometricDistortion(), image, seed), expected)


def test_photometric_distortion_may_do_nothing():
    image = picture(8, 8)
    config = documents.PhotometricDistortion(brightness=0, contrast=(1, 1), saturation=(1, 1), hue=0)
    for seed in range(20):
        result = filtered(config, image, seed)
        assert distance(result, image) <= 6  # there and back through HSV


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.7])
@pytest.mark.parametrize(
    ("name", "enhance"),
    [("brightness", ImageEnhance.Brightness), ("contrast", ImageEnhance.Contrast), ("saturation", ImageEnhance.Color)],
)
def test_color_jitter_is_pillows_enhancement(name, enhance, factor):
    image = picture(30, 40)
    expected = enhance(Image.fromarray(image)).enhance(factor)
    assert distance(filtered(documents.ColorJitter(**{name: factor}), image), expected) <= 1


def test_hue_turns_red_to_green_to_blue():
    red = np.array([[[200, 0, 0]]], np.uint8)
    assert filtered(documents.ColorJitter(hue=1 / 3), red).tolist() == [[[0, 200, 0]]]
    assert filtered(documents.ColorJitter(hue=-1 / 3), red).tolist() == [[[0, 0, 200]]]


def test_gamma_above_one_darkens():
    image = np.array([[[0, 64, 255]]], np.uint8)
    assert filtered(documents.Gamma(gamma=2.0), image).tolist() == [[[0, 16, 255]]]  # 255 · (64 / 255)² = 16.06
    assert filtered(documents.Gamma(gamma=1.0, gain=0.5), image).tolist() == [[[0, 32, 128]]]


def test_grayscale_weighs_the_channels():
    image = picture(20, 20)
    gray = image @ np.array([0.299, 0.587, 0.114])
    assert distance(filtered(documents.Grayscale(probability=1.0), image), np.rint(gray)[..., None].repeat(3, 2)) <= 1


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 2.5])
def test_sharpness_is_pillows(factor):
    image = picture(30, 40)
    expected = ImageEnhance.Sharpness(Image.fromarray(image)).enhance(factor)
    assert distance(filtered(documents.Sharpness(factor=factor, probability=1.0), image), expected) <= 2


@pytest.mark.parametrize("seed", range(5))
def test_histograms_are_pillows(seed):
    image = (picture(37, 41, seed) // 2 + 20).astype(np.uint8)
    image[..., 1] = 90  # a flat channel stays
    pillow = Image.fromarray(image)
    stretched = filtered(documents.AutoContrast(probability=1.0), image)
    np.testing.assert_array_equal(stretched, ImageOps.autocontrast(pillow))
    np.testing.assert_array_equal(filtered(documents.Equalize(), image), ImageOps.equalize(pillow))
    np.testing.assert_array_equal(filtered(documents.Posterize(bits=3), image), ImageOps.posterize(pillow, 3))


def test_rerange_stretches_all_channels_together():
    image = np.array([[[50, 60, 100]]], np.uint8)
    assert filtered(documents.Rerange(), image).tolist() == [[[0, 51, 255]]]
    assert filtered(documents.Rerange(least=10, greatest=20), image).tolist() == [[[10, 12, 20]]]


def test_blur_is_the_gaussian_of_its_sigma():
    image = np.zeros((7, 7, 3), np.uint8)
    image[3, 3] = 255
    row = np.exp(-(np.array([-1.0, 0.0, 1.0]) ** 2) / (2 * 0.8**2))  # 0.15 · 3 + 0.35 = 0.8
    expected = 255 * np.outer(row, row) / row.sum() ** 2
    blurred = filtered(documents.GaussianBlur(probability=1.0), image)[2:5, 2:5, 0]
    assert distance(blurred, np.rint(expected)) <= 1


def test_clahe_lifts_contrast_within_the_tile():
    image = np.repeat(np.linspace(100, 120, 64).astype(np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    result = filtered(documents.Clahe(tiles=(1, 2)), image)
    assert np.ptp(result.astype(int)) > 3 * np.ptp(image.astype(int))
    np.testing.assert_array_equal(result[..., 0], result[..., 2])
    assert distance(filtered(documents.Clahe(tiles=(2, 1)), image), result) > 3  # rows come first
