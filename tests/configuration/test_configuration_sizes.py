"""Every number of a configuration that sizes something is bounded, alone and as a product."""

import json

import numpy as np
import pytest
import torch

from segpipe.configuration import (
    ExactResize,
    InferenceConfig,
    PreprocessorConfig,
    ShortSideResize,
    load_preset,
    override,
    preset_names,
)
from segpipe.configuration.codec import oversized
from segpipe.errors import ConfigurationError, InputError
from segpipe.inference import resize_image
from segpipe.inference.sliding_window import count_windows, window_starts
from segpipe.inference.tta import predict_views

CAMVID = load_preset("segformer-b0-camvid")


@pytest.mark.parametrize(
    "change",
    [
        'preprocessor.resize={"mode": "exact", "size": [65536, 65536]}',
        'preprocessor.resize={"mode": "exact", "size": [100000, 100000]}',
        'preprocessor.resize={"mode": "short_side", "size": 65536}',
        ('preprocessor.resize={"mode": "exact", "size": [4096, 4096]}', "inference.scales=[16]"),
        ('inference.window=[65536, 65536]', 'inference.stride=[65536, 65536]', 'inference.mode="slide"'),
        'train.transforms=[{"type": "random_crop", "size": [65536, 65536]}]',
        'train.transforms=[{"type": "pad", "size": [65536, 65536]}]',
        'train.transforms=[{"type": "resize_pad", "size": [65536, 65536]}]',
        'train.transforms=[{"type": "resize_choice", "sizes": [[1, 1], [65536, 65536]]}]',
        'train.transforms=[{"type": "resize_between", "least": [1, 1], "greatest": [65536, 65536]}]',
        'train.transforms=[{"type": "random_resize", "size": [512, 2048], "ratio": [0.5, 1000]}]',
        'train.transforms=[{"type": "random_resize", "size": null, "ratio": [0.5, 1e300]}]',
        'train.transforms=[{"type": "random_resized_crop", "size": [512, 512], "ratio": [0.5, 1e6]}]',
        'train.transforms=[{"type": "aligned_resize", "size": [65536, 65536]}]',
        'train.transforms=[{"type": "pad_to_multiple", "multiple": 2147483647}]',
        "train.batch_size=2147483647",
        "train.workers=100000",
        "dataset.train.times=2147483647",
        "evaluation.batch_size=1000000",
    ],
)  # fmt: skip
def test_a_configuration_cannot_ask_for_more_than_the_limits(change):
    changes = [change] if isinstance(change, str) else list(change)
    with pytest.raises(ConfigurationError, match=r"at most|more than|allowed"):
        override(CAMVID, changes)


def test_every_preset_and_the_batches_of_large_clusters_are_within():
    assert [name for name in preset_names() if oversized(load_preset(name))] == []
    assert override(CAMVID, ["train.batch_size=8192"]).train.batch_size == 8192


def test_a_limit_can_be_raised(monkeypatch):
    change = 'train.transforms=[{"type": "center_crop", "size": [20000, 20000]}]'
    with pytest.raises(ConfigurationError, match=r"train\.transforms\[0\]\.size: .* 400,000,000 pixels"):
        override(CAMVID, [change])
    monkeypatch.setenv("SEGPIPE_MAX_RESIZED_PIXELS", "400000000")
    assert json.dumps(20000) in repr(override(CAMVID, [change]).train.transforms)


@pytest.mark.parametrize("shape", [(1, 60_000), (60_000, 1)])
def test_a_narrow_image_is_not_enlarged_beyond_the_limit(shape):
    image = np.zeros((*shape, 3), np.uint8)
    with pytest.raises(InputError, match=r"would be enlarged to .*100,000,000"):
        resize_image(image, PreprocessorConfig(resize=ShortSideResize(size=512)))
    assert resize_image(image, PreprocessorConfig(resize=ShortSideResize(size=512, max_long_side=2048))).size > 0


class Counting:
    """A network that must not be asked."""

    num_classes = 2
    best_multiple = 1
    pixel_mean = torch.zeros(3)

    def input_size(self, size):
        return size

    def __call__(self, images):
        raise AssertionError("the network was asked")

    def grid_scores(self, output):
        return output, [None] * len(output)


@pytest.mark.parametrize(
    "config",
    [
        InferenceConfig(mode="slide", window=(64, 64), stride=(1, 1)),
        InferenceConfig(mode="slide", window=(1, 1), stride=(1, 1)),
        InferenceConfig(mode="slide", window=(2000, 2000), stride=(8, 8)),
        InferenceConfig(scales=(16.0,)),
        InferenceConfig(scales=(4.0,) * 32, flip=True),
        InferenceConfig(mode="slide", window=(50_000, 2), stride=(50_000, 2), small_picture="enlarge"),
    ],
)
def test_windows_and_scales_beyond_the_limits_are_refused_before_the_network_is_asked(config):
    image = np.zeros((2048, 4096, 3), np.uint8)
    with pytest.raises(InputError, match=r"would be (seen in|enlarged).*limit"):
        predict_views(Counting(), image, PreprocessorConfig(), config)


@pytest.mark.parametrize(("length", "window", "stride"), [(10, 3, 2), (10, 10, 1), (3, 10, 4), (100, 7, 7), (8, 3, 1)])
def test_windows_are_counted_as_they_are_laid(length, window, stride):
    assert count_windows(length, window, stride) == len(window_starts(length, window, stride))


def test_usual_looks_are_within(monkeypatch):
    monkeypatch.setattr(Counting, "__call__", lambda self, images: torch.zeros(len(images), 2, 8, 8))
    image = np.zeros((300, 400, 3), np.uint8)
    config = InferenceConfig(mode="slide", window=(128, 128), stride=(64, 64), scales=(0.5, 1.0, 1.75), flip=True)
    exact = PreprocessorConfig(resize=ExactResize(size=(256, 256)))
    assert predict_views(Counting(), image, exact, config).size == (300, 400)
