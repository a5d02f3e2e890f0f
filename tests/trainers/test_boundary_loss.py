"""The boundary loss: value and gradients beside a slow formula of torch's own parts, bins and weights by hand."""

import math

import pytest
import torch
from torch.nn import functional

from segpipe.configuration import BoundaryLoss
from segpipe.errors import InputError
from segpipe.models import BoundaryOutput
from segpipe.trainers.boundary_loss import (
    MOVES,
    BoundaryMaps,
    balanced_cross_entropy,
    build_boundary_loss,
    direction_bins,
    inward_moves,
    moved_labels,
)

VECTORS = [(0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1)]


def random_case(seed=0, size=(20, 28), grid=(5, 7), num_classes=6, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits, mask, direction = (
        (torch.randn(2, channels, *grid, generator=generator, dtype=dtype) * 2).requires_grad_()
        for channels in (num_classes, 2, 8)
    )
    labels = torch.randint(0, num_classes + 1, (2, *size), generator=generator)
    labels[labels == num_classes] = 255
    distance = torch.randint(0, 20, (2, *size), generator=generator, dtype=torch.uint8)
    angle = torch.randint(-90, 91, (2, *size), generator=generator, dtype=torch.int16) * 2
    return BoundaryOutput(logits, mask, direction), labels, BoundaryMaps(distance, angle)


def loss_of(num_classes=6, **options):
    return build_boundary_loss(BoundaryLoss(**options), num_classes=num_classes, ignore_index=255)


def slow_bin(angle):
    return 0 if angle <= -157.5 or angle > 157.5 else next(i for i in range(1, 8) if angle <= -180 + 45 * i + 22.5)


def slow_weighted(logits, classes, counted):
    """Cross-entropy over the counted pixels, each class weighing 1 less its share."""
    chosen, classes = logits.permute(0, 2, 3, 1)[counted], classes[counted]
    if len(classes) == 0:
        return logits.sum() * 0
    shares = torch.stack([(classes == index).double().mean() for index in range(logits.shape[1])])
    weights = (1 - shares)[classes].to(logits)
    losses = -chosen.log_softmax(dim=-1)[torch.arange(len(classes)), classes]
    return (losses * weights).sum() / weights.sum() if weights.sum() > 0 else losses.sum() * 0


def slow_refined(logits, mask, direction):
    """Logits (B, K, H, W) sampled where boundary pixels point to, by grid_sample."""
    batch, _, height, width = logits.shape
    grid = torch.zeros(batch, height, width, 2, dtype=logits.dtype)
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                down, right = VECTORS[int(direction[b, :, y, x].argmax())] if mask[b, 1, y, x] > 0.5 else (0, 0)
                grid[b, y, x, 0] = (x + right) / ((width - 1) / 2) - 1
                grid[b, y, x, 1] = (y + down) / ((height - 1) / 2) - 1
    return functional.grid_sample(logits, grid, mode="bilinear", padding_mode="border", align_corners=True)


def slow_loss(output, labels, maps, class_weights=None):
    size = labels.shape[1:]
    logits = functional.interpolate(output.logits, size, mode="bilinear", align_corners=False)
    mask, direction = (
        functional.interpolate(each, size, mode="bilinear", align_corners=True)
        for each in (output.mask, output.direction)
    )
    counted = labels != 255
    bins = torch.tensor([slow_bin(float(angle)) for angle in maps.angle.flatten()]).view(labels.shape)
    found = counted & (mask.softmax(dim=1)[:, 1] > 0.5)
    entropy = [
        functional.cross_entropy(each, labels, class_weights, ignore_index=255)
        for each in (logits, slow_refined(logits, mask, direction))
    ]
    boundary = slow_weighted(mask, ((maps.distance >= 0) & (maps.distance <= 5)).long(), counted)
    return 0.8 * entropy[0] + 5 * boundary + 0.6 * slow_weighted(direction, bins, found) + entropy[1]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weights", [None, (0.5, 1.0, 2.0, 0.0, 1.5, 3.0)])
def test_value_and_gradients_are_those_of_the_published_formula(seed, weights):
    output, labels, maps = random_case(seed)
    expected = slow_loss(output, labels, maps, None if weights is None else torch.tensor(weights, dtype=torch.float64))
    slopes = torch.autograd.grad(expected, output)
    loss = loss_of(class_weights=weights)(output, labels, maps)
    ours = torch.autograd.grad(loss.mean(), output)
    assert float(loss.mean().detach()) == pytest.approx(float(expected.detach()), rel=1e-9)
    for mine, theirs in zip(ours, slopes, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-12)


def test_the_weight_is_the_number_of_labelled_pixels():
    output, labels, maps = random_case()
    assert float(loss_of()(output, labels, maps).weight) == int((labels != 255).sum())


def test_ignored_pixels_count_in_no_part():
    output, labels, maps = random_case()
    other = BoundaryMaps(maps.distance.where(labels != 255, 3), maps.angle.where(labels != 255, 77))
    assert torch.equal(loss_of()(output, labels, maps).total, loss_of()(output, labels, other).total)


def test_without_a_labelled_pixel_there_is_no_loss_and_no_gradient():
    output, labels, maps = random_case()
    loss = loss_of()(output, torch.full_like(labels, 255), maps)
    gradients = torch.autograd.grad(loss.mean(), output)
    assert (float(loss.weight), float(loss.mean().detach())) == (0.0, 0.0)
    assert all(float(gradient.abs().max()) == 0 for gradient in gradients)


def test_a_batch_without_boundaries_leaves_the_boundary_part_out():
    output, labels, maps = random_case()
    far = maps._replace(distance=torch.full_like(maps.distance, 100))
    with_part = loss_of(boundary_factor=5.0, direction_factor=0.0)(output, labels, far).mean()
    without = loss_of(boundary_factor=0.0, direction_factor=0.0)(output, labels, far).mean()
    assert float(with_part.detach()) == float(without.detach())


def test_the_factors_alone_leave_plain_cross_entropy():
    output, labels, maps = random_case()
    loss = loss_of(class_factor=1.0, boundary_factor=0.0, direction_factor=0.0, refined_factor=0.0)
    full = functional.interpolate(output.logits, labels.shape[1:], mode="bilinear", align_corners=False)
    expected = functional.cross_entropy(full, labels, ignore_index=255)
    torch.testing.assert_close(loss(output, labels, maps).mean(), expected)


def test_labels_of_a_padded_picture_lie_at_the_upper_left():
    output, labels, maps = random_case(size=(20, 28))
    cut = labels[:, :17, :21]
    padded = torch.full_like(labels, 255)
    padded[:, :17, :21] = cut
    # Nothing moves, so the pad, whose logits the refinement could read, is out of play.
    still = BoundaryOutput(output.logits, output.mask * 0, output.direction)
    small = loss_of()(still, cut, BoundaryMaps(*(each[:, :17, :21] for each in maps)), (20, 28))
    torch.testing.assert_close(small.mean(), loss_of()(still, padded, maps).mean())


@pytest.mark.parametrize(
    ("angle", "index"),
    [(180, 0), (-180, 0), (-157.5, 0), (-157, 1), (157.5, 7), (158, 0), (0, 4), (22.5, 4), (23, 5), (90, 6), (-90, 2)],
)
def test_a_direction_falls_into_its_bin(angle, index):
    assert direction_bins(torch.tensor([angle])).tolist() == [index]


def test_a_bin_moves_to_the_neighbour_in_its_direction():
    for index, (down, right) in enumerate(MOVES):
        centre = math.degrees(math.atan2(down, right))  # 0 right, 90 down
        assert direction_bins(torch.tensor([centre])).tolist() == [index]


def test_classes_weigh_one_less_their_share():
    logits = torch.zeros(1, 2, 1, 4)
    classes = torch.tensor([[[0, 0, 0, 1]]])
    loss = balanced_cross_entropy(logits, classes, torch.ones_like(classes, dtype=torch.bool))
    assert float(loss.weight) == pytest.approx(3 * 0.25 + 0.75)
    assert float(loss.total) == pytest.approx(1.5 * math.log(2))


def test_labels_move_with_their_pixels_and_stop_at_the_edge():
    mask = torch.tensor([[[[0.0, 0.0, 0.0]], [[0.6, 0.5, 9.0]]]])  # the second is at the limit, not over it
    direction = torch.zeros(1, 8, 1, 3)
    direction[0, 4, 0, 0] = direction[0, 4, 0, 2] = 1.0  # to the right
    moves = inward_moves(mask, direction)
    assert moves.tolist() == [[[[0, 1], [0, 0], [0, 0]]]]
    maps = moved_labels(torch.tensor([[[5, 6, 7]]], dtype=torch.int32), moves)
    assert [each.tolist() for each in maps] == [[[[-1, 6, 7]]], [[[-1, 5, -1]]]]


def test_class_weights_must_be_one_per_class():
    with pytest.raises(InputError, match="2 entries for 6 classes"):
        loss_of(class_weights=(1.0, 2.0))
