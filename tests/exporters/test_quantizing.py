"""int8 files decide as the float network does, or are not kept; which images and which products take part."""

import dataclasses
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from exporter_material import TwoStripes, random_images
from PIL import Image

from segpipe import export, pipeline
from segpipe.checkpoints import open_folder
from segpipe.configuration import InferenceConfig, PreprocessorConfig, ShortSideResize
from segpipe.data import Pair, Reading, SegmentationDataset
from segpipe.errors import ImageDecodeError, InputError, MissingExtraError, NumericalError
from segpipe.exporters import FORMATS, SAMPLES, choose_images, export_cache, keep_export
from segpipe.exporters.exporting import export_network
from segpipe.exporters.onnx import nodes_to_quantize, write_onnx
from segpipe.exporters.quantizing import record_views
from segpipe.exporters.torch_export import trace_network
from segpipe.inference import ExportedNetwork, open_session
from segpipe.pipelines import network_pipeline
from segpipe.pipelines.options import PipelineOptions
from segpipe.scenes.street import draw_street_scene

MODEL = "segformer-b0-camvid"
AS_IT_IS = SimpleNamespace(preprocessor=PreprocessorConfig(), inference=InferenceConfig())


def scenes(count):
    return [draw_street_scene(seed=seed, size=(64, 96)).image for seed in range(count)]


def test_images_of_the_calibration_lie_at_even_steps_and_others_between():
    names = [f"{index}.jpg" for index in range(10)]
    chosen = choose_images(names, AS_IT_IS, 4)
    assert chosen.images == ("0.jpg", "2.jpg", "5.jpg", "7.jpg")
    assert chosen.others == ("1.jpg", "3.jpg", "6.jpg", "8.jpg")
    assert choose_images(names, AS_IT_IS).images == tuple(names)
    assert choose_images(names, AS_IT_IS).others == ()


def test_a_folder_a_list_and_a_data_set_give_the_same_images(tmp_path):
    paths = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for path, image in zip(paths, scenes(2), strict=True):
        Image.fromarray(image).save(path)
    dataset = SegmentationDataset("tiny", "val", None, tuple(Pair(path, "") for path in paths))
    for source in (tmp_path, str(tmp_path), paths, iter(paths), dataset):
        assert choose_images(source, AS_IT_IS).images == tuple(paths)


@pytest.mark.parametrize(("samples", "sources"), [(SAMPLES, []), (0, ["a.png"]), (True, ["a.png"]), (2.0, ["a.png"])])
def test_nothing_to_calibrate_with_is_refused(samples, sources):
    with pytest.raises(InputError, match=r"no image to calibrate with|whole number, at least 1"):
        choose_images(sources, AS_IT_IS, samples)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no image"):
        choose_images(tmp_path, AS_IT_IS)


def test_the_digest_is_that_of_the_bytes(tmp_path):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    for path in (first, second):
        Image.fromarray(scenes(1)[0]).save(path)
    assert choose_images([first], AS_IT_IS).digest() == choose_images([second], AS_IT_IS).digest()
    Image.fromarray(scenes(2)[1]).save(second)
    digests = {choose_images(one, AS_IT_IS).digest() for one in ([first], [second], [first, second], scenes(1))}
    assert len(digests) == 4


def test_images_of_the_calibration_are_read_as_those_of_the_pipeline_and_of_the_data_set(tmp_path, monkeypatch):
    path = tmp_path / "twelve-bits.png"
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(path)
    dataset = SegmentationDataset("tiny", "val", None, (Pair(str(path), "", reading=Reading(bit_depth=12)),))
    options = PipelineOptions(bit_depth=12).reading()
    chosen = [choose_images([path], AS_IT_IS, **options), choose_images(dataset, AS_IT_IS)]
    assert [each.read(path).max() for each in chosen] == [255, 255]
    assert len({each.digest() for each in (*chosen, choose_images([path], AS_IT_IS))}) == 2

    seen = []
    monkeypatch.setattr(
        network_pipeline, "keep_export", lambda folder, *, format, calibration: seen.append(calibration)
    )
    monkeypatch.setattr(network_pipeline, "open_exported", lambda *_, **__: TwoStripes())
    pipeline(
        "image-segmentation", MODEL, dtype="int8", runtime="onnxruntime", calibration=[path], bit_depth=12, device="cpu"
    )
    assert seen[0].read(path).max() == 255


def test_the_network_sees_an_image_as_in_the_pipeline():
    network, scene = TwoStripes().eval(), scenes(1)[0]
    [(images, logits)] = record_views(network, scene, AS_IT_IS)
    assert np.array_equal(images[0].permute(1, 2, 0), scene)
    assert torch.equal(logits, network(images))
    resized = SimpleNamespace(
        preprocessor=PreprocessorConfig(resize=ShortSideResize(size=48)),
        inference=InferenceConfig(mode="slide", window=(32, 40), stride=(16, 32), flip=True),
    )
    assert [tuple(images.shape) for images, _ in record_views(network, scene, resized)] == [(1, 3, 32, 40)] * 8


