"""ResNet-V1c: its count, its grids, its bottlenecks against Hugging Face's, dilation against strides."""

import pytest
import torch

from segpipe.models import ResNetConfig
from segpipe.models.resnet.encoder import ResNet

STRIDED = {"strides": (1, 2, 2, 2), "dilations": (1, 1, 1, 1)}


def tiny(**options):
    torch.manual_seed(0)
    network = ResNet(ResNetConfig(depths=(1, 2, 2, 2), channels=8, **options)).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
    return network


def test_resnet_50_has_the_published_number_of_parameters():
    with torch.device("meta"):
        network = ResNet(ResNetConfig())
    # torchvision's ResNet-50 without its classifier, and three convolutions (28,768) for its stem (9,536).
    assert sum(parameter.numel() for parameter in network.parameters()) == 23_508_032 - 9_536 + 28_768
    assert network.dims == (256, 512, 1024, 2048)


def test_the_last_three_stages_share_a_grid_at_stride_8():
    maps = tiny()(torch.randn(1, 3, 65, 97))
    assert [tuple(features.shape) for features in maps] == [
        (1, 17, 25, 32),
        (1, 9, 13, 64),
        (1, 9, 13, 128),
        (1, 9, 13, 256),
    ]


def test_only_the_wanted_stages_are_given():
    torch.manual_seed(0)
    network = ResNet(ResNetConfig(depths=(1, 1, 1, 1), channels=8), levels=2)
    assert [features.shape[-1] for features in network(torch.randn(2, 3, 32, 32))] == [128, 256] == list(network.dims)


def test_dilation_instead_of_strides_gives_the_same_features_and_those_between():
    # Holschneider's algorithme à trous; with contract_dilation it is exact, borders included.
    dilated, strided = tiny(), tiny(**STRIDED)
    strided.load_state_dict(dilated.state_dict())
    images = torch.randn(1, 3, 75, 90)
    with torch.inference_mode():
        for step, ours, theirs in zip((1, 1, 2, 4), dilated(images), strided(images), strict=True):
            assert torch.allclose(ours[:, ::step, ::step], theirs, atol=1e-5)


@pytest.mark.parametrize(("contract", "expected"), [(True, [1, 1, 1, 2, 2, 4]), (False, [1, 1, 2, 2, 4, 4])])
def test_contract_dilation_halves_that_of_the_first_bottleneck(contract, expected):
    network = tiny(contract_dilation=contract)
    found = [block.conv2.conv.dilation[0] for stage in network.stages[1:] for block in stage]
    assert found == expected


@pytest.mark.peer
def test_bottlenecks_are_those_of_hugging_face():
    transformers = pytest.importorskip("transformers")
    ours = tiny(**STRIDED)
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[32, 64, 128, 256], depths=[1, 2, 2, 2])
    theirs = transformers.ResNetModel(config).encoder.eval()
    tensors = {f"stages.{key}": tensor for key, tensor in ours.stages.state_dict().items()}
    theirs.load_state_dict({hugging_face_name(key): tensor for key, tensor in tensors.items()})
    images = torch.randn(1, 3, 61, 77)
    with torch.inference_mode():
        stem = ours.stem(images)
        expected = theirs(stem, output_hidden_states=True).hidden_states[1:]
        for features, other in zip(ours(images), expected, strict=True):
            assert torch.allclose(features.permute(0, 3, 1, 2), other, atol=1e-4)


def hugging_face_name(key):
    _, stage, block, part, layer, last = key.split(".")
    place = "shortcut" if part == "shortcut" else f"layer.{int(part[-1]) - 1}"
    kind = {"conv": "convolution", "norm": "normalization"}[layer]
    return f"stages.{stage}.layers.{block}.{place}.{kind}.{last}"
