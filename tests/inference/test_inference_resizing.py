"""Resizing against mmcv's and Hugging Face's rules, by hand-worked sizes and their own libraries."""

import cv2
import numpy as np
import pytest
from PIL import Image

from segpipe.configuration import ExactResize, PreprocessorConfig, ShortSideResize
from segpipe.inference import preprocessing
from segpipe.inference.preprocessing import resize_image, resized_size, scale_preprocessor

SHORT = PreprocessorConfig(resize=ShortSideResize(size=512, max_long_side=2048))
ALIGNED = PreprocessorConfig(resize=ShortSideResize(size=512, max_long_side=2048, multiple=32))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((480, 640), (512, 683)), ((640, 480), (683, 512)), ((512, 512), (512, 512)), ((100, 1000), (205, 2048))],
)
def test_short_side_keeps_the_ratio_within_the_long_side(size, expected):
    assert resized_size(size, SHORT) == expected


# By hand, NVlabs' AlignedResize with img_scale (2048, 512): 640 · 512 / 480 = 682.67 → 683 → 22 · 32 = 704;
# 100 · 2048 / 1000 = 204.8 → 205 → 7 · 32 = 224; 375 · 512 / 500 = 384 as it is.
@pytest.mark.parametrize(
    ("size", "expected"),
    [((480, 640), (512, 704)), ((640, 480), (704, 512)), ((512, 512), (512, 512)), ((100, 1000), (224, 2048))],
)
def test_an_aligned_resize_ends_at_the_next_multiple(size, expected):
    assert resized_size(size, ALIGNED) == expected
    assert resize_image(np.zeros((*size, 3), np.uint8), ALIGNED).shape == (*expected, 3)


def test_an_aligned_resize_exceeds_the_long_side_if_that_is_no_multiple():
    resize = ShortSideResize(size=100, max_long_side=200, multiple=32)
    assert resized_size((50, 300), PreprocessorConfig(resize=resize)) == (64, 224)  # 33 × 200 before


def test_an_aligned_resize_interpolates_twice_as_nvlabs_does():
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    fitted = cv2.resize(image, (53, 40), interpolation=cv2.INTER_LINEAR)  # 64 · 40 / 48 = 53.3
    expected = cv2.resize(fitted, (64, 64), interpolation=cv2.INTER_LINEAR)
    found = resize_image(image, PreprocessorConfig(resize=ShortSideResize(size=40, multiple=32)))
    assert np.array_equal(found, expected)
    assert not np.array_equal(found, cv2.resize(image, (64, 64), interpolation=cv2.INTER_LINEAR))


def test_test_scales_are_aligned_after_scaling():
    """NVlabs: img_scale (2048, 512) at 0.75 is (1536, 384); 480 × 640 fits as 384 × 512, 481 × 640 as 384 × 511."""
    scaled = scale_preprocessor(ALIGNED, 0.75, (480, 640))
    assert scaled.resize == ShortSideResize(size=384, max_long_side=1536, multiple=32)
    assert resized_size((480, 640), scaled) == (384, 512)
    assert resized_size((481, 600), scaled) == (384, 480)  # 600 · 384 / 481 = 479.0
    assert resized_size((480, 600), scale_preprocessor(ALIGNED, 1.25, (480, 600))) == (640, 800)
    assert resized_size((427, 640), scale_preprocessor(ALIGNED, 0.875, (427, 640))) == (448, 672)  # 671.5 → 672
    assert resized_size((427, 650), scale_preprocessor(ALIGNED, 0.875, (427, 650))) == (448, 704)  # 682.0


def test_no_resize_gives_the_same_array():
    image = np.zeros((5, 7, 3), np.uint8)
    assert resize_image(image, PreprocessorConfig()) is image


def test_each_library_is_the_one_named():
    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    by_opencv = resize_image(image, PreprocessorConfig(resize=ExactResize(size=(16, 20), library="opencv")))
    by_pillow = resize_image(image, PreprocessorConfig(resize=ExactResize(size=(16, 20), library="pillow")))
    assert np.array_equal(by_opencv, cv2.resize(image, (20, 16), interpolation=cv2.INTER_LINEAR))
    assert np.array_equal(by_pillow, np.asarray(Image.fromarray(image).resize((20, 16), Image.Resampling.BILINEAR)))
    assert np.abs(by_opencv.astype(int) - by_pillow).max() > 30


