"""The label map against dense interpolation and argmax, which never sees our placement or candidates."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from segpipe.errors import NumericalError
from segpipe.inference import LabelMap, Placement, Prediction, View, label_map, place_image
from segpipe.inference.geometry import Axis

EPS = torch.finfo(torch.float32).eps


def dense(logits, size, resized, padded, upsampling):
    """(K, h, w) → (K, H, W) as the peers do it."""
    steps = [size] if upsampling == "one-step" else [padded, size]
    for step in steps:
        logits = interpolate(logits[None], size=step, mode="bilinear", align_corners=False)[0]
        if step == padded and upsampling == "two-step":
            logits = logits[:, : resized[0], : resized[1]]
    return logits


def blobs(num_classes, grid, seed):
    """Logits with regions and boundaries, as a trained network gives them."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, num_classes, 5, 6, generator=generator) * 8
    smooth = interpolate(coarse, size=grid, mode="bicubic", align_corners=False)[0]
    return smooth + 0.2 * torch.randn(num_classes, *grid, generator=generator)


def noise(num_classes, grid, seed):
    return torch.randn(num_classes, *grid, generator=torch.Generator().manual_seed(seed)) * 4


def assert_same_labels(result: LabelMap, reference, roundings=32):
    """The same labels, but where the best class of the reference is ahead by rounding alone.

    An interpolated logit is made of 4 products and 3 sums, twice that after two steps, each of which rounds by half an
    eps of the largest logit at most. Two logits of the result and two of the reference are compared: 32 roundings.
    """
    found = reference.gather(0, result.labels.long()[None])[0]
    assert (reference.amax(dim=0) - found).max() <= roundings * EPS * reference.abs().max()
    present = torch.bincount(result.labels.flatten(), minlength=len(reference)) > 0
    assert torch.equal(~result.scores.isnan(), present)


SIZES = [((33, 47), (97, 131)), ((32, 32), (480, 640)), ((20, 31), (19, 30)), ((1, 1), (5, 7)), ((2, 40), (1, 333))]


@pytest.mark.parametrize("logits", [blobs, noise])
@pytest.mark.parametrize("num_classes", [2, 19, 172, 300])
@pytest.mark.parametrize(("grid", "size"), SIZES)
def test_one_step_equals_dense_argmax(logits, num_classes, grid, size):
    values = logits(num_classes, grid, seed=num_classes)
    padded = (grid[0] * 4, grid[1] * 4)
    placement = place_image(size, padded, padded, grid, upsampling="one-step")
    result = label_map(Prediction((View(values, placement),)))
    assert_same_labels(result, dense(values, size, padded, padded, "one-step"))


