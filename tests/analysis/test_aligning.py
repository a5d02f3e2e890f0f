"""Two networks beside one another: equal ones are 0 apart, one changed weight shows from its stage on."""

import numpy as np
import pytest
import torch

from segpipe.analysis.aligning import align, compare_tensors, image_input, measure_difference, noise_input
from segpipe.errors import InputError
from segpipe.models import (
    DeitConfig,
    MitConfig,
    SegformerConfig,
    SegmenterConfig,
    UneptConfig,
    VitConfig,
    build_model,
)

NETWORKS = [
    SegformerConfig(num_classes=4),
    SegmenterConfig(num_classes=4, encoder=VitConfig(image_size=(64, 64), depth=2)),
    UneptConfig(num_classes=4, encoder=DeitConfig(variant="tiny", depth=3), dim=32, hidden=64, query_grid=(8, 8)),
    MitConfig(num_classes=4),
]


def twins(config):
    first, second = build_model(config).eval(), build_model(config).eval()
    second.load_state_dict(first.state_dict())
    return first, second


@pytest.mark.parametrize("config", NETWORKS, ids=lambda config: type(config).__name__)
def test_equal_networks_of_every_family_are_nothing_apart(config):
    first, second = twins(config)
    alignment = align(first, second, noise_input(first, (64, 64)))
    assert len(alignment.stages) >= 3
    assert {stage.absolute for stage in alignment.stages} == {0.0}
    assert alignment.differing_pixels == (None if isinstance(config, MitConfig) else 0.0)
    assert alignment.sums[0] == alignment.sums[1]


def test_a_changed_weight_shows_from_its_stage_on():
    first, second = twins(NETWORKS[0])
    with torch.no_grad():
        second.encoder.stages[2].norm.bias[3] += 0.5
    apart = {stage.name: stage.absolute for stage in align(first, second, noise_input(first, (64, 64))).stages}
    assert apart["encoder.stages.0"] == apart["encoder.stages.1"] == 0.0
    assert apart["encoder.stages.2"] == pytest.approx(0.5, abs=1e-5)
    assert apart["encoder.stages.3"] > 0.0
    assert apart["logits"] > 0.0


def test_another_classifier_changes_label_maps_by_the_share_that_is_counted():
    first, second = twins(NETWORKS[0])
    with torch.no_grad():
        first.head.classifier.bias[1] += 1e4
        second.head.classifier.bias[2] += 1e4
    alignment = align(first, second, noise_input(first, (64, 64)))
    assert alignment.differing_pixels == 1.0
    assert alignment.logits.absolute == pytest.approx(1e4, rel=1e-3)


def test_the_noise_is_numpys_once_the_network_has_normalised_it():
    network = build_model(NETWORKS[0])
    state = np.random.RandomState(2022)
    expected = torch.from_numpy(state.rand(1, 3, 32, 64)).float()
    assert torch.allclose(network.normalise(noise_input(network, (32, 64))), expected, atol=1e-5)


def test_an_image_is_taken_as_it_is():
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    pixels = image_input(image)
    assert pixels.shape == (1, 3, 2, 3)
    assert pixels[0, 2, 1, 0] == image[1, 0, 2]


def test_two_different_networks_are_not_compared():
    with pytest.raises(InputError, match="two different networks"):
        align(build_model(NETWORKS[0]).eval(), build_model(NETWORKS[1]).eval(), torch.zeros(1, 3, 64, 64))


def test_tensors_are_compared_by_name():
    first = {"a": torch.tensor([1.0, -4.0]), "b": torch.zeros(2), "c": torch.zeros(3), "d": torch.zeros(1)}
    second = {"a": torch.tensor([1.0, -3.0]), "b": torch.zeros(2), "c": torch.zeros(2), "e": torch.zeros(1)}
    comparison = compare_tensors(first, second)
    [difference] = comparison.differing
    assert (difference.name, difference.absolute, difference.relative) == ("a", 1.0, 0.25)
    assert (comparison.num_equal, comparison.only_first, comparison.only_second) == (1, ("d",), ("e",))
    assert comparison.misshapen == (("c", (3,), (2,)),)
    assert comparison.largest == float("inf")


def test_what_is_not_finite_on_one_side_alone_is_infinitely_far():
    nan, one = torch.tensor([float("nan"), 1.0]), torch.ones(2)
    assert measure_difference("x", nan, one).absolute == float("inf")
    assert measure_difference("x", nan, nan).absolute == 0.0
