"""Deformable sampling by kernels against the same in plain torch, in value and gradient."""

import pytest
import torch
from fused_material import DEVICE, import_kernels, needs_gpu, on_device

from segpipe.models.unept import deformable
from segpipe.models.unept.deformable import DeformableAttention, grid_centers, sample_levels

pytestmark = pytest.mark.peer

GRIDS = ((3, 5), (2, 2))


def fused(*arguments):
    return import_kernels("segpipe.models.fast.fused_deformable").fused_sample_levels(*arguments)


def tensors(grids, *, heads=2, channels=4, queries=5, points=3):
    """Values, references, offsets (some beyond the border) and weights; no point so near a cell's centre, where the
    slope jumps, that rounding could take it to the other side."""
    generator = torch.Generator().manual_seed(0)
    cells, place = sum(height * width for height, width in grids), (2, queries, heads, len(grids), points)
    values = torch.randn(2, cells, heads * channels, generator=generator)
    offsets = torch.randn(*place, 2, generator=generator) * 2
    references = torch.rand(queries, 2, generator=generator)
    sizes = torch.tensor(grids).flip(1).float()  # (L, 2), width and height
    points_at = (references[:, None] * sizes - 0.5)[:, None, :, None] + offsets  # (B, Q, M, L, P, 2)
    offsets += 0.1 - 0.2 * (points_at - points_at.floor())
    return on_device(values, references, offsets, torch.rand(place, generator=generator))


def assert_equal_to_plain(leaves, grids, monkeypatch):
    """Value and gradients of a weighted sum, against float64."""
    monkeypatch.setenv("SEGPIPE_FUSED", "0")
    ours = [leaf.requires_grad_() for leaf in leaves]
    truth = [leaf.detach().double().requires_grad_() for leaf in leaves]
    found, expected = fused(*ours, grids), sample_levels(*truth, grids)
    weights = torch.rand(found.shape, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    found_slopes = torch.autograd.grad((found * weights).sum(), ours)
    slopes = torch.autograd.grad((expected * weights).sum(), truth)
    for mine, theirs in zip((found, *found_slopes), (expected, *slopes), strict=True):
        assert mine.dtype == torch.float32
        assert (mine - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("shape", [{}, {"heads": 3, "channels": 5, "queries": 40, "points": 1}, {"channels": 1}])
def test_value_and_gradients_equal_plain_torchs(shape, monkeypatch):
    assert_equal_to_plain(tensors(GRIDS, **shape), GRIDS, monkeypatch)


def test_points_far_away_and_on_the_border_read_zeros_and_halves():
    x = torch.tensor([-1e9, -1.0, -0.5, 0.0, 1.0, 2.5, 3.0, 3.5, 1e9])
    offsets = torch.stack((x, torch.ones_like(x)), dim=-1).view(1, 9, 1, 1, 1, 2)
    parts = on_device(torch.ones(1, 6, 1), torch.zeros(9, 2), offsets, torch.ones(1, 9, 1, 1, 1))
    read = fused(*parts, ((2, 3),)).flatten()
    assert read.tolist() == pytest.approx([0, 0, 0, 0.5, 1, 1, 0.5, 0, 0], abs=1e-6)


def test_what_is_not_a_number_comes_out_as_such():
    values, references, offsets, weights = tensors(GRIDS)
    assert fused(values, references, offsets * float("nan"), weights, GRIDS).isnan().all()


def test_attention_takes_the_kernels_where_it_can(monkeypatch):
    import_kernels("segpipe.models.fast.fused_deformable")
    attention = DeformableAttention(dim=8, heads=2, levels=2, points=2).to(DEVICE)
    torch.nn.init.normal_(attention.offsets.weight)
    features = torch.randn(2, 19, 8, device=DEVICE)
    arguments = features[:, :15], grid_centers(GRIDS[0], DEVICE), features, GRIDS
    monkeypatch.setattr(deformable, "can_fuse", lambda _: False)
    plain = attention(*arguments)
    monkeypatch.setattr(deformable, "can_fuse", lambda _: True)
    monkeypatch.setattr(deformable, "sum_samples", None)
    assert torch.allclose(attention(*arguments), plain, atol=1e-5)


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("channels", [16, 32, 48])
def test_value_and_gradients_equal_plain_torchs_at_real_sizes(channels, monkeypatch):
    grids = ((60, 80), (30, 40), (15, 20))
    queries = sum(height * width for height, width in grids)
    shape = {"heads": 8, "channels": channels, "queries": queries, "points": 4}
    assert_equal_to_plain(tensors(grids, **shape), grids, monkeypatch)


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_attention_in_half_precision_is_near_that_in_single(dtype):
    attention = DeformableAttention(dim=64, heads=8, levels=2, points=4).to(DEVICE)
    features = torch.randn(2, 19, 64, device=DEVICE)
    arguments = features, grid_centers(GRIDS[0], DEVICE).repeat(2, 1)[:19], features, GRIDS
    exact = attention(*arguments)
    with torch.autocast("cuda", dtype=dtype):
        mixed = attention(*arguments)
    assert mixed.dtype == dtype
    assert (mixed.float() - exact).abs().max() < 0.02 * exact.abs().max()
