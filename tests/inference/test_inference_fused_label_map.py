"""The label map's kernel against torch's interpolate and argmax, and against the label map in plain torch."""

import pytest
import torch
from fused_material import DEVICE, import_kernels, needs_gpu
from torch.nn.functional import interpolate

from segpipe.errors import NumericalError
from segpipe.inference import Prediction, View, label_map, label_predictions, place_image
from segpipe.inference.label_maps import labelling

pytestmark = pytest.mark.peer


def fused(cells, placement):
    module = import_kernels("segpipe.inference.label_maps.fused")
    return module.fused_label_map(cells.to(DEVICE), placement).cpu()


def placed(grid, size, *, pad=0, upsampling="one-step"):
    padded = (grid[0] * 4, grid[1] * 4)
    resized = tuple(length - pad for length in padded)
    return place_image(size, resized, padded, grid, upsampling=upsampling)


def noise(*shape, dtype=torch.float32):
    return (4 * torch.randn(*shape, generator=torch.Generator().manual_seed(shape[-1]))).to(dtype)


def assert_same_but_for_rounding(labels, logits):
    """Where labels differ from the argmax of (B, K, H, W), the two classes are as good as equal.

    Two logits of each side have 7 roundings of half an eps of the largest one.
    """
    found = logits.gather(1, labels[:, None].long())[:, 0]
    assert (logits.amax(dim=1) - found).max() <= 16 * torch.finfo(torch.float32).eps * logits.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("num_classes", "grid", "size"),
    [(2, (3, 4), (5, 35)), (70, (4, 3), (16, 12)), (300, (2, 5), (3, 4)), (7, (1, 1), (3, 5))],
)
def test_equals_interpolation_and_argmax(num_classes, grid, size, dtype):
    cells = noise(2, *grid, num_classes, dtype=dtype)
    labels = fused(cells, placed(grid, size))
    assert labels.dtype == (torch.uint8 if num_classes <= 256 else torch.int32)
    assert_same_but_for_rounding(labels, interpolate(cells.float().permute(0, 3, 1, 2), size=size, mode="bilinear"))


def test_equals_the_label_map_in_plain_torch_after_two_steps_and_a_pad(monkeypatch):
    cells, placement = noise(3, 4, 9), placed((3, 4), (10, 17), pad=3, upsampling="two-step")
    assert max(placement.rows.taps, placement.columns.taps) == 3
    prediction = Prediction((View(cells.permute(2, 0, 1).to(DEVICE), placement),))
    monkeypatch.setattr(labelling, "can_fuse", lambda _: False)
    plain = label_map(prediction)
    assert torch.equal(fused(cells, placement), plain.labels.cpu())
    monkeypatch.setattr(labelling, "can_fuse", lambda _: True)
    monkeypatch.setattr(labelling, "label_exactly", None)
    assert torch.equal(label_map(prediction).labels, plain.labels)


def predictions_of(cells, placements):
    batch = cells.permute(0, 3, 1, 2).to(DEVICE)
    return [Prediction((View(batch[index], place, batch, index),)) for index, place in enumerate(placements)]


def label_in_batch(cells, placements, monkeypatch):
    """The label maps of a batch, in an order that is not its own, and how many pictures each kernel call had."""
    module = import_kernels("segpipe.inference.label_maps.fused")
    monkeypatch.setattr(labelling, "can_fuse", lambda _: True)
    fused_label_map, counts = module.fused_label_map, []
    monkeypatch.setattr(module, "fused_label_map", lambda *a: counts.append(len(a[0])) or fused_label_map(*a))
    return label_predictions(predictions_of(cells, placements)[::-1])[::-1], counts


def test_a_batch_equals_its_pictures_one_by_one(monkeypatch):
    cells, one, other = noise(4, 3, 4, 9), placed((3, 4), (10, 17), pad=3), placed((3, 4), (9, 5))
    placements = [one, one, other, one]
    views = [View(each.permute(2, 0, 1), place) for each, place in zip(cells, placements, strict=True)]
    alone = [label_map(Prediction((view,))) for view in views]
    together, counts = label_in_batch(cells, placements, monkeypatch)
    assert counts == [3, 1]
    for found, expected in zip(together, alone, strict=True):
        assert torch.equal(found.labels.cpu(), expected.labels)
        torch.testing.assert_close(found.scores.cpu(), expected.scores, equal_nan=True)


def test_in_a_batch_only_the_picture_that_is_not_finite_fails(monkeypatch):
    import_kernels("segpipe.inference.label_maps.fused")
    monkeypatch.setattr(labelling, "can_fuse", lambda _: True)
    cells = noise(3, 3, 4, 9)
    cells[1, 0, 0] = torch.nan
    first, second, third = label_predictions(predictions_of(cells, [placed((3, 4), (10, 17))] * 3))
    assert first.labels.shape == (10, 17)
    assert isinstance(second, NumericalError)
    assert third.labels.shape == (10, 17)


def test_mirrored_pictures_are_mirrored():
    cells, placement = noise(3, 4, 5), placed((3, 4), (12, 16))
    assert torch.equal(fused(cells, placement.flip()), fused(cells, placement).flip(1))


def test_of_equal_classes_the_lowest_wins():
    cells = torch.zeros(2, 2, 130)
    cells[..., [65, 66, 129]] = 1.0
    assert (fused(cells, placed((2, 2), (8, 8))) == 65).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_an_error(value):
    cells = noise(2, 3, 3, 5)
    cells[1, 1, 2, 3] = value
    with pytest.raises(NumericalError, match="not all finite"):
        fused(cells, placed((3, 3), (12, 12)))


def test_a_class_may_be_excluded_by_minus_infinity_but_not_all():
    cells, placement = noise(3, 3, 5), placed((3, 3), (12, 12))
    cells[..., 2] = -torch.inf
    assert 2 not in fused(cells, placement)
    with pytest.raises(NumericalError):
        fused(torch.full_like(cells, -torch.inf), placement)


@needs_gpu
@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("num_classes", "grid", "size"), [(172, (128, 128), (512, 512)), (1203, (60, 80), (539, 957))])
def test_equals_interpolation_and_argmax_at_real_sizes(num_classes, grid, size, dtype):
    cells = noise(2, *grid, num_classes, dtype=dtype)
    labels = fused(cells, placed(grid, size)).to(DEVICE)
    logits = interpolate(cells.to(DEVICE).float().permute(0, 3, 1, 2), size=size, mode="bilinear")
    assert_same_but_for_rounding(labels, logits)


@needs_gpu
@pytest.mark.gpu
def test_a_label_map_on_a_gpu_equals_that_on_a_cpu():
    logits, placement = noise(172, 64, 64), placed((64, 64), (480, 640), pad=5)
    here = label_map(Prediction((View(logits, placement),)))
    there = label_map(Prediction((View(logits.to(DEVICE), placement),)))
    assert (here.labels != there.labels.cpu()).float().mean() < 1e-5
    assert torch.allclose(here.scores, there.scores.cpu(), atol=1e-4, equal_nan=True)
