"""Exported files compute what the network does, appear whole or not at all, and are kept until something changes."""

import dataclasses
import sys

import pytest
import torch
from exporter_material import Stripes, random_images, relative, stripes
from test_families import build, every_family

from segpipe import export
from segpipe.checkpoints import open_folder
from segpipe.errors import InputError, MissingExtraError, NumericalError
from segpipe.exporters import FORMATS, export_cache, keep_export
from segpipe.exporters.exporting import export_network
from segpipe.exporters.torch_export import ExportGraph, trace_network
from segpipe.inference import ExportedNetwork, open_session

TORCH = FORMATS["torch"]


@every_family
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (9, 70)])
def test_the_graph_is_the_network(config, size, monkeypatch):
    network = build(config).eval()
    network.apply_folding()
    images = random_images(2, *size)
    with torch.no_grad():
        expected = network(images)
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # the path that exporters trace
        logits = ExportGraph(network)(images)
    assert logits.is_contiguous() or logits.shape[0] == 1
    assert relative(logits.permute(0, 3, 1, 2), expected) < 1e-5


def test_a_file_takes_any_number_of_images_of_any_size(tmp_path):
    network = stripes()
    report = export_network(network, tmp_path / "stripes.pt2", TORCH, pixels=torch.uint8)
    session = open_session(report.path, format="torch")
    for shape in [(1, 64, 64), (3, 70, 131)]:
        logits = session.run(random_images(*shape))[0].permute(0, 3, 1, 2)
        assert relative(logits, network(random_images(*shape)).detach()) < 1e-5
    assert (report.format, report.is_dynamic, report.min_size) == ("torch", True, 64)
    assert report.num_bytes == report.path.stat().st_size
    assert report.largest_difference < 1e-5


def test_a_file_that_computes_something_else_is_not_kept(tmp_path):
    def write_another(_, path):
        TORCH.write(trace_network(Stripes().eval(), torch.uint8), path)

    network = stripes()
    torch.nn.init.ones_(network.conv.weight)
    wrong = dataclasses.replace(TORCH, write=write_another)
    with pytest.raises(NumericalError, match=r"torch file gives logits that differ .* Nothing was kept"):
        export_network(network, tmp_path / "stripes.pt2", wrong, pixels=torch.uint8)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_writer_leaves_an_older_file_as_it_was(tmp_path):
    def write_half(_, path):
        path.write_bytes(b"half")
        raise OSError("the disk is full")

    (tmp_path / "stripes.pt2").write_bytes(b"older")
    with pytest.raises(InputError, match=r"the disk is full. Free some space"):
        export_network(
            stripes(), tmp_path / "stripes.pt2", dataclasses.replace(TORCH, write=write_half), pixels=torch.uint8
        )
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("stripes.pt2", b"older")]


@pytest.mark.parametrize(
    ("path", "format", "message"),
    [
        ("street.onnx", "onxx", "no format 'onxx'. Did you mean 'onnx'"),
        ("street.pb", "onnx", "end in .onnx"),
        ("street.onnx", "openvino", "end in .xml"),
    ],
)
def test_a_wrong_format_or_suffix_is_refused_at_once(path, format, message):
    with pytest.raises(InputError, match=message):
        export("segformer-b0-camvid", path, format=format)


def test_a_missing_package_is_named_before_anything_is_computed(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r'pip install "segpipe\[onnx\]"'):
        export("segformer-b0-camvid", tmp_path / "street.onnx")


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """Folders that were exported; writing is cheap here, since only the keeping is looked at."""
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    exported = []

    def write(network, path, format, *, pixels, calibration):
        exported.append(path)
        for file in format.files(path):
            file.write_bytes(b"bytes")

    monkeypatch.setattr(export_cache, "export_network", write)
    monkeypatch.setattr(export_cache, "load_model", lambda folder: None)
    return exported


def test_a_model_is_exported_once(kept):
    folder = open_folder("segformer-b0-camvid")
    path = keep_export(folder, format="torch")
    assert keep_export(folder, format="torch") == path
    assert path.read_bytes() == b"bytes"
    assert len(kept) == 1


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "unfinished"])
def test_a_damaged_export_is_made_again(kept, damage):
    folder = open_folder("segformer-b0-camvid")
    path = keep_export(folder, format="torch")
    {
        "cut": lambda: path.write_bytes(b"by"),
        "changed": lambda: path.write_bytes(b"BYTES"),
        "gone": path.unlink,
        "unfinished": (path.parent / "manifest.json").unlink,
    }[damage]()
    assert keep_export(folder, format="torch").read_bytes() == b"bytes"
    assert len(kept) == 2


def test_other_weights_of_the_same_size_are_another_export(kept, tmp_path):
    folder = open_folder("segformer-b0-camvid")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"first")
    ours = dataclasses.replace(folder, weights=weights)
    first = keep_export(ours, format="torch")
    weights.write_bytes(b"other")
    assert keep_export(ours, format="torch") != first


def test_a_kept_export_leaves_the_model_folder_alone(kept):
    folder = open_folder("segformer-b0-camvid")
    before = sorted(folder.path.iterdir())
    keep_export(folder, format="torch")
    assert sorted(folder.path.iterdir()) == before


@pytest.mark.slow
@pytest.mark.peer
@every_family
@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_every_family_gives_the_same_logits_and_label_maps(config, format, tmp_path):
    for package in FORMATS[format].packages:
        pytest.importorskip(package)
    network = build(config).eval()
    network.apply_folding()
    path = tmp_path / f"network{FORMATS[format].suffix}"
    export_network(network, path, FORMATS[format], pixels=torch.float32)
    exported = ExportedNetwork(open_session(path, format=format), network, config.pixel_mean)
    for size in [(20, 40), (64, 72)]:
        for _ in range(2):  # the second image of a size may go another way
            with torch.inference_mode():
                logits, expected = exported(random_images(1, *size)), network(random_images(1, *size))
            assert relative(logits, expected) < 1e-4
            assert (logits.argmax(1) == expected.argmax(1)).double().mean() > 0.999
            assert logits.permute(0, 2, 3, 1).is_contiguous()


@pytest.mark.slow
@every_family
def test_every_family_can_be_exported_for_torch(config, tmp_path):
    network = build(config).eval()
    network.apply_folding()
    report = export_network(network, tmp_path / "network.pt2", TORCH, pixels=torch.uint8)
    session = open_session(report.path, format="torch")
    images = random_images(1, report.min_size, report.min_size + 1)
    with torch.inference_mode():
        expected = network(images)
    assert relative(session.run(images)[0].permute(0, 3, 1, 2), expected) < 1e-4
