"""What networks cost: published figures, numbers worked out by hand, files that are really written."""

import pytest
import torch

from segpipe.analysis.counting import count_macs, count_parameters, saved_bytes
from segpipe.models import (
    DeitConfig,
    HeadConfig,
    MitConfig,
    ResNetConfig,
    SegformerConfig,
    SegmenterConfig,
    SegmenterHeadConfig,
    UneptConfig,
    VitConfig,
    build_model,
)

# Xie et al. 2021, table 1: GFLOPs on ADE20K; B5's pictures are of 640 pixels.
PUBLISHED = [("b0", 8.4, 512), ("b1", 15.9, 512), ("b2", 62.4, 512), ("b3", 79.0, 512), ("b4", 95.7, 512)]


@pytest.mark.parametrize(("variant", "billions", "side"), [*PUBLISHED, ("b5", 183.3, 640)])
def test_segformers_published_counts_are_found_again(variant, billions, side):
    macs = count_macs(SegformerConfig(variant=variant, num_classes=150), (side, side))
    assert macs.published == pytest.approx(billions * 1e9, rel=2e-3)
    assert macs.total < macs.published


def test_the_attention_of_a_vit_is_counted_with_both_its_products():
    config = VitConfig(image_size=(64, 96), dim=32, depth=1, heads=2)
    macs = count_macs(SegmenterConfig(num_classes=5, encoder=config, head=SegmenterHeadConfig(type="linear")), (64, 96))
    patches, dim = 4 * 6, 32
    tokens = patches + 1
    embed, block = patches * 3 * 16 * 16 * dim, tokens * dim * dim * (3 + 1 + 4 + 4)
    assert macs.by_part == {"encoder": embed + block + 2 * tokens * tokens * dim, "head": patches * dim * 5}
    assert macs.total == macs.published == sum(macs.by_part.values())


@pytest.mark.parametrize(
    "config",
    [
        SegformerConfig(num_classes=5, head=HeadConfig(type="conv")),
        MitConfig(num_classes=5),
        UneptConfig(num_classes=5, encoder=DeitConfig(variant="tiny", depth=3), dim=32, hidden=64, query_grid=(8, 8)),
        UneptConfig(num_classes=5, encoder=ResNetConfig(channels=8), dim=32, hidden=64, query_grid=(8, 8)),
    ],
    ids=["segformer", "mit", "unept-deit", "unept-res50"],
)
def test_every_family_can_be_counted(config):
    macs, parameters = count_macs(config, (64, 96)), count_parameters(build_model(config))
    assert 0 < sum(macs.by_part.values()) <= macs.total
    assert set(macs.by_part) <= set(parameters.by_part)
    assert count_macs(config, (128, 96)).total > 1.5 * macs.total


def test_parameters_are_counted_by_part_and_frozen_ones_apart():
    network = build_model(SegformerConfig(num_classes=19))
    network.encoder.requires_grad_(False)
    parameters = count_parameters(network)
    assert parameters.total == 3_719_027
    assert parameters.by_part["encoder"] == 3_319_392
    assert parameters.trainable == parameters.by_part["head"] == 3_719_027 - 3_319_392


def test_the_counted_bytes_are_those_of_the_file(tmp_path):
    network = build_model(MitConfig(num_classes=5))
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    # The file's own name is a part of what torch writes.
    assert saved_bytes(network) == pytest.approx((tmp_path / "weights.pth").stat().st_size, rel=2e-3)
