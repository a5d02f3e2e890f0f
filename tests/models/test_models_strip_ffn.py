"""Inference on CPU, with products written in place and in strips, against the plain forms that training uses."""

import pytest
import torch

from segpipe.models import MitConfig, NormEps, build_model
from segpipe.models.fast.head_strips import slices
from segpipe.models.fast.mit_block import FastBlock, apply_strip_ffn
from segpipe.models.mit.encoder import MixFFN, StageConfig


def randomised(module):
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module.eval().double()  # in which what is computed otherwise differs by 1e-15


def relative_error(ours, theirs):
    return (ours - theirs).abs().max() / theirs.abs().max()


@pytest.mark.parametrize("strip_rows", [2, 3, 8])
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (7, 5), (16, 3), (19, 20)])
def test_strips_add_what_the_mix_ffn_gives(monkeypatch, size, strip_rows):
    monkeypatch.setattr("segpipe.models.fast.mit_block.STRIP_ROWS", strip_rows)
    monkeypatch.setattr("segpipe.models.fast.mit_block.STRIP_BYTES", 1)
    mlp = randomised(MixFFN(8, 32))
    features, normed = torch.randn(2, 2, *size, 8, dtype=torch.float64).unbind()
    with torch.no_grad():
        expected = features + mlp(normed)
        apply_strip_ffn(features, normed, mlp.fc1, mlp.depthwise, mlp.fc2)
    assert relative_error(features, expected) < 1e-12


@pytest.mark.parametrize("size", [(8, 12), (96, 136)])  # the larger one in strips
def test_a_block_gives_the_same_with_and_without_gradients(size):
    eps = NormEps()
    block = randomised(FastBlock(StageConfig(dim=32, heads=2, reduction=2, mlp_ratio=8, eps=eps), 0.1))
    features = torch.randn(2, *size, 32, dtype=torch.float64)
    before = features.clone()
    expected = block(features)
    with torch.inference_mode():
        assert relative_error(block(features), expected) < 1e-12
    assert torch.equal(features, before)


def test_adapters_and_hooks_of_a_layer_are_not_passed_by():
    class Adapter(torch.nn.Linear):
        def forward(self, features):
            return super().forward(features) + 1.0

    block = randomised(FastBlock(StageConfig(dim=32, heads=2, reduction=2, mlp_ratio=2, eps=NormEps()), 0.0))
    features, seen = torch.randn(1, 8, 8, 32, dtype=torch.float64), []
    with torch.inference_mode():
        before = block(features)
        handle = block.mlp.fc2.register_forward_hook(lambda *_: seen.append(1))
        assert relative_error(block(features), before) < 1e-12
        handle.remove()
        adapter = Adapter(64, 32).double()
        adapter.load_state_dict(block.mlp.fc2.state_dict())
        block.mlp.fc2 = adapter
        torch.testing.assert_close(block(features), before + 1.0, rtol=1e-10, atol=1e-10)
    assert seen == [1]


@pytest.mark.parametrize("part", ["attention", "mlp", "drop_path"])
def test_whole_parts_may_be_watched_and_replaced(part):
    class Wrapper(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, features):
            return 2 * self.inner(features)

    block = randomised(FastBlock(StageConfig(dim=32, heads=2, reduction=2, mlp_ratio=2, eps=NormEps()), 0.0))
    features, seen = torch.randn(1, 8, 8, 32, dtype=torch.float64), []
    handle = getattr(block, part).register_forward_hook(lambda *_: seen.append(1))
    with torch.inference_mode():
        block(features)
        handle.remove()
        setattr(block, part, Wrapper(getattr(block, part)))
        without = block(features)
    assert len(seen) == (2 if part == "drop_path" else 1)
    torch.testing.assert_close(without, block(features).detach(), rtol=1e-10, atol=1e-10)


def test_pictures_are_normalised_channel_by_channel_and_stay_as_they_are():
    network = build_model(MitConfig(num_classes=3, pixel_mean=(1.0, 2.0, 3.0), pixel_std=(2.0, 4.0, 5.0)))
    images = torch.tensor([11.0, 22.0, 33.0]).view(1, 3, 1, 1).expand(2, 3, 64, 70).contiguous()
    normalised = network.normalise(images)
    assert normalised.shape[-2:] == network.input_size((64, 70))
    for channel, value in enumerate((5.0, 5.0, 6.0)):
        assert torch.equal(normalised[:, channel, :64, :70], torch.full((2, 64, 70), value))
    assert images[0, :, 0, 0].tolist() == [11.0, 22.0, 33.0]


def test_slices_are_even_and_cover_all():
    assert [(part.start, part.stop) for part in slices(10, 4)] == [(0, 4), (4, 8), (8, 10)]
    assert [(part.start, part.stop) for part in slices(128, 31)] == [(0, 26), (26, 52), (52, 78), (78, 104), (104, 128)]
