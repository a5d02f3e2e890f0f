"""Windows, scales and mirrored pictures against the dense loops of mmsegmentation, Segmenter and UN-EPT."""

import cv2
import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate, pad
from torch.utils._python_dispatch import TorchDispatchMode

from segpipe.configuration import InferenceConfig, PreprocessorConfig, ShortSideResize
from segpipe.errors import NumericalError
from segpipe.inference import Mosaic, Prediction, View, label_map, predict_views, share_windows, window_starts
from segpipe.inference.geometry import Axis, Placement
from segpipe.inference.label_maps.dense import STRIP_FLOATS
from segpipe.models import EncoderConfig, SegformerConfig, build_model

NO_RESIZE = PreprocessorConfig()


def tiny_network(num_classes=5, size_multiple=1):
    torch.manual_seed(0)
    encoder = EncoderConfig(dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), heads=(1, 1, 2, 2))
    config = SegformerConfig(num_classes=num_classes, encoder=encoder, size_multiple=size_multiple)
    model = build_model(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    apply_balance(model)
    return model


@torch.no_grad()
def apply_balance(model):
    """Give each class logits of mean 0 and deviation 4, so that all of them appear in a label map."""
    logits = model(tensor(picture((160, 160), seed=1)))[0].flatten(1)  # (K, N)
    factor = 4 / logits.std(dim=1)
    model.head.classifier.weight.mul_(factor[:, None, None, None])
    model.head.classifier.bias.sub_(logits.mean(dim=1)).mul_(factor)


def picture(size, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)


def tensor(image):
    return torch.tensor(image).permute(2, 0, 1)[None].float()


def bilinear(maps, size):
    return interpolate(maps, size=size, mode="bilinear", align_corners=False)


def at_input_size(model, pixels):
    """(1, 3, h, w) → logits (1, K, h, w)."""
    size = pixels.shape[-2:]
    return bilinear(model(pixels), model.input_size(size))[..., : size[0], : size[1]]


def mmsegmentation_slide(model, pixels, window, stride):
    height, width = pixels.shape[-2:]
    total, count = torch.zeros(1, model.num_classes, height, width), torch.zeros(1, 1, height, width)
    for row in range(max(height - window[0] + stride[0] - 1, 0) // stride[0] + 1):
        for column in range(max(width - window[1] + stride[1] - 1, 0) // stride[1] + 1):
            bottom, right = min(row * stride[0] + window[0], height), min(column * stride[1] + window[1], width)
            top, left = max(bottom - window[0], 0), max(right - window[1], 0)
            logits = at_input_size(model, pixels[..., top:bottom, left:right])
            total += pad(logits, (left, width - right, top, height - bottom))
            count[..., top:bottom, left:right] += 1
    return total / count


def segmenter_slide(model, pixels, window, stride):
    height, width = pixels.shape[-2:]
    if min(height, width) < window:
        ratio = max(height, width) / min(height, width)
        size = (window, int(ratio * window)) if height < width else (int(ratio * window), window)
        pixels = bilinear(pixels, size)
    height, width = pixels.shape[-2:]
    tops = [*(top for top in range(0, height, stride) if top < height - window), height - window]
    lefts = [*(left for left in range(0, width, stride) if left < width - window), width - window]
    total, count = torch.zeros(1, model.num_classes, height, width), torch.zeros(1, 1, height, width)
    for top in tops:
        for left in lefts:
            part = (..., slice(top, top + window), slice(left, left + window))
            total[part] += at_input_size(model, pixels[part])
            count[part] += 1
    return total / count


def assert_same_labels(prediction, reference):
    """The labels are the reference's (K, H, W), but where two classes are within rounding."""
    different = label_map(prediction).labels.long() != reference.argmax(dim=0)
    assert different.float().mean() < 0.01
    assert len(reference.argmax(dim=0).unique()) >= 3, "a map of one class shows nothing"
    if different.any():
        best = reference.topk(2, dim=0).values
        assert (best[0] - best[1])[different].max() < 1e-4


SIZES = [
    ((64, 64), (64, 64)),
    ((97, 131), (97, 131)),
    ((65, 160), (91, 223)),
    ((141, 75), (101, 50)),
    ((40, 150), (41, 149)),
]


@pytest.mark.parametrize("upsampling", ["one-step", "two-step"])
@pytest.mark.parametrize("size_multiple", [1, 32])
@pytest.mark.parametrize(("size", "original"), SIZES)
@torch.inference_mode()
def test_windows_are_mmsegmentations(size, original, size_multiple, upsampling):
    model, image = tiny_network(size_multiple=size_multiple), picture(original)
    preprocessor = PreprocessorConfig()
    if size != original:
        preprocessor = PreprocessorConfig(resize=ShortSideResize(size=min(size)))
    config = InferenceConfig(mode="slide", window=(64, 56), stride=(48, 40), upsampling=upsampling)
    resized = cv2.resize(image, expected_size(original, preprocessor)[::-1], interpolation=cv2.INTER_LINEAR)
    reference = bilinear(mmsegmentation_slide(model, tensor(resized), (64, 56), (48, 40)), original)[0]
    assert_same_labels(predict_views(model, image, preprocessor, config), reference)


def expected_size(size, preprocessor):
    """mmcv's rescale_size for a short side alone."""
    if preprocessor.resize is None:
        return size
    factor = preprocessor.resize.size / min(size)
    return tuple(int(side * factor + 0.5) for side in size)


@pytest.mark.parametrize("size", [(48, 48), (49, 48), (30, 47), (101, 31), (97, 130)])
@torch.inference_mode()
def test_enlarged_pictures_are_segmenters(size):
    model, image = tiny_network(), picture(size)
    config = InferenceConfig(mode="slide", window=(48, 48), stride=(32, 32), small_picture="enlarge")
    reference = bilinear(segmenter_slide(model, tensor(image), 48, 32), size)[0]
    assert_same_labels(predict_views(model, image, NO_RESIZE, config), reference)


@pytest.mark.parametrize("size", [(30, 47), (100, 31), (70, 80)])
@torch.inference_mode()
def test_padded_pictures_have_zeros_after_normalisation(size):
    """UN-EPT: a window that hangs over the picture's end is filled with zeros; its logits there are cut off."""
    model, image = tiny_network(), picture(size)
    config = InferenceConfig(mode="slide", window=(64, 64), stride=(64, 64), small_picture="pad")
    normal = pad(model.normalise(tensor(image)), (0, max(0, 64 - size[1]), 0, max(0, 64 - size[0])))
    total, count = torch.zeros(1, 5, *normal.shape[-2:]), torch.zeros(1, 1, *normal.shape[-2:])
    for top in sorted({0, normal.shape[2] - 64}):
        for left in sorted({0, normal.shape[3] - 64}):
            part = (..., slice(top, top + 64), slice(left, left + 64))
            total[part] += bilinear(model.head(model.encoder(normal[part])), (64, 64))
            count[part] += 1
    assert_same_labels(predict_views(model, image, NO_RESIZE, config), (total / count)[0, :, : size[0], : size[1]])


# (width, height) by hand, mmsegmentation 1.x: 50.5 × 37.5 is rounded to 51 × 38, into which 101 × 75 fits as 51 × 37.9;
# 176.75 × 131.25 to 177 × 131, into which it fits as 176.4 × 131.
SCALED = {0.5: (51, 38), 1.0: (101, 75), 1.75: (176, 131)}


@pytest.mark.parametrize("mode", ["whole", "slide"])
@pytest.mark.parametrize("combine", ["probabilities", "logits"])
@torch.inference_mode()
def test_scales_and_mirrored_pictures_are_averaged_as_mmsegmentation_does(mode, combine):
    model, size = tiny_network(), (75, 101)
    image = picture(size)
    config = InferenceConfig(
        mode=mode, window=(48, 48), stride=(32, 32), scales=(0.5, 1.0, 1.75), flip=True, combine=combine,
        upsampling="two-step",
    )  # fmt: skip
    total = torch.zeros(5, *size)
    for scale in config.scales:
        resized = cv2.resize(image, SCALED[scale], interpolation=cv2.INTER_LINEAR)
        for mirrored in (False, True):
            pixels = tensor(resized[:, ::-1].copy() if mirrored else resized)
            logits = at_input_size(model, pixels) if mode == "whole" else None
            if logits is None:
                logits = mmsegmentation_slide(model, pixels, (48, 48), (32, 32))
            values = bilinear(logits, size)[0]
            values = values.softmax(dim=0) if combine == "probabilities" else values
            total += values.flip(-1) if mirrored else values
    assert_same_labels(predict_views(model, image, NO_RESIZE, config), total / 6)


@torch.inference_mode()
def test_scores_of_several_views_are_mean_probabilities_over_the_mask():
    model, image = tiny_network(), picture((40, 56))
    prediction = predict_views(model, image, NO_RESIZE, InferenceConfig(flip=True, upsampling="two-step"))
    straight = at_input_size(model, tensor(image))[0].softmax(0)
    mirrored = at_input_size(model, tensor(image[:, ::-1].copy()))[0].softmax(0).flip(-1)
    best = ((straight + mirrored) / 2).max(dim=0)
    result = label_map(prediction)
    for index in best.indices.unique().tolist():
        assert result.scores[index].item() == pytest.approx(best.values[best.indices == index].mean().item(), abs=1e-3)


def test_windows_begin_where_both_rules_say():
    assert window_starts(64, 64, 48) == [0]
    assert window_starts(65, 64, 48) == [0, 1]
    assert window_starts(160, 64, 48) == [0, 48, 96]
    assert window_starts(170, 64, 48) == [0, 48, 96, 106]
    assert window_starts(30, 64, 48) == [0]


@pytest.mark.parametrize("length", [150, 97, 301, 11])
def test_shares_of_windows_add_up_to_one_at_each_pixel(length):
    axes = share_windows(Axis.resize(16, 64), window_starts(150, 64, 40), 150, length)
    assert sum(axis.weights.sum(axis=1) for axis in axes) == pytest.approx(np.ones(length), abs=1e-5)
    assert max(axis.taps for axis in axes) <= 16
    matrices = [Axis.resize(150, length).matrix @ shared_by_hand(start) for start in window_starts(150, 64, 40)]
    for axis, expected in zip(axes, matrices, strict=True):
        assert torch.allclose(axis.matrix, expected, atol=1e-6)


def shared_by_hand(start):
    """(150, 16): the matrix of a window at `start` of 64 pixels, divided by how many windows of stride 40 overlap."""
    counts = torch.zeros(150)
    for other in (0, 40, 80, 86):
        counts[other : other + 64] += 1
    matrix = torch.zeros(150, 16)
    matrix[start : start + 64] = Axis.resize(16, 64).matrix
    return matrix / counts[:, None]


def test_one_window_that_holds_the_picture_is_a_plain_view():
    config = InferenceConfig(mode="slide", window=(64, 64), stride=(48, 48))
    [view] = predict_views(tiny_network(), picture((50, 60)), NO_RESIZE, config).views
    assert isinstance(view, View)


def test_a_broken_window_is_refused():
    axes = share_windows(Axis.resize(4, 16), [0, 8], 24, 24)
    rows = Axis.resize(4, 16)
    broken = torch.zeros(3, 4, 4)
    broken[1, 2, 2] = float("nan")
    views = [
        View(logits, Placement(rows, axis)) for logits, axis in zip((torch.zeros(3, 4, 4), broken), axes, strict=True)
    ]
    with pytest.raises(NumericalError, match="not all finite"):
        label_map(Prediction((Mosaic(tuple(views)),)))


@torch.inference_mode()
def test_no_tensor_is_as_large_as_the_dense_logits():
    """Windows, scales and flips: what any operation makes is bounded by a strip, not by K·H·W."""
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            nonlocal largest
            result = function(*arguments, **(keywords or {}))
            for one in result if isinstance(result, tuple | list) else [result]:
                if isinstance(one, torch.Tensor):
                    largest = max(largest, one.numel())
            return result

    model, image = tiny_network(num_classes=64), picture((512, 640))
    config = InferenceConfig(mode="slide", window=(192, 192), stride=(160, 160), scales=(0.75, 1.0), flip=True)
    with Watch():
        label_map(predict_views(model, image, NO_RESIZE, config))
    assert largest <= max(STRIP_FLOATS, 3 * 512 * 640)  # dense logits have 20 times as many
