"""What every network promises: parameter counts, forms, odd sizes, padding, drop path."""

import pytest
import torch
from torch.nn import functional

from segpipe.errors import ConfigurationError
from segpipe.models import (
    EncoderConfig,
    HeadConfig,
    MitConfig,
    SegformerConfig,
    build_model,
)
from segpipe.models.layers import DropPath
from segpipe.models.mit.encoder import MixFFN

# Facts of the released checkpoints: MiT, MiT with 1000 classes, all-MLP head with 19 classes, conv head with 172.
PARAMETERS = {
    "b0": (3_319_392, 3_576_392, 3_719_027, 3_759_372),
    "b1": (13_151_424, 13_664_424, 13_682_131, 13_722_476),
    "b2": (24_196_288, 24_709_288, 27_361_235, 27_481_964),
    "b3": (44_072_128, 44_585_128, 47_237_075, 47_357_804),
    "b4": (60_842_688, 61_355_688, 64_007_635, 64_128_364),
    "b5": (81_443_008, 81_956_008, 84_607_955, 84_728_684),
}
TINY = EncoderConfig(dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), heads=(1, 2, 3, 4))


def tiny(head="mlp", size_multiple=1):
    torch.manual_seed(0)
    config = SegformerConfig(
        num_classes=5, head=HeadConfig(type=head, channels=16), encoder=TINY, size_multiple=size_multiple
    )
    return build_model(config)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("variant", PARAMETERS)
def test_parameter_counts_are_those_of_the_released_checkpoints(variant):
    encoder, classifier, mlp, conv = PARAMETERS[variant]
    with torch.device("meta"):
        model = build_model(SegformerConfig(variant=variant, num_classes=19))
        assert count(model.encoder) == encoder
        assert count(model) == mlp
        assert count(build_model(MitConfig(variant=variant))) == classifier
        conv_head = SegformerConfig(variant=variant, num_classes=172, head=HeadConfig(type="conv"))
        assert count(build_model(conv_head)) == conv


@pytest.mark.parametrize("head", ["mlp", "conv"])
def test_backward_reaches_every_parameter(head):
    model = tiny(head).train()
    model(torch.rand(2, 3, 64, 64) * 255).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("size", [(1, 1), (29, 29), (33, 97), (130, 61)])
def test_any_size_gives_logits_at_a_quarter_of_the_input(size):
    model = tiny().eval()
    logits = model(torch.zeros(1, 3, *size, dtype=torch.uint8))
    height, width = model.input_size(size)
    assert logits.shape == (1, 5, -(-height // 4), -(-width // 4))


def test_size_multiple_pads_with_zeros_after_normalisation():
    model = tiny(size_multiple=32)
    padded = model.normalise(torch.full((1, 3, 40, 40), 255, dtype=torch.uint8))
    assert padded.shape == (1, 3, 64, 64)
    assert padded[0, 0, 0, 0].item() == pytest.approx((255 - 123.675) / 58.395)
    assert not padded[..., 40:, :].any()
    assert not padded[..., :, 40:].any()


def test_uint8_and_float_pictures_are_the_same_to_a_network():
    model = tiny().eval()
    images = torch.randint(0, 256, (1, 3, 40, 50), dtype=torch.uint8)
    assert torch.equal(model(images), model(images.float()))


@pytest.mark.parametrize(("multiple", "expected"), [(1, 29), (4, 32), (32, 32), (64, 64)])
def test_the_input_size_is_a_multiple_and_large_enough(multiple, expected):
    assert tiny(size_multiple=multiple).input_size((10, 10)) == (expected, expected)


def test_a_folded_network_still_has_gradients():
    model = tiny().eval()
    model.apply_folding()
    model(torch.rand(1, 3, 32, 32) * 255).square().mean().backward()
    assert model.head.fuse.weight.grad is not None


def test_heads_must_divide_the_channels():
    with pytest.raises(ConfigurationError, match="cannot be split over"):
        build_model(SegformerConfig(num_classes=2, encoder=EncoderConfig(dims=(8, 15, 24, 32))))


def test_training_undoes_folding():
    model = tiny().eval()
    model.apply_folding()
    model.train()
    assert model.head.folded is None


def test_loading_weights_undoes_folding():
    model, other = tiny().eval(), tiny().eval()
    torch.nn.init.normal_(other.head.classifier.bias)
    model.apply_folding()
    model.load_state_dict(other.state_dict())
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    assert torch.equal(model(images), other(images))


def test_folding_leaves_the_state_dict_alone():
    model = tiny().eval()
    keys = set(model.state_dict())
    model.apply_folding()
    assert set(model.state_dict()) == keys


def test_drop_path_keeps_the_mean_and_drops_whole_samples():
    torch.manual_seed(0)
    dropped = DropPath(0.25).train()(torch.ones(4000, 3))
    assert sorted(dropped.unique().tolist()) == pytest.approx([0.0, 4 / 3])
    assert (dropped[:, 0] == dropped[:, 2]).all()
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.05)


def test_drop_path_grows_linearly_over_the_blocks():
    model = build_model(SegformerConfig(num_classes=2))
    rates = [block.drop_path.rate for stage in model.encoder.stages for block in stage.blocks]
    assert rates == pytest.approx([0.1 * index / 7 for index in range(8)])


def test_a_feed_forward_network_computes_what_gelu_gave_again_instead_of_keeping_it():
    torch.manual_seed(0)
    network, kept = MixFFN(8, 32).double(), []
    features = torch.randn(1, 16, 16, 8, dtype=torch.float64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        result = network(features)
    wide = {tensor.data_ptr() for tensor in kept if tensor.numel() == 16 * 16 * 32}
    assert len(wide) == 2, "one before the depthwise convolution, one before GELU"
    hidden = network.depthwise(network.fc1(features).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    plain = network.fc2(functional.gelu(hidden))
    for ours, theirs in zip(gradients_of(result, network), gradients_of(plain, network), strict=True):
        torch.testing.assert_close(ours, theirs)


def gradients_of(result, network):
    return torch.autograd.grad(result.square().sum(), list(network.parameters()))


def test_half_precision_stays_close():
    model = tiny().eval()
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        exact = model(images)
        model.to(torch.bfloat16).apply_folding()
        assert (model(images).float() - exact).abs().max() < 0.05 * exact.abs().max()
