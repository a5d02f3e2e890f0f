"""The runtimes: what each can do, and that windows, scales and flips work with whatever has a network's interface."""

import sys

import numpy as np
import pytest
import torch

from segpipe.checkpoints import load_model
from segpipe.configuration import InferenceConfig, PreprocessorConfig
from segpipe.errors import InputError, MissingExtraError
from segpipe.inference import (
    RUNTIMES,
    CompiledNetwork,
    ExportedNetwork,
    Runtime,
    check_runtime,
    label_map,
    open_session,
    predict_views,
)

MODEL = "segformer-b0-camvid"
SLIDE = {"mode": "slide", "window": (64, 64), "stride": (40, 48)}


@pytest.fixture(scope="module")
def network():
    return load_model(MODEL)


class Direct:
    """A session that runs the network itself, as an exported file would."""

    def __init__(self, network):
        self.network, self.calls = network, []

    def run(self, images):
        self.calls.append((images.dtype, images.is_contiguous()))
        with torch.inference_mode():
            return (self.network(images).permute(0, 2, 3, 1).contiguous(),)


def picture(size):
    return np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    "inference",
    [
        {},
        {"scales": (0.5, 1.0), "flip": True},
        SLIDE,
        {**SLIDE, "small_picture": "pad"},
        {**SLIDE, "small_picture": "enlarge"},
    ],
)
def test_an_exported_network_is_used_like_the_network(network, inference):
    session = Direct(network)
    exported = ExportedNetwork(session, network, network.config.pixel_mean)
    config, preprocessor = InferenceConfig(**inference), PreprocessorConfig(resize=None)
    for size in [(90, 70), (40, 50)]:
        ours, theirs = (
            label_map(predict_views(each, picture(size), preprocessor, config)).labels for each in (exported, network)
        )
        assert torch.equal(ours, theirs)
    assert set(session.calls) == {(torch.float32, True)}


def test_an_exported_network_gives_logits_that_are_channels_last(network):
    exported = ExportedNetwork(Direct(network), network, network.config.pixel_mean)
    logits = exported(torch.zeros(1, 3, 32, 40, dtype=torch.uint8))
    assert logits.shape == (1, 11, 8, 16)  # 40 columns are padded to 64
    assert logits.permute(0, 2, 3, 1).is_contiguous()


@pytest.mark.parametrize(
    ("name", "device", "dtype", "message"),
    [
        ("openvion", "cpu", "float32", "no runtime 'openvion'. Did you mean 'openvino'"),
        ("onnxruntime", "cpu", "bfloat16", "'onnxruntime' computes in float32 or int8, not in bfloat16.*'openvino'"),
        ("openvino", "cpu", "float16", "computes in float32 or bfloat16 or int8, not in float16.*'eager'"),
        ("eager", "cpu", "int8", "not in int8.*the runtime 'onnxruntime' or 'openvino'"),
        ("openvino", "cuda", "float32", "on the device 'cpu', not on 'cuda'"),
    ],
)
def test_what_a_runtime_cannot_do_is_said_with_what_can(name, device, dtype, message):
    with pytest.raises(InputError, match=message):
        check_runtime(name, device=device, dtype=dtype)


@pytest.mark.parametrize(("module", "format", "extra"), [("onnxruntime", "onnx", "onnx"), ("openvino",) * 3])
def test_a_missing_runtime_says_how_it_is_installed(module, format, extra, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf'pip install "segpipe\[{extra}\]"'):
        open_session(tmp_path / "network", format=format)


def test_compiling_needs_a_compiler(network, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(MissingExtraError, match=r"needs a C\+\+ compiler.*apt-get install -y g\+\+"):
        CompiledNetwork(network)


class Doubling:
    """A third party's session, on whatever device."""

    def __init__(self, path, dtype, device):
        self.arguments = path, dtype, device

    def run(self, images):
        return (2 * images.permute(0, 2, 3, 1),)


def test_a_runtime_of_a_third_party_takes_and_gives_tensors_on_its_device(network, monkeypatch, tmp_path):
    monkeypatch.setattr(RUNTIMES, "_entries", dict(RUNTIMES._entries))
    RUNTIMES.register("mine")(Runtime("mine", "onnx", ("float32",), is_cpu_only=False, opener=f"{__name__}:Doubling"))
    assert check_runtime("mine", device="cuda", dtype="float32").format == "onnx"
    device = torch.device("meta")
    session = open_session(tmp_path, format="onnx", runtime="mine", device=device)
    assert session.arguments == (tmp_path, "float32", device)
    exported = ExportedNetwork(session, network, network.config.pixel_mean, device=device)
    logits = exported(torch.zeros(1, 3, 8, 9, dtype=torch.uint8, device=exported.pixel_mean.device))
    assert (logits.shape, logits.dtype, logits.device) == ((1, 3, 8, 9), torch.float32, device)


@pytest.fixture
def openvino_doubling(tmp_path):
    """A file of OpenVINO's that doubles pictures of any size and puts the channels last."""
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as ops

    images = ops.parameter([-1, 3, -1, -1], np.float32, name="images")
    doubled = ops.transpose(ops.multiply(images, np.float32(2)), np.array([0, 2, 3, 1]))
    openvino.save_model(openvino.Model([doubled], [images]), tmp_path / "doubling.xml", compress_to_fp16=False)
    return tmp_path / "doubling.xml"


@pytest.mark.peer
def test_what_openvino_gave_stays_as_it_was_while_sizes_come_and_go(openvino_doubling):
    session = open_session(openvino_doubling, format="openvino")
    sizes = [(8, 8), (8, 8), (9, 8), (8, 8), *[(8, width) for width in range(10, 20) for _ in range(2)], (8, 8)]
    images = [torch.full((1, 3, *size), float(index)) for index, size in enumerate(sizes)]
    results = [session.run(each) for each in images]
    for each, (result,) in zip(images, results, strict=True):
        assert torch.equal(result, 2 * each.permute(0, 2, 3, 1))


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_logits_at_any_size(network):
    try:
        compiled = CompiledNetwork(network)
    except MissingExtraError as error:
        pytest.skip(str(error))
    for size in [(64, 72), (40, 96)]:
        images = torch.from_numpy(picture(size)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            torch.testing.assert_close(compiled(images), network(images), rtol=1e-4, atol=1e-4)
