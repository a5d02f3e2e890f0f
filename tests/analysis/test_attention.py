"""Attention maps: the weights that the fused attention has inside, at the place that was asked for."""

import numpy as np
import pytest
import torch

from segpipe.analysis.attention import AttentionQuery, see_attention
from segpipe.configuration import ExactResize, PreprocessorConfig
from segpipe.errors import InputError
from segpipe.models import (
    DeitConfig,
    MitConfig,
    ResNetConfig,
    SegformerConfig,
    SegmenterConfig,
    UneptConfig,
    VitConfig,
    build_model,
)

PLAIN = PreprocessorConfig()
IMAGE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
UNEPT = {"num_classes": 5, "dim": 32, "hidden": 64, "query_grid": (8, 8)}
NETWORKS = {
    "segformer": SegformerConfig(num_classes=5),
    "mit": MitConfig(num_classes=5),
    "segmenter": SegmenterConfig(num_classes=5, encoder=VitConfig(image_size=(64, 64), depth=2, distilled=True)),
    "unept": UneptConfig(encoder=DeitConfig(variant="tiny", depth=3, image_size=(64, 64)), **UNEPT),
    "unept-res50": UneptConfig(encoder=ResNetConfig(channels=8), **UNEPT),
}


def network(name):
    torch.manual_seed(0)
    return build_model(NETWORKS[name]).eval()


@pytest.mark.parametrize("stage", range(4))
def test_a_mix_transformers_weights_are_those_of_its_fused_attention(stage):
    attention = network("mit").encoder.stages[stage].blocks[0].attention
    features = torch.randn(2, 16, 24, attention.q.in_features)
    with torch.inference_mode():
        weights = attention.weights(features)
        value = attention.kv(attention.reduction(features)).chunk(2, dim=-1)[1]
        heads = value.flatten(1, 2).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
        expected = attention.proj((weights @ heads).transpose(1, 2).reshape(features.shape))
        assert torch.allclose(attention(features), expected, atol=1e-5)
        assert torch.allclose(weights.sum(dim=-1), torch.ones(()), atol=1e-5)


def test_layers_of_a_mix_transformer_count_over_all_stages():
    encoder = network("mit").encoder
    grids = [encoder.attention_map(torch.randn(1, 3, 64, 96), layer)[1:3] for layer in (0, 2, 5, 7)]
    assert grids == [((16, 24), (2, 3)), ((8, 12), (2, 3)), ((4, 6), (2, 3)), ((2, 3), (2, 3))]
    with pytest.raises(InputError, match="numbered from 0 to 7"):
        encoder.attention_map(torch.randn(1, 3, 64, 96), 8)


@pytest.mark.parametrize(
    ("name", "query", "heads"),
    [
        ("segformer", AttentionQuery(7, token=(10, 20)), 8),
        ("mit", AttentionQuery(2, token=(0, 0)), 2),
        ("segmenter", AttentionQuery(1), 3),
        ("segmenter", AttentionQuery(0, token=(95, 63)), 3),
        ("segmenter", AttentionQuery(1, "decoder", 4), 3),
        ("segmenter", AttentionQuery(0, "decoder", (5, 5)), 3),
        ("unept", AttentionQuery(2), 3),
    ],
)
def test_every_family_gives_maps_of_the_pictures_size(name, query, heads):
    heat = see_attention(network(name), IMAGE, PreprocessorConfig(resize=ExactResize(size=(64, 64))), query)
    assert heat.shape == (heads, 64, 96)
    assert np.isfinite(heat).all()
    assert heat.min() >= 0.0


def test_the_token_is_the_patch_at_the_place():
    model = network("segmenter")
    weights = model.attention(torch.tensor(IMAGE).permute(2, 0, 1)[None], 1).weights[0]
    heat = see_attention(model, IMAGE, PLAIN, AttentionQuery(1, token=(40, 17)))
    row = weights[:, 2 + 1 * 6 + 2, 2:].unflatten(-1, (4, 6)).detach()  # second row of patches, third of six
    centres = heat[:, 8::16, 8::16]
    assert np.corrcoef(centres.ravel(), row.numpy().ravel())[0, 1] > 0.99


def test_a_classs_token_is_behind_the_patches():
    model = network("segmenter")
    weights = model.attention(torch.tensor(IMAGE).permute(2, 0, 1)[None], 0, part="decoder").weights[0].detach()
    heat = see_attention(model, IMAGE, PLAIN, AttentionQuery(0, "decoder", 3))
    expected = torch.nn.functional.interpolate(
        weights[None, :, 24 + 3, :24].unflatten(-1, (4, 6)), IMAGE.shape[:2], mode="bilinear"
    )
    assert np.allclose(heat, expected[0].numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "query", "message"),
    [
        ("segformer", AttentionQuery(0), "no class token"),
        ("segformer", AttentionQuery(0, "decoder", 1), "Only Segmenter"),
        ("segmenter", AttentionQuery(0, token=2), "tokens of the decoder alone"),
        ("segmenter", AttentionQuery(0, "decoder", 5), "0 to 4"),
        ("segmenter", AttentionQuery(2), "numbered from 0 to 1"),
        ("segmenter", AttentionQuery(0, token=(96, 0)), "96 wide and 64 high"),
        ("unept-res50", AttentionQuery(0), "without attention"),
    ],
)
def test_what_has_no_attention_says_so(name, query, message):
    with pytest.raises(InputError, match=message):
        see_attention(network(name), IMAGE, PLAIN, query)
