"""The loss by kernels against torch's interpolate and cross_entropy, and against the losses in tiles."""

from __future__ import annotations

import pytest
import torch
from fused_material import DEVICE, import_kernels, needs_gpu
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate

from segpipe.configuration.training import CrossEntropyLoss, DiceLoss, FocalLoss, OhemLoss, PixelLossConfig
from segpipe.inference.geometry import Axis, Placement, place_image
from segpipe.trainers import losses
from segpipe.trainers.losses import build_loss

pytestmark = pytest.mark.peer

IGNORED = 255
CLASSES = 4
GRID, SIZE = (2, 3), (5, 7)
CONFIGS = [
    CrossEntropyLoss(),
    CrossEntropyLoss(class_weights=(1.0, 0.5, 2.0, 0.0)),
    FocalLoss(gamma=2.0, alpha=0.25),
    FocalLoss(gamma=0.5),
    OhemLoss(),
    OhemLoss(threshold=1e-5),
]


def _case(num_classes: int, grid: tuple[int, int], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_classes)
    logits = 3 * torch.randn(2, num_classes, *grid, generator=generator)
    labels = torch.randint(0, num_classes, (2, *size), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = IGNORED
    return logits.to(DEVICE), labels.to(DEVICE)


def _fused(logits: Tensor, labels: Tensor) -> Tensor:
    module = import_kernels("segpipe.trainers.fused_loss")
    axes = (Axis.resize(*ends) for ends in zip(logits.shape[2:], labels.shape[1:], strict=True))
    return module.pixel_losses(logits, labels, Placement(*axes), ignore_index=IGNORED)


def _plain(logits: Tensor, labels: Tensor) -> Tensor:
    upsampled = interpolate(logits, size=labels.shape[1:], mode="bilinear", align_corners=False)
    return cross_entropy(upsampled, labels, ignore_index=IGNORED, reduction="none")


def _assert_equal_to_plain(logits: Tensor, labels: Tensor, dtype: torch.dtype) -> None:
    """Values and the gradient of a weighted sum, against float64 on the same rounded logits."""
    weights = torch.rand(labels.shape, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    ours, truth = logits.to(dtype).requires_grad_(), logits.to(dtype).double().requires_grad_()
    found, expected = _fused(ours, labels), _plain(truth, labels)
    (slopes,) = torch.autograd.grad((found * weights).sum(), ours)
    (true_slopes,) = torch.autograd.grad((expected * weights).sum(), truth)
    assert found.dtype == torch.float32
    assert slopes.dtype == dtype
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    rounding = max(1e-5, torch.finfo(dtype).eps)
    assert (slopes - true_slopes).abs().max() <= rounding * true_slopes.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_value_and_gradient_equal_torchs(dtype: torch.dtype) -> None:
    _assert_equal_to_plain(*_case(5, GRID, SIZE), dtype)


@pytest.mark.parametrize(
    ("num_classes", "grid", "size"),
    [(70, (2, 2), (4, 5)), (3, (6, 20), (4, 7)), (2, (1, 3), (4, 6)), (3, (3, 1), (3, 1))],
)
def test_sizes_and_numbers_of_classes_of_all_kinds(
    num_classes: int, grid: tuple[int, int], size: tuple[int, int]
) -> None:
    _assert_equal_to_plain(*_case(num_classes, grid, size), torch.float32)


def _total(config: PixelLossConfig, logits: Tensor, labels: Tensor, placement: Placement | None) -> tuple[Tensor, ...]:
    loss = build_loss(config, num_classes=CLASSES, ignore_index=IGNORED)
    total, weight = loss(logits.requires_grad_(), labels, placement)
    return total.detach(), weight, torch.autograd.grad(total, logits)[0]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_every_loss_equals_the_one_in_tiles(config: PixelLossConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    import_kernels("segpipe.trainers.fused_loss")
    logits, labels = _case(CLASSES, GRID, SIZE)
    placement = place_image(SIZE, SIZE, (8, 12), GRID, upsampling="one-step")
    monkeypatch.setenv("SEGPIPE_FUSED", "0")
    expected = _total(config, logits, labels, placement)
    monkeypatch.setattr(losses, "can_fuse", lambda _: True)
    for ours, theirs in zip(_total(config, logits, labels, placement), expected, strict=True):
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_dice_and_composed_resizes_are_left_to_the_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "can_fuse", lambda _: True)
    monkeypatch.setattr(losses.SegmentationLoss, "_pixel_losses", None)
    logits, labels = _case(CLASSES, (3, 4), (7, 10))
    placement = place_image((7, 10), (11, 14), (12, 16), (3, 4), upsampling="two-step")
    assert placement.rows.taps > 2
    assert _total(DiceLoss(), logits, labels, None)[0] > 0
    assert _total(CrossEntropyLoss(), logits, labels, placement)[0] > 0


def test_a_batch_without_a_labelled_pixel_costs_nothing() -> None:
    logits, labels = _case(CLASSES, GRID, (4, 4))
    losses_found = _fused(logits.requires_grad_(), torch.full_like(labels, IGNORED))
    (slopes,) = torch.autograd.grad(losses_found.sum(), logits)
    assert not losses_found.any()
    assert not slopes.any()


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("num_classes", "grid"), [(172, (64, 96)), (19, (33, 47)), (1203, (16, 16))])
def test_value_and_gradient_equal_torchs_at_real_sizes(
    num_classes: int, grid: tuple[int, int], dtype: torch.dtype
) -> None:
    _assert_equal_to_plain(*_case(num_classes, grid, (grid[0] * 4 - 3, grid[1] * 4)), dtype)


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_every_loss_on_a_gpu_equals_that_on_a_cpu(config: PixelLossConfig) -> None:
    logits, labels = _case(CLASSES, (16, 16), (64, 64))
    expected = _total(config, logits.cpu(), labels.cpu(), None)
    for ours, theirs in zip(_total(config, logits, labels, None), expected, strict=True):
        assert (ours.cpu() - theirs).abs().max() <= 1e-4 * theirs.abs().max()