# (before, after, whether bands are taken): Pillow 13 begins with the columns where many more rows than columns go.
RESIZES = [
    ((64, 97), (31, 40), True),
    ((64, 97), (1, 1), True),
    ((97, 64), (31, 20), True),
    ((97, 64), (20, 40), False),
    ((64, 97), (10, 90), False),
    ((700, 5), (699, 3), False),
    ((64, 97), (64, 40), False),
    ((64, 97), (31, 200), False),
    ((64, 97), (90, 300), False),
]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("resampling", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
@pytest.mark.parametrize(("before", "after", "has_bands"), RESIZES)
def test_bands_give_what_pillow_gives_in_one(monkeypatch, before, after, has_bands, resampling, threads):
    monkeypatch.setattr(preprocessing, "LARGE_PIXELS", 1)
    monkeypatch.setattr(preprocessing, "BAND_PIXELS", 700)
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    parts, resize = [], preprocessing._resize
    monkeypatch.setattr(preprocessing, "_resize", lambda *arguments: parts.append(1) or resize(*arguments))
    image = np.random.default_rng(0).integers(0, 256, (*before, 3), dtype=np.uint8)[:, ::-1]
    expected = np.asarray(Image.fromarray(image).resize((after[1], after[0]), resampling))
    assert np.array_equal(preprocessing._resize_with_pillow(image, after, resampling), expected)
    assert (len(parts) > 1) == has_bands


def test_a_scale_multiplies_what_is_resized_to():
    """mmsegmentation: img_scale (2048, 512) and ratio 0.75 give (1536, 384); parts of pixels are cut off."""
    assert scale_preprocessor(SHORT, 0.75, (480, 640)).resize == ShortSideResize(size=384, max_long_side=1536)
    exact = PreprocessorConfig(resize=ExactResize(size=(101, 50)))
    assert scale_preprocessor(exact, 1.75, (480, 640)).resize.size == (176, 87)
    assert scale_preprocessor(SHORT, 1.0, (480, 640)) is SHORT


# By hand. 257 · 0.5 = 128.5, 301 · 0.5 = 150.5. 1.x rounds them to 129 × 151, into which the image fits at 151 / 301 as
# 128.9 × 151; 0.x cuts them to 128 × 150, into which it fits at 128 / 257 as 128 × 149.9. 75 · 1.75 = 131.25 and
# 101 · 1.75 = 176.75: in 1.x 131 × 177, which fits at 131 / 75 as 131 × 176.4; in 0.x 131 × 176 and the same.
# 10 · 0.75 = 7.5 and 1000 · 0.75 = 750: in 1.x 8 × 750, at 750 / 1000 7.5 → 8; in 0.x 7 × 750, at 7 / 10 7 × 700.
@pytest.mark.parametrize(
    ("size", "scale", "rounding", "expected"),
    [
        ((257, 301), 0.5, "nearest", (129, 151)),
        ((257, 301), 0.5, "down", (128, 150)),
        ((75, 101), 1.75, "nearest", (131, 176)),
        ((75, 101), 1.75, "down", (131, 176)),
        ((10, 1000), 0.75, "nearest", (8, 750)),
        ((10, 1000), 0.75, "down", (7, 700)),
        ((3, 5), 0.01, "nearest", (1, 1)),
    ],
)
def test_a_scale_of_an_image_that_is_not_resized_is_rounded_as_mmsegmentation_does(size, scale, rounding, expected):
    scaled = scale_preprocessor(PreprocessorConfig(), scale, size, rounding=rounding)
    assert scaled.resize == ExactResize(size=expected, library="opencv")


# By hand, `shortest_edge` 256: 131 · 256 / 97 = 345.7 → 345. With `longest_edge` 300 the short side is
# 300 · 97 / 131 = 222.1 → 222 and the long one 222.1 · 131 / 97 = 300.0.
@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        ((97, 131), None, (256, 345)),
        ((131, 97), None, (345, 256)),
        ((256, 345), None, (256, 345)),
        ((97, 131), 300, (222, 300)),
        ((97, 131), 400, (256, 345)),
    ],
)
def test_hugging_faces_shortest_edge_cuts_the_long_side(size, longest, expected):
    resize = ShortSideResize(size=256, max_long_side=longest, rounding="down", library="pillow")
    assert resized_size(size, PreprocessorConfig(resize=resize)) == expected
    nearest = ShortSideResize(size=256, library="pillow")
    assert resized_size((97, 131), PreprocessorConfig(resize=nearest)) == (256, 346)


@pytest.mark.peer
@pytest.mark.parametrize("longest", [None, 640, 300, 257])
def test_shortest_edge_is_that_of_live_transformers(longest):
    pytest.importorskip("transformers")
    from transformers.image_transforms import get_resize_output_image_size, get_size_with_aspect_ratio

    random = np.random.default_rng(0)
    sides = {*range(1, 60), *range(250, 260), *random.integers(1, 3000, 40).tolist()}
    for size in [(height, width) for height in sides for width in sides]:
        short = int(random.integers(1, 257))
        resize = ShortSideResize(size=short, max_long_side=longest, rounding="down")
        if longest is None:
            image = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (*size, 3), (0, 0, 0))
            theirs = get_resize_output_image_size(image, short, False, input_data_format="channels_last")
        else:
            theirs = get_size_with_aspect_ratio(size, short, longest)
        if min(theirs) > 0:
            assert resized_size(size, PreprocessorConfig(resize=resize)) == tuple(theirs), (size, short)