@pytest.mark.parametrize(("format", "extra"), [("onnx", "onnx"), ("openvino", "onnx,openvino")])
def test_a_missing_quantiser_is_named_before_anything_is_computed(format, extra, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for package in ("onnx", "onnxscript", "openvino"):
        monkeypatch.setitem(sys.modules, package, SimpleNamespace())
    with pytest.raises(MissingExtraError, match=rf'pip install "segpipe\[{extra}\]"'):
        export(MODEL, tmp_path / f"street{FORMATS[format].suffix}", format=format, calibration=scenes(1))


def test_a_format_without_int8_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"'torch' has no int8 files"):
        export(MODEL, tmp_path / "street.pt2", format="torch", calibration=scenes(1))


def test_other_images_are_another_kept_file(monkeypatch, tmp_path):
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(export_cache, "load_model", lambda folder: None)
    monkeypatch.setattr(export_cache, "export_network", lambda network, path, *_, **__: path.write_bytes(b"bytes"))
    monkeypatch.setattr(export_cache.Format, "require_packages", lambda format: None)
    folder = open_folder(MODEL)
    calibrations = [None, *(choose_images([scene], folder.configuration) for scene in scenes(2))]
    paths = [keep_export(folder, format="onnx", calibration=calibration) for calibration in calibrations]
    assert len(set(paths)) == 3
    assert ["int8" in path.parent.name for path in paths] == [False, True, True]
    again = choose_images(scenes(1), folder.configuration)
    assert keep_export(folder, format="onnx", calibration=again) == paths[1]


@pytest.mark.peer
def test_all_products_with_weights_but_the_last_one_are_quantised(tmp_path):
    onnx = pytest.importorskip("onnx")
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["images", "weight"], ["map"], "first"),
        make("MatMul", ["map", "map"], ["scores"], "attention"),
        make("MatMul", ["scores", "weight"], ["wide"], "second"),
        make("Conv", ["wide", "weight"], ["mixed"], "depthwise", group=8),
        make("MatMul", ["mixed", "weight"], ["product"], "classifier"),
        make("Shape", ["map"], ["shape"], "sizes"),
        make("Add", ["product", "weight"], ["sum"], "bias"),
        make("Reshape", ["sum", "shape"], ["logits"], "view"),
    ]
    logits = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph(nodes, "graph", [], [logits])
    graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "weight"))
    assert nodes_to_quantize(graph) == ["first", "second"]
    del graph.node[:3]
    with pytest.raises(InputError, match="no product but its classifier"):
        nodes_to_quantize(graph)


def int8_format(name):
    format = FORMATS[name].for_int8()
    for package in format.packages:
        pytest.importorskip(package)
    return format


@pytest.mark.peer
@pytest.mark.parametrize("name", ["onnx", "openvino"])
@pytest.mark.parametrize("pixels", [torch.uint8, torch.float32])
def test_an_int8_file_decides_as_its_network(name, pixels, tmp_path):
    format, network = int8_format(name), TwoStripes().eval()
    path = tmp_path / f"stripes{format.suffix}"
    calibration = choose_images(scenes(5), AS_IT_IS, 3)
    report = export_network(network, path, format, pixels=pixels, calibration=calibration)
    assert (report.agreement.num_pictures, report.agreement.num_others) == (3, 2)
    assert min(report.agreement.share, report.agreement.share_of_others) > 0.97
    assert 1e-5 < report.largest_difference < 0.05  # it is in int8, and not far off
    assert report.sizes == ((64, 96),)
    assert sorted(tmp_path.iterdir()) == sorted(format.files(path))
    session = open_session(path, format=name, dtype="int8")
    exported = ExportedNetwork(session, network, network.config.pixel_mean, pixels=pixels)
    scene = torch.from_numpy(scenes(1)[0]).permute(2, 0, 1)[None]
    with torch.inference_mode():
        assert (exported(scene).argmax(1) == network(scene).argmax(1)).double().mean() > 0.97
    assert exported(random_images(2, 40, 56)).shape == (2, 3, 10, 14)


@pytest.mark.peer
def test_an_int8_file_that_decides_otherwise_is_not_kept(tmp_path):
    network, other = TwoStripes().eval(), TwoStripes().eval()
    other.last.weight.data.neg_()
    wrong = dataclasses.replace(
        int8_format("onnx"), from_onnx=lambda _, path: write_onnx(trace_network(other, torch.uint8), path)
    )
    calibration = choose_images(scenes(1), AS_IT_IS)
    with pytest.raises(NumericalError, match=r"keep their class in int8.* Nothing was kept"):
        export_network(network, tmp_path / "stripes.onnx", wrong, pixels=torch.uint8, calibration=calibration)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.peer
def test_an_image_that_cannot_be_read_is_named_and_nothing_is_left(tmp_path):
    format = int8_format("onnx")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    calibration = choose_images([scenes(1)[0], broken], AS_IT_IS)
    with pytest.raises(ImageDecodeError, match=r"broken\.jpg is not an image"):
        export_network(
            TwoStripes().eval(), tmp_path / "stripes.onnx", format, pixels=torch.uint8, calibration=calibration
        )
    assert list(tmp_path.iterdir()) == [broken]
