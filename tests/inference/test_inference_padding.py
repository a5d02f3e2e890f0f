"""What an input is padded to, and the line where a multiple of 32 would score higher."""

import logging

import numpy as np
import pytest
import torch

from segpipe.configuration import Configuration, InferenceConfig
from segpipe.inference import predict, prepare_image
from segpipe.models import SegformerConfig, SegmenterConfig, VitConfig, build_model

WHOLE = InferenceConfig()
SLIDE = InferenceConfig(mode="slide", window=(40, 64), stride=(40, 64))
SCALED = InferenceConfig(scales=(1.0, 0.5))


def segformer(size_multiple):
    torch.manual_seed(0)
    return build_model(SegformerConfig(num_classes=3, size_multiple=size_multiple)).eval()


def see(network, size, inference=WHOLE):
    options = Configuration(model=network.config, inference=inference)
    return predict(network, [prepare_image(np.zeros((*size, 3), np.uint8), options)], options)


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "segpipe.inference.network"]


@pytest.mark.parametrize(
    ("size", "inference"),
    [((40, 64), WHOLE), ((64, 33), WHOLE), ((80, 64), SLIDE), ((64, 96), SCALED)],
    ids=["height", "width", "window", "scale"],
)
def test_one_line_for_each_network_says_that_padding_would_score_higher(caplog, size, inference):
    first, second = segformer(1), segformer(16)
    for _ in range(3):
        see(first, size, inference)
    [line] = lines(caplog)
    assert caplog.records[0].levelno == logging.WARNING
    assert "not a multiple of 32" in line
    assert 'overrides={"model.size_multiple": 32}' in line
    see(second, size, inference)
    assert len(lines(caplog)) == 2


@pytest.mark.parametrize(
    ("size_multiple", "size", "inference"),
    [(32, (40, 33), WHOLE), (64, (40, 33), WHOLE), (1, (64, 96), WHOLE), (32, (80, 64), SLIDE), (1, (128, 64), SCALED)],
)
def test_nothing_is_said_where_the_input_is_a_multiple(caplog, size_multiple, size, inference):
    see(segformer(size_multiple), size, inference)
    assert lines(caplog) == []


def test_nothing_is_said_of_networks_with_one_level(caplog):
    encoder = VitConfig(image_size=(32, 32), dim=64, depth=2, heads=1)
    see(build_model(SegmenterConfig(num_classes=3, encoder=encoder)).eval(), (40, 33))
    assert lines(caplog) == []
