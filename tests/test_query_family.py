"""A family whose class scores are not linear in its output: queries with class and mask logits, as set prediction has.

The label maps are compared with dense ones that are worked out here, with plain torch at full size.
"""

import json
from typing import NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_family import TinyConfig
from torch import Tensor, nn
from torch.nn.functional import interpolate

from segpipe import pipeline
from segpipe.analysis import align
from segpipe.configuration import MODELS, InferenceConfig, PreprocessorConfig, decode_configuration
from segpipe.exporters.exporting import export_network
from segpipe.exporters.formats import FORMATS
from segpipe.inference import ExportedNetwork, label_map, open_session, predict, predict_views, prepare_image
from segpipe.inference.label_maps import dense
from segpipe.models import Family, GridScores, SegmentationModel, build_model

QUERIES, CLASSES = 7, 5


class QueryConfig(TinyConfig, tag="query", frozen=True, kw_only=True):
    """As the tiny family's, under another name."""


class QueryOutput(NamedTuple):
    """What the network gives."""

    class_logits: Tensor  # (B, Q, K + 1), the last one for no class
    mask_logits: Tensor  # (B, Q, h, w)


class QueryScoring:
    """softmax(class) · sigmoid(mask), summed over an image's queries."""

    def __init__(self, class_logits):
        self.weights = class_logits.float().softmax(dim=-1)[:, :-1]  # (Q, K)
        self.num_classes = self.weights.shape[1]

    def scores(self, cells):
        return cells.sigmoid() @ self.weights

    def probabilities(self, scores):
        return scores / scores.sum(dim=-1, keepdim=True)


class QueryNetwork(SegmentationModel):
    """A strided convolution for the masks, and classes from the image's mean colour."""

    output_type = QueryOutput

    def __init__(self, config):
        super().__init__(config)
        self.masks = nn.Conv2d(3, QUERIES, 7, stride=4, padding=3)
        self.classes = nn.Linear(3, QUERIES * (config.num_classes + 1))

    def forward(self, images):
        images = self.normalise(images)
        classes = self.classes(images.mean(dim=(2, 3))).unflatten(1, (QUERIES, -1))
        return QueryOutput(4 * classes, 4 * self.masks(images))

    def grid_scores(self, output):
        return GridScores(output.mask_logits, [QueryScoring(each) for each in output.class_logits])


@pytest.fixture
def network(monkeypatch):
    monkeypatch.setattr(MODELS, "_entries", dict(MODELS._entries))
    MODELS.register("query")(Family(config=QueryConfig, network=QueryNetwork))
    torch.manual_seed(1)
    return build_model(QueryConfig(num_classes=CLASSES)).eval()


@pytest.fixture
def image():
    generator = torch.Generator().manual_seed(2)
    coarse = 255 * torch.rand(1, 3, 6, 7, generator=generator)
    smooth = interpolate(coarse, size=(57, 83), mode="bilinear", align_corners=False)[0]
    return smooth.permute(1, 2, 0).to(torch.uint8).numpy()


def dense_scores(network, pixels, size):
    """(K, H, W): masks to the padded input, cropped, to the image, then what the papers compute."""
    classes, masks = network(pixels[None])
    full = interpolate(masks, size=network.input_size(pixels.shape[1:]), mode="bilinear", align_corners=False)
    full = full[:, :, : pixels.shape[1], : pixels.shape[2]]
    full = interpolate(full, size=size, mode="bilinear", align_corners=False)[0]
    return torch.einsum("qk,qhw->khw", classes[0].softmax(dim=-1)[:, :-1], full.sigmoid())


def assert_same(result, scores):
    """The same labels, but where two classes are within rounding; and the mean probability of each class's pixels."""
    chosen = scores.gather(0, result.labels.long()[None])[0]
    assert (scores.amax(dim=0) - chosen).max() < 1e-5
    assert len(result.labels.unique()) > 1
    assert (result.labels != scores.argmax(dim=0)).double().mean() < 1e-3
    probabilities = scores.amax(dim=0) / scores.sum(dim=0)
    for index, score in enumerate(result.scores):
        mask = result.labels == index
        assert torch.isnan(score) if not mask.any() else abs(score - probabilities[mask].mean()) < 1e-4