@pytest.mark.parametrize("logits", [blobs, noise])
@pytest.mark.parametrize("num_classes", [2, 172])
@pytest.mark.parametrize(("grid", "size"), SIZES)
@pytest.mark.parametrize("pad", [0, 3, 27])
def test_two_steps_with_a_pad_equal_dense_argmax(logits, num_classes, grid, size, pad):
    values = logits(num_classes, grid, seed=pad)
    padded = (grid[0] * 4, grid[1] * 4)
    resized = (max(1, padded[0] - pad), max(1, padded[1] - pad // 2))
    placement = place_image(size, resized, padded, grid, upsampling="two-step")
    result = label_map(Prediction((View(values, placement),)))
    assert_same_labels(result, dense(values, size, resized, padded, "two-step"))


@pytest.mark.parametrize("cells", [1, 2, 7, 13, 100, 128, 262])
def test_an_axis_has_the_weights_of_torch(cells):
    # To the bit on every processor, also on those where torch rounds a position twice.
    for length in (1, 2, 7, 9, 100, 110, 333, 640):
        theirs = interpolate(torch.eye(cells)[None], size=length, mode="linear", align_corners=False)[0].T
        assert torch.equal(Axis.resize(cells, length).matrix, theirs)


def test_one_step_with_a_pad_reads_no_cell_behind_the_picture():
    axis = place_image((50, 50), (40, 40), (64, 64), (16, 16), upsampling="one-step").rows
    assert axis.matrix.sum(dim=1).tolist() == pytest.approx([1.0] * 50)
    centre = (axis.matrix * torch.arange(16)).sum(dim=1)[25].item()
    assert centre == pytest.approx(25.5 * (16 / 64) * (40 / 50) - 0.5)
    assert not axis.read_cells[11:].any()


def test_ties_go_to_the_lowest_class():
    values = torch.zeros(3, 2, 2)
    values[1:, 0, 0] = 1.0  # classes 1 and 2 tie in a corner, all three elsewhere
    placement = Placement(Axis.resize(2, 8), Axis.resize(2, 8))
    labels = label_map(Prediction((View(values, placement),))).labels
    assert labels[0, 0] == 1
    assert labels[7, 7] == 0
    assert labels.max() == 1


def test_ties_between_cells_go_to_the_lowest_class_even_if_it_wins_no_cell():
    values = torch.tensor([[[0.5, 0.5]], [[1.0, 0.0]], [[0.0, 1.0]]])  # K 3, grid 1 × 2: all three tie in the middle
    columns = Axis(2, np.zeros(3, dtype=np.int64), np.array([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]], dtype=np.float32))
    placement = Placement(Axis.resize(1, 2), columns)
    result = label_map(Prediction((View(values, placement),)))
    assert result.labels.tolist() == [[1, 0, 2]] * 2
    assert result.scores[0].item() == pytest.approx(1 / (1 + math.exp(0.5) + math.exp(-0.5)))
    without = label_map(Prediction((View(values[1:], placement),)))
    assert without.labels.tolist() == [[0, 0, 1]] * 2


@pytest.mark.parametrize("size", [(9, 1000), (1000, 9), (117, 161), (64, 31)])
@pytest.mark.parametrize("logits", [blobs, noise])
def test_tiles_of_any_size_equal_dense_argmax_in_float64(size, logits):
    values = logits(7, (9, 12), seed=4)
    placement = place_image(size, (9, 12), (9, 12), (9, 12), upsampling="one-step")
    result = label_map(Prediction((View(values, placement),)))
    # Our positions are float32's, so a weight of either axis is off by half an eps of up to 12 cells.
    assert_same_labels(result, dense(values.double(), size, None, None, "one-step"), roundings=32 + 4 * 12)


def test_half_precision_is_read_as_it_is():
    values = blobs(30, (40, 50), seed=5).bfloat16()
    placement = place_image((150, 190), (40, 50), (40, 50), (40, 50), upsampling="one-step")
    half = label_map(Prediction((View(values, placement),)))
    single = label_map(Prediction((View(values.float(), placement),)))
    assert torch.equal(half.labels, single.labels)
    assert torch.equal(half.scores.nan_to_num(), single.scores.nan_to_num())


def test_layout_and_gradients_of_the_logits_do_not_matter():
    values = blobs(6, (20, 30), seed=6)
    placement = place_image((70, 90), (20, 30), (20, 30), (20, 30), upsampling="one-step")
    plain = label_map(Prediction((View(values, placement),)))
    other = values.permute(1, 2, 0).contiguous().permute(2, 0, 1).requires_grad_()
    result = label_map(Prediction((View(other, placement),)))
    assert torch.equal(plain.labels, result.labels)
    assert not result.scores.requires_grad


def test_a_mirrored_view_gives_the_mirrored_label_map():
    values = blobs(5, (12, 15), seed=0)
    placement = place_image((40, 61), (48, 60), (48, 60), (12, 15), upsampling="one-step")
    straight = label_map(Prediction((View(values, placement),))).labels
    mirrored = label_map(Prediction((View(values.flip(2), placement.flip()),))).labels
    assert (straight != mirrored).float().mean() < 1e-3


@pytest.mark.parametrize("combine", ["logits", "probabilities"])
def test_views_are_averaged_as_the_dense_way_does(combine):
    size, first, second = (40, 50), blobs(6, (10, 12), seed=1), blobs(6, (14, 18), seed=2)
    views = [
        View(values, place_image(size, grid, grid, grid, upsampling="one-step"))
        for values, grid in ((first, (10, 12)), (second, (14, 18)))
    ]
    full = [dense(values, size, None, None, "one-step") for values in (first, second)]
    expected = sum(values.softmax(0) for values in full) if combine == "probabilities" else sum(full)
    # A probability changes by half of what all logits do at most, and these reach 32.
    roundings = 32 if combine == "logits" else 32 * 32
    assert_same_labels(label_map(Prediction(tuple(views), combine)), expected / 2, roundings)


def test_windows_are_averaged_where_they_overlap():
    size, values = (20, 30), [blobs(4, (5, 5), seed=seed) for seed in (1, 2)]
    total, count = torch.zeros(4, *size), torch.zeros(size)
    views = []
    for logits, left in zip(values, (0, 10), strict=True):
        window = place_image((20, 20), (20, 20), (20, 20), (5, 5), upsampling="one-step").window((0, left), size)
        views.append(View(logits, window))
        total[:, :, left : left + 20] += dense(logits, (20, 20), None, None, "one-step")
        count[:, left : left + 20] += 1
    assert_same_labels(label_map(Prediction(tuple(views), "logits")), total / count)


def test_scores_are_mean_probabilities_on_the_grid():
    values = torch.tensor([[[2.0, 0.0]], [[0.0, 3.0]], [[0.0, 0.0]]])  # K 3, grid 1 × 2
    placement = place_image((4, 8), (4, 8), (4, 8), (1, 2), upsampling="one-step")
    scores = label_map(Prediction((View(values, placement),))).scores
    expected = values.softmax(dim=0)
    assert scores[0].item() == pytest.approx(expected[0, 0, 0].item())
    assert scores[1].item() == pytest.approx(expected[1, 0, 1].item())
    assert scores[2].isnan()


def test_cells_of_the_pad_do_not_count_in_scores():
    values = torch.zeros(2, 4, 4)
    values[0] = 1.0
    values[0, :, 2:] = 50.0  # only the pad is that sure
    placement = place_image((8, 4), (16, 6), (16, 16), (4, 4), upsampling="two-step")
    assert label_map(Prediction((View(values, placement),))).scores[0].item() == pytest.approx(0.7310586, abs=0.1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_refused(value):
    values = torch.zeros(5, 20, 20)
    values[2, 7, 7] = value
    placement = place_image((80, 80), (80, 80), (80, 80), (20, 20), upsampling="one-step")
    with pytest.raises(NumericalError, match="not all finite"):
        label_map(Prediction((View(values, placement),)))


def test_more_than_256_classes_need_a_wider_type():
    values = torch.zeros(300, 2, 2)
    values[299] = 1.0
    result = label_map(Prediction((View(values, Placement(Axis.resize(2, 5), Axis.resize(2, 5))),)))
    assert result.labels.dtype == torch.int32
    assert (result.labels == 299).all()


@pytest.mark.parametrize("logits", [blobs, noise])
def test_no_tensor_is_as_large_as_the_dense_logits(logits):
    """The largest tensor that any operation makes stays a small part of K·H·W floats."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            nonlocal largest
            result = function(*arguments, **(keywords or {}))
            for tensor in result if isinstance(result, tuple | list) else [result]:
                if isinstance(tensor, torch.Tensor):
                    largest = max(largest, tensor.numel())
            return result

    values = logits(60, (64, 64), seed=0)
    placement = place_image((1024, 1024), (256, 256), (256, 256), (64, 64), upsampling="one-step")
    with Watch():
        label_map(Prediction((View(values, placement),)))
    assert largest <= 1024 * 1024 * 2  # two numbers a pixel; dense logits have 60


@pytest.mark.parametrize("logits", [blobs, noise])
def test_minus_infinity_is_a_logit_that_never_wins(logits):
    values = logits(3, (40, 40), seed=1)
    values[0, :, 20:] = -math.inf
    large = torch.where(values == -math.inf, -1e9, values)
    placement = place_image((120, 160), (160, 160), (160, 160), (40, 40), upsampling="one-step")
    maps = [label_map(Prediction((View(each, placement),))) for each in (values, large)]
    assert torch.equal(maps[0].labels, maps[1].labels)
    torch.testing.assert_close(maps[0].scores, maps[1].scores, equal_nan=True)


def test_scores_of_large_pictures_are_added_up_exactly():
    cells = torch.zeros(2, 1000, 1000)
    cells[0] = math.log(9.0)  # a probability of 0.9
    placement = place_image((1000, 1000), (1000, 1000), (1000, 1000), (1000, 1000), upsampling="one-step")
    scores = label_map(Prediction((View(cells, placement),))).scores
    assert scores[0].item() == pytest.approx(0.9, abs=1e-6)
