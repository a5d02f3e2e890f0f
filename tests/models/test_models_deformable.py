"""Deformable attention against a slow loop, its initial points, and its precision under autocast."""

import math

import pytest
import torch

from segpipe.models.unept.deformable import DeformableAttention, grid_centers, sample_levels

GRIDS = ((3, 5), (2, 2))


def tensors(batch=2, heads=2, queries=3, points=4):
    """Values, references, offsets (some beyond the border) and weights for GRIDS, four channels a head."""
    torch.manual_seed(0)
    cells = sum(height * width for height, width in GRIDS)
    values = torch.randn(batch, cells, heads * 4)
    offsets = torch.randn(batch, queries, heads, len(GRIDS), points, 2) * 2
    weights = torch.rand(batch, queries, heads, len(GRIDS), points)
    return values, torch.rand(queries, 2), offsets, weights


def read_slowly(level, x, y):
    """Bilinear value of an (h, w, D) map at a point in pixels, whose centres lie at halves; zero beyond the border."""
    height, width, _ = level.shape
    x, y, total = x - 0.5, y - 0.5, torch.zeros(level.shape[-1])
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < height and 0 <= column < width:
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * level[row, column]
    return total


def sample_slowly(values, references, offsets, weights):
    batch, queries, heads, levels, points, _ = offsets.shape
    result = torch.zeros(batch, queries, heads, 4)
    for b, q, m, level, p in torch.cartesian_prod(*map(torch.arange, (batch, queries, heads, levels, points))).tolist():
        height, width = GRIDS[level]
        start = sum(rows * columns for rows, columns in GRIDS[:level])
        cells = values[b, start : start + height * width, m * 4 : m * 4 + 4].reshape(height, width, 4)
        x, y = (references[q] * torch.tensor([width, height]) + offsets[b, q, m, level, p]).tolist()
        result[b, q, m] += weights[b, q, m, level, p] * read_slowly(cells, x, y)
    return result.flatten(2)


@pytest.mark.parametrize("grad", [torch.enable_grad, torch.no_grad])
def test_sampling_is_what_a_slow_loop_gives(grad):
    parts = tensors(queries=20)
    with grad():
        fast = sample_levels(*parts, GRIDS)
    assert torch.allclose(fast, sample_slowly(*parts), atol=1e-5)


def test_points_far_away_and_on_the_border_read_zeros_and_halves():
    values = torch.ones(1, 6, 1)
    x = torch.tensor([-1e9, -1.0, -0.5, 0.0, 1.0, 2.5, 3.0, 3.5, 1e9])
    offsets = torch.stack((x, torch.ones_like(x)), dim=-1).view(1, 9, 1, 1, 1, 2)
    read = []
    for grad in (torch.enable_grad, torch.no_grad):
        with grad():
            read.append(
                sample_levels(values, torch.zeros(9, 2), offsets, torch.ones(1, 9, 1, 1, 1), ((2, 3),)).flatten()
            )
    assert read[0].tolist() == pytest.approx([0, 0, 0, 0.5, 1, 1, 0.5, 0, 0], abs=1e-6)
    assert torch.allclose(read[0], read[1], atol=1e-6)


def test_what_is_not_a_number_comes_out_as_such():
    values, references, offsets, weights = tensors()
    with torch.no_grad():
        read = sample_levels(values, references, offsets * float("nan"), weights, GRIDS)
    assert read.isnan().all()


def test_grid_centres_are_row_by_row_with_x_first():
    expected = [[1 / 6, 0.25], [0.5, 0.25], [5 / 6, 0.25], [1 / 6, 0.75], [0.5, 0.75], [5 / 6, 0.75]]
    assert torch.allclose(grid_centers((2, 3), torch.device("cpu")), torch.tensor(expected))


def test_points_begin_one_behind_the_other_along_eight_directions():
    attention = DeformableAttention(dim=16, heads=8, levels=2, points=3)
    offsets = attention.offsets.bias.detach().view(8, 2, 3, 2)
    directions = torch.tensor([[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]])
    for step in range(3):
        assert torch.allclose(offsets[:, 1, step], directions * (step + 1.0), atol=1e-5)


def test_at_the_beginning_a_query_reads_the_mean_of_its_points():
    attention = DeformableAttention(dim=4, heads=1, levels=1, points=1)
    torch.nn.init.eye_(attention.value.weight)
    torch.nn.init.eye_(attention.proj.weight)
    features = torch.randn(1, 6, 4)
    grids = ((2, 3),)
    read = attention(torch.randn(1, 6, 4), grid_centers((2, 3), torch.device("cpu")), features, grids)
    right = features.view(2, 3, 4).roll(-1, dims=1)
    right[:, -1] = 0  # beyond the border
    assert torch.allclose(read, right.view(1, 6, 4), atol=1e-5)


def test_gradients_reach_values_offsets_and_weights():
    values, references, offsets, weights = tensors(1, 1, 2, 2)
    leaves = [tensor.double().requires_grad_() for tensor in (values, offsets, weights)]
    references = references.double()
    assert torch.autograd.gradcheck(lambda v, o, w: sample_levels(v, references, o, w, GRIDS), leaves)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_points_are_computed_in_float32_under_autocast(dtype):
    torch.manual_seed(0)
    attention = DeformableAttention(dim=8, heads=2, levels=2, points=4)
    torch.nn.init.normal_(attention.offsets.weight, std=2.0)
    seen = []
    attention.offsets.register_forward_hook(lambda *call: seen.append(call[2].dtype))
    queries, features = torch.randn(1, 7, 8), torch.randn(1, 19, 8)
    centres = torch.rand(7, 2)
    with torch.no_grad():
        exact = attention(queries, centres, features, GRIDS)
        with torch.autocast("cpu", dtype=dtype):
            mixed = attention(queries, centres, features, GRIDS)
    assert seen == [torch.float32, torch.float32]
    assert mixed.dtype == dtype
    assert (mixed.float() - exact).abs().max() < 0.02 * exact.abs().max()


def test_half_precision_weights_work():
    attention = DeformableAttention(dim=8, heads=2, levels=2, points=4).to(torch.bfloat16)
    features = torch.randn(1, 19, 8, dtype=torch.bfloat16)
    assert attention(features[:, :7], torch.rand(7, 2), features, GRIDS).dtype == torch.bfloat16