@pytest.fixture
def folder(network, tmp_path):
    """A model folder of the network."""
    model = {"type": "query", "num_classes": CLASSES}
    names = [f"class {index}" for index in range(CLASSES)]
    (tmp_path / "configuration.json").write_text(json.dumps({"model": model, "labels": {"names": names}}))
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    return tmp_path


def channels_first(image):
    return torch.tensor(image).permute(2, 0, 1)


@torch.inference_mode()
@pytest.mark.parametrize("strip_floats", [1, 1 << 20])
def test_its_label_map_in_strips_is_the_dense_one(network, image, monkeypatch, strip_floats):
    monkeypatch.setattr(dense, "STRIP_FLOATS", strip_floats)
    options = decode_configuration(json.dumps({"model": {"type": "query", "num_classes": CLASSES}}), origin="here")
    [prediction] = predict(network, [prepare_image(image, options)], options)
    assert_same(label_map(prediction), dense_scores(network, channels_first(image), image.shape[:2]))


@torch.inference_mode()
def test_its_pipeline_gives_the_dense_label_map(folder, network, image):
    result = pipeline("image-segmentation", folder, device="cpu")(image)
    scores = dense_scores(network, channels_first(image), image.shape[:2])
    assert (result.label_map == scores.argmax(dim=0).numpy()).mean() > 0.999
    assert len(result["masks"]) == len(np.unique(result.label_map))


@torch.inference_mode()
def test_its_views_average_their_scores(network, image):
    inference = InferenceConfig(scales=(1.0,), flip=True, combine="logits")
    found = label_map(predict_views(network, image, PreprocessorConfig(), inference))
    pixels, size = channels_first(image), image.shape[:2]
    both = dense_scores(network, pixels, size), dense_scores(network, pixels.flip(-1), size).flip(-1)
    assert_same(found, sum(both) / 2)


@torch.inference_mode()
def test_its_windows_average_their_scores(network, image):
    inference = InferenceConfig(mode="slide", window=(32, 48), stride=(25, 35))
    found = label_map(predict_views(network, image, PreprocessorConfig(), inference))
    total, count = torch.zeros(CLASSES, *image.shape[:2]), torch.zeros(image.shape[:2])
    for top in (0, 25):
        for left in (0, 35):
            place = (..., slice(top, top + 32), slice(left, left + 48))
            total[place] += dense_scores(network, channels_first(image)[place], (32, 48))
            count[place] += 1
    assert_same(found, total / count)


@pytest.mark.slow
@torch.inference_mode()
def test_its_export_returns_its_output_by_name(network, image, tmp_path):
    path = tmp_path / "query.pt2"
    report = export_network(network, path, FORMATS["torch"], pixels=torch.uint8)
    assert report.largest_difference < 1e-5
    exported = ExportedNetwork(
        open_session(path, format="torch"), network, network.config.pixel_mean, pixels=torch.uint8
    )
    images = interpolate(channels_first(image)[None], size=(96, 131))
    found, expected = exported(images), network(images)
    assert isinstance(found, QueryOutput)
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(found, expected, strict=True))


def test_its_output_is_compared_with_that_of_other_weights(network):
    other = QueryNetwork(network.config).eval()
    images = 255 * torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(3))
    same, apart = align(network, network, images), align(network, other, images)
    assert (same.logits.absolute, same.differing_pixels) == (0.0, 0.0)
    assert apart.logits.absolute > 0.0
    assert 0.0 < apart.differing_pixels <= 1.0


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_other_runtimes_give_its_label_map(folder, image, runtime, monkeypatch, tmp_path):
    pytest.importorskip(runtime)
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    here, there = (pipeline("image-segmentation", folder, device="cpu", runtime=each) for each in ("eager", runtime))
    for _ in range(2):  # the second image of a size may go another way
        assert (here(image).label_map == there(image).label_map).mean() > 0.999


@pytest.mark.slow
@pytest.mark.peer
def test_an_onnx_file_of_it_names_its_outputs(network, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "query.onnx"
    export_network(network, path, FORMATS["onnx"], pixels=torch.uint8)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["class_logits", "mask_logits"]
