"""Losses in tiles, held against torch's interpolate and losses written down plainly."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate

from segpipe.configuration.training import CrossEntropyLoss, DiceLoss, FocalLoss, LossConfig, OhemLoss
from segpipe.errors import InputError
from segpipe.inference.geometry import place_image
from segpipe.trainers import strip_loss
from segpipe.trainers.losses import LossSum, build_loss
from segpipe.trainers.strip_loss import LogitGrid, Tile, Upsampling

CLASSES = 5
IGNORED = 255
WEIGHTS = (1.0, 0.5, 2.0, 0.0, 3.0)
SIZES = [((7, 9), (29, 37)), ((8, 8), (32, 32)), ((1, 3), (70, 131)), ((5, 1), (40, 1)), ((40, 50), (33, 21))]
Plain = Callable[[Tensor, Tensor], Tensor]


def _case(grid: tuple[int, int], size: tuple[int, int], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(grid[0] * 1000 + size[1])
    logits = 3 * torch.randn(2, CLASSES, *grid, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, CLASSES, (2, *size), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = IGNORED
    return logits.to(dtype).requires_grad_(), labels


def _upsample(logits: Tensor, labels: Tensor) -> Tensor:
    return interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)


def _plain_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(_upsample(logits, labels), labels, ignore_index=IGNORED)


def _plain_weighted_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    weights = torch.tensor(WEIGHTS, dtype=logits.dtype)
    return cross_entropy(_upsample(logits, labels), labels, weight=weights, ignore_index=IGNORED)


def _plain_focal(gamma: float, alpha: float) -> Plain:
    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        pixels = cross_entropy(_upsample(logits, labels), labels, ignore_index=IGNORED, reduction="none")
        return (alpha * (1 - torch.exp(-pixels)) ** gamma * pixels)[labels != IGNORED].mean()

    return loss


def _plain_ohem(threshold: float) -> Plain:
    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        pixels = cross_entropy(_upsample(logits, labels), labels, ignore_index=IGNORED, reduction="none").flatten()
        least = int((labels != IGNORED).sum()) // 16
        hard = pixels[pixels > -math.log(threshold)]
        return hard.mean() if len(hard) >= least else pixels.topk(least).values.mean()

    return loss


def _plain_dice(delta: float, smooth: float) -> Plain:
    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        scores = []
        for shares, label in zip(_upsample(logits, labels).softmax(dim=1), labels, strict=True):
            for index in range(CLASSES):
                share, true = shares[index][label != IGNORED], (label[label != IGNORED] == index).to(shares)
                found, missed, wrong = (share * true).sum(), ((1 - share) * true).sum(), (share * (1 - true)).sum()
                scores.append((found + smooth) / (found + delta * missed + (1 - delta) * wrong + smooth))
        return (1 - torch.stack(scores)).mean()

    return loss


LOSSES: list[tuple[LossConfig, Plain]] = [
    (CrossEntropyLoss(), _plain_cross_entropy),
    (CrossEntropyLoss(class_weights=WEIGHTS), _plain_weighted_cross_entropy),
    (FocalLoss(gamma=2.0, alpha=0.25), _plain_focal(2.0, 0.25)),
    (FocalLoss(gamma=0.5), _plain_focal(0.5, 1.0)),
    (OhemLoss(), _plain_ohem(0.7)),
    (OhemLoss(threshold=1e-5), _plain_ohem(1e-5)),
    (DiceLoss(), _plain_dice(0.5, 1e-6)),
    (DiceLoss(delta=0.7, smooth=1.0), _plain_dice(0.7, 1.0)),
]


def _value_and_gradient(loss: Plain, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    value = loss(logits, labels)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


def _tiled(config: LossConfig) -> Plain:
    loss = build_loss(config, num_classes=CLASSES, ignore_index=IGNORED)
    return lambda logits, labels: loss(logits, labels).mean()


def _assert_close(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], tolerance: float) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


@pytest.mark.parametrize(("grid", "size"), SIZES)
@pytest.mark.parametrize(("config", "plain"), LOSSES, ids=lambda value: type(value).__name__)
def test_loss_in_tiles_equals_the_plain_loss(
    config: LossConfig, plain: Plain, grid: tuple[int, int], size: tuple[int, int]
) -> None:
    logits, labels = _case(grid, size)
    found = _value_and_gradient(_tiled(config), logits, labels)
    _assert_close(found, _value_and_gradient(plain, logits, labels), 1e-12)


@pytest.mark.parametrize(("config", "plain"), LOSSES, ids=lambda value: type(value).__name__)
def test_float32_loss_is_as_near_the_truth_as_rounding_allows(config: LossConfig, plain: Plain) -> None:
    logits, labels = _case((16, 24), (64, 96), torch.float32)
    truth = logits.detach().double().requires_grad_()
    found = _value_and_gradient(_tiled(config), logits, labels)
    assert found[0].dtype == found[1].dtype == torch.float32
    # Logits of up to 12 are interpolated with four roundings of half an eps, and a share is off by as much, relatively.
    tolerance = 12 * 4 * torch.finfo(torch.float32).eps / 2
    _assert_close(found, _value_and_gradient(plain, truth, labels), tolerance)


@pytest.mark.parametrize(("floats", "columns"), [(1, 3), (300, 8), (5000, 64)])
def test_value_does_not_depend_on_the_tiles(monkeypatch: pytest.MonkeyPatch, floats: int, columns: int) -> None:
    logits, labels = _case((7, 9), (29, 37))
    monkeypatch.setattr(strip_loss, "TILE_FLOATS", floats)
    monkeypatch.setattr(strip_loss, "TILE_SIDE_FEW", columns)
    monkeypatch.setattr(strip_loss, "BAND_ROWS", 2 * columns)
    found = _value_and_gradient(_tiled(CrossEntropyLoss()), logits, labels)
    _assert_close(found, _value_and_gradient(_plain_cross_entropy, logits, labels), 1e-12)


@pytest.mark.parametrize("config", [config for config, _ in LOSSES], ids=lambda config: type(config).__name__)
def test_gradient_agrees_with_finite_differences(config: LossConfig) -> None:
    logits, labels = _case((3, 2), (8, 9))
    assert torch.autograd.gradcheck(lambda values: 0.7 * _tiled(config)(values, labels), (logits,))


@pytest.mark.parametrize("config", [config for config, _ in LOSSES], ids=lambda config: type(config).__name__)
def test_batch_without_a_labelled_pixel_costs_nothing(config: LossConfig) -> None:
    logits, labels = _case((4, 4), (16, 16), torch.float32)
    value, gradient = _value_and_gradient(_tiled(config), logits, torch.full_like(labels, IGNORED))
    assert value == 0
    assert torch.equal(gradient, torch.zeros_like(logits))


def test_two_pixels_by_hand() -> None:
    logits = torch.tensor([[[[0.0, 0.0]], [[0.0, math.log(3)]]]])  # shares 1/2, 1/2 and 1/4, 3/4
    labels = torch.tensor([[[0, 1]]])

    def value(config: LossConfig) -> float:
        return float(build_loss(config, num_classes=2, ignore_index=IGNORED)(logits, labels).mean())

    assert value(CrossEntropyLoss()) == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    assert value(CrossEntropyLoss(class_weights=(3.0, 1.0))) == pytest.approx((3 * math.log(2) + math.log(4 / 3)) / 4)
    assert value(OhemLoss(weight=0.5)) == pytest.approx(math.log(2) / 2)
    assert value(FocalLoss(gamma=2.0)) == pytest.approx((math.log(2) / 4 + math.log(4 / 3) / 16) / 2)
    assert value(DiceLoss(smooth=0.0)) == pytest.approx(1 - (0.5 / 0.875 + 0.75 / 1.125) / 2)


def test_dice_of_a_picture_without_labels_leaves_the_others_mean_alone() -> None:
    logits, labels = _case((4, 4), (16, 16))
    alone = _tiled(DiceLoss())(logits[:1], labels[:1])
    labels[1] = IGNORED
    assert torch.allclose(_tiled(DiceLoss())(logits, labels), alone)


def test_processes_that_share_the_weight_get_the_gradient_of_the_whole_batch() -> None:
    logits, labels = _case((6, 6), (24, 24))
    labels[0, :20] = IGNORED
    loss = build_loss(CrossEntropyLoss(class_weights=WEIGHTS), num_classes=CLASSES, ignore_index=IGNORED)
    parts = [loss(logits[:1], labels[:1]), loss(logits[1:], labels[1:])]
    weight = parts[0].weight + parts[1].weight
    whole = _value_and_gradient(_plain_weighted_cross_entropy, logits, labels)
    together = parts[0].mean(weight) + parts[1].mean(weight)
    _assert_close((together.detach(), torch.autograd.grad(together, logits)[0]), whole, 1e-12)


def test_ohem_keeps_a_sixteenth_where_nothing_is_hard() -> None:
    labels = torch.zeros(1, 8, 8, dtype=torch.int64)
    labels[0, 0] = IGNORED
    logits = torch.tensor([9.0, 0.0])[None, :, None, None].expand(1, 2, 8, 8)
    assert build_loss(OhemLoss(), num_classes=2, ignore_index=IGNORED)(logits, labels).weight == 56 // 16


def test_ignored_pixels_get_no_gradient_even_where_they_are_wrong() -> None:
    logits, labels = _case((8, 8), (8, 8))
    _, gradient = _value_and_gradient(_tiled(CrossEntropyLoss()), logits, labels)
    assert not gradient.permute(0, 2, 3, 1)[labels == IGNORED].any()
    assert gradient.permute(0, 2, 3, 1)[labels != IGNORED].any(dim=-1).all()


def test_ignore_index_may_be_large() -> None:
    logits, labels = _case((4, 4), (16, 16))
    loss = build_loss(CrossEntropyLoss(), num_classes=CLASSES, ignore_index=65535)
    found = loss(logits, labels.where(labels != IGNORED, 65535)).mean()
    assert torch.allclose(found, _plain_cross_entropy(logits, labels))


def test_autocast_does_not_change_what_is_computed() -> None:
    logits, labels = _case((8, 8), (32, 32), torch.float32)
    expected = _value_and_gradient(_tiled(CrossEntropyLoss()), logits, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = _value_and_gradient(_tiled(CrossEntropyLoss()), logits, labels)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_get_a_float32_loss_and_a_gradient_of_their_own_type(dtype: torch.dtype) -> None:
    logits, labels = _case((8, 8), (32, 32), dtype)
    value, gradient = _value_and_gradient(_tiled(CrossEntropyLoss()), logits, labels)
    truth = _value_and_gradient(_plain_cross_entropy, logits.detach().float().requires_grad_(), labels)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    assert torch.allclose(value, truth[0])
    assert torch.allclose(gradient.float(), truth[1], rtol=0.01, atol=1e-6)


def test_gradient_goes_on_through_the_network() -> None:
    convolution = torch.nn.Conv2d(3, CLASSES, 1).double()
    logits, labels = _case((8, 8), (32, 32))
    picture = logits.detach()[:, :3]
    found = torch.autograd.grad(_tiled(CrossEntropyLoss())(convolution(picture), labels), convolution.parameters())
    expected = torch.autograd.grad(_plain_cross_entropy(convolution(picture), labels), convolution.parameters())
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_nothing_at_the_labels_size_is_kept_for_the_backward_pass() -> None:
    logits, labels = _case((8, 8), (64, 64), torch.float32)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda t: t):
        _tiled(CrossEntropyLoss())(logits, labels)
    assert max(kept) == logits.numel()


def _tile_sizes(logits: Tensor, counted: Tensor) -> list[int]:
    upsampling = Upsampling.bilinear((logits.shape[2], logits.shape[3]), counted.shape[1:], logits.dtype)
    sizes: list[int] = []

    def look(tile: Tile) -> tuple[Tensor, None]:
        sizes.append(tile.logits.numel())
        return tile.logits.new_zeros(()), None

    LogitGrid(logits, upsampling, with_gradient=False).visit(counted, look)
    return sizes


def test_no_tile_is_larger_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strip_loss, "TILE_FLOATS", 128 * 8 * CLASSES)
    logits, labels = _case((40, 60), (160, 240))
    assert max(_tile_sizes(logits, labels != IGNORED)) <= 128 * 8 * CLASSES


def test_tiles_without_a_counted_pixel_are_left_out() -> None:
    logits, labels = _case((40, 60), (160, 240))
    counted = torch.zeros_like(labels, dtype=torch.bool)
    assert not _tile_sizes(logits, counted)
    counted[1, 150, 7] = True
    assert len(_tile_sizes(logits, counted)) == 1


@pytest.mark.parametrize("config", [config for config, _ in LOSSES], ids=lambda config: type(config).__name__)
def test_threads_change_no_bit_and_stay_as_they_were(config: LossConfig) -> None:
    logits, labels = _case((70, 40), (280, 160), torch.float32)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(_value_and_gradient(_tiled(config), logits, labels))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(alone, together) for alone, together in zip(*results, strict=True))


def test_validation_loss_may_be_computed_in_inference_mode_with_threads() -> None:
    logits, labels = _case((8, 8), (32, 32))
    before = torch.get_num_threads()
    expected = _tiled(OhemLoss())(logits, labels)
    try:
        torch.set_num_threads(2)
        with torch.inference_mode():
            assert torch.allclose(_tiled(OhemLoss())(logits, labels), expected)
    finally:
        torch.set_num_threads(before)


def test_no_gradient_is_computed_where_none_is_wanted() -> None:
    logits, labels = _case((8, 8), (32, 32))
    loss = _tiled(CrossEntropyLoss())
    with torch.no_grad():
        assert not loss(logits, labels).requires_grad
    assert not loss(logits.detach(), labels).requires_grad
    with torch.inference_mode():
        assert torch.allclose(loss(logits, labels), _plain_cross_entropy(logits, labels))


def test_labels_are_compared_where_the_picture_lies_on_a_padded_grid() -> None:
    logits, labels = _case((8, 8), (27, 21), torch.float32)
    placement = place_image((27, 21), (27, 21), (32, 32), (8, 8), upsampling="two-step")
    loss = build_loss(CrossEntropyLoss(), num_classes=CLASSES, ignore_index=IGNORED)

    def padded(logits: Tensor, labels: Tensor) -> Tensor:
        upsampled = interpolate(logits, size=(32, 32), mode="bilinear", align_corners=False)
        return cross_entropy(upsampled[..., :27, :21], labels, ignore_index=IGNORED)

    found = _value_and_gradient(lambda *case: loss(*case, placement).mean(), logits, labels)
    _assert_close(found, _value_and_gradient(padded, logits, labels), 1e-5)


@pytest.mark.parametrize("config", [CrossEntropyLoss(weight=2.0), OhemLoss(weight=2.0)])
def test_auxiliary_logits_add_their_share(config: LossConfig) -> None:
    logits, labels = _case((8, 8), (32, 32))
    coarse = logits.detach()[..., ::2, ::2]
    alone = _tiled(config)
    loss = build_loss(type(config)(weight=2.0, auxiliary_weights=(0.4,)), num_classes=CLASSES, ignore_index=IGNORED)
    found = loss([logits, coarse], labels)
    assert isinstance(found, LossSum)
    assert torch.allclose(found.mean(), alone(logits, labels) + 0.4 * alone(coarse, labels))
    assert torch.allclose(loss(logits, labels).mean(), alone(logits, labels))


def test_wrong_number_of_auxiliary_logits_is_refused() -> None:
    logits, labels = _case((8, 8), (32, 32))
    loss = build_loss(CrossEntropyLoss(), num_classes=CLASSES, ignore_index=IGNORED)
    with pytest.raises(InputError, match="2 logits"):
        loss([logits, logits], labels)


def test_label_that_is_no_class_is_named() -> None:
    logits, labels = _case((8, 8), (32, 32))
    labels[0, 3, 3] = 150
    with pytest.raises(InputError, match="150"):
        _tiled(CrossEntropyLoss())(logits, labels)


def test_class_weights_of_another_number_of_classes_are_refused() -> None:
    with pytest.raises(InputError, match="5 entries for 4 classes"):
        build_loss(CrossEntropyLoss(class_weights=WEIGHTS), num_classes=4, ignore_index=IGNORED)


def test_shapes_that_do_not_fit_are_refused() -> None:
    logits, labels = _case((8, 8), (32, 32))
    with pytest.raises(InputError, match="do not fit"):
        _tiled(CrossEntropyLoss())(logits[:, :4], labels)
