"""Weights that are not plain floating numbers, or not what their file says: refused by name, within memory."""

import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch

from segpipe.checkpoints import convert, encoder_tensors, load_model
from segpipe.checkpoints.state_dicts import read_tensors
from segpipe.checkpoints.weight_files import write_tensors
from segpipe.configuration import Configuration, write_configuration
from segpipe.errors import ConfigurationError, CorruptWeightsError, SegpipeError, WeightMismatchError, WeightsError
from segpipe.models import EncoderConfig, HeadConfig, SegformerConfig, build_model, build_outline
from segpipe.models.weights import fit_tensors

TINY = EncoderConfig(dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), heads=(1, 2, 3, 4))
CONFIG = SegformerConfig(num_classes=3, head=HeadConfig(channels=16), encoder=TINY)
BIAS = "head.classifier.bias"


def saved(tmp_path, content, name="model.pth"):
    torch.save(content, tmp_path / name)
    return tmp_path / name


STRANGE = {
    "sparse_coo": lambda: torch.eye(3).to_sparse(),
    "sparse_csr": lambda: torch.eye(3).to_sparse_csr(),
    "quantized": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "on the device meta": lambda: torch.empty(3, device="meta"),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "a view of 4 bytes": lambda: torch.ones(1).expand(10**9, 10**6),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", STRANGE)
def test_a_tensor_that_is_not_a_plain_array_is_refused_by_name(tmp_path, kind):
    path = saved(tmp_path, {"state_dict": {"first": torch.ones(2), "odd.bias": STRANGE[kind]()}})
    with pytest.raises(WeightsError, match=rf"model\.pth.*(odd\.bias is {kind}|not a complete)"):
        read_tensors(path)


def test_slices_and_shared_weights_are_ordinary(tmp_path):
    table = torch.randn(6, 4)
    path = saved(tmp_path, {"a": table[2:4].t(), "b": table, "c": table})
    read = read_tensors(path)
    assert torch.equal(read["a"], table[2:4].t())
    assert torch.equal(read["c"], table)


TYPES = [torch.bool, torch.complex64, torch.int8, torch.int64, torch.float8_e4m3fn]


@pytest.mark.parametrize("dtype", TYPES)
def test_a_parameter_takes_floating_numbers_alone(tmp_path, dtype):
    tensors = build_model(CONFIG).state_dict()
    write_tensors({**tensors, BIAS: torch.ones(3).to(dtype)}, tmp_path / "model.safetensors")
    write_configuration(Configuration(model=CONFIG), tmp_path / "configuration.json")
    name = str(dtype).removeprefix("torch.")
    for load in (load_model, lambda source: convert(source, tmp_path / "converted")):
        with pytest.raises(WeightMismatchError, match=rf"Not of floating type \(1\): {BIAS} \({name}\)"):
            load(tmp_path)


def test_a_running_mean_takes_floating_numbers_alone_and_a_counter_is_passed_over():
    network = build_model(CONFIG)
    tensors = network.state_dict()
    with pytest.raises(WeightMismatchError, match="running_mean"):
        fit_tensors(network, {**tensors, "head.norm.running_mean": torch.zeros(16, dtype=torch.bool)}, origin="f")
    counter = "head.norm.num_batches_tracked"
    for odd in (torch.tensor(1.0), torch.tensor(1j), torch.tensor(True)):
        assert counter not in fit_tensors(network, {**tensors, counter: odd}, origin="f")
    assert counter in fit_tensors(network, {**tensors, counter: torch.tensor(7)}, origin="f")


def test_half_and_double_weights_load():
    network = build_model(CONFIG)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        tensors = {key: tensor.to(dtype) for key, tensor in network.state_dict().items()}
        assert len(fit_tensors(network, tensors, origin="f")) >= len(tensors) - 1


def test_an_encoder_takes_floating_numbers_alone(tmp_path):
    network = build_model(CONFIG)
    encoder = {key: value.to(torch.complex64) for key, value in network.state_dict().items()}
    write_tensors(encoder, tmp_path / "encoder.safetensors")
    with pytest.raises(WeightMismatchError, match=r"complex64"):
        encoder_tensors(tmp_path / "encoder.safetensors", network)


def rezipped(path, compression=zipfile.ZIP_DEFLATED):
    content = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(content, "w", compression) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    path.write_bytes(content.getvalue())
    return path


def test_compressed_members_are_refused_before_they_are_unpacked(tmp_path):
    with pytest.raises(CorruptWeightsError, match="compressed members"):
        read_tensors(rezipped(saved(tmp_path, {"a": torch.zeros(10**6)})))


def test_an_npz_that_unpacks_to_far_more_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(10**7, np.float32))
    with pytest.raises(CorruptWeightsError, match="would unpack to 40,000"):
        read_tensors(tmp_path / "bomb.npz")
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    np.savez_compressed(tmp_path / "good.npz", a=values)
    np.testing.assert_array_equal(read_tensors(tmp_path / "good.npz")["a"].numpy(), values)


def npy(header):
    text = (header + " " * (117 - len(header)) + "\n").encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000,)}"),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}") + pickle.dumps(os.system),
        npy("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}") + bytes(4),
        npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}") + bytes(4),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"),
        b"not an array",
    ],
)
def test_arrays_that_are_not_numbers_are_refused(tmp_path, content):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(WeightsError, match=r"x\.npz"):
        read_tensors(tmp_path / "x.npz")


def test_a_lone_array_named_npz_is_refused(tmp_path):
    with open(tmp_path / "x.npz", "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(WeightsError, match=r"x\.npz"):
        read_tensors(tmp_path / "x.npz")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "content",
    [b"\x80\x02", b"\x80\x05", b"PK", b"PK\x03\x04", b"\x80\x02.", b"\x80\x02]q\x00.", b"\x80\x02K\x01.", b""],
)
def test_pickles_of_a_few_bytes_are_refused(tmp_path, content):
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"model\.pth"):
        read_tensors(tmp_path / "model.pth")


def test_an_older_file_that_asks_for_much_memory_is_refused(tmp_path):
    whole = io.BytesIO()
    torch.save({"a": torch.ones(77)}, whole, _use_new_zipfile_serialization=False)
    (tmp_path / "model.pth").write_bytes(whole.getvalue())
    assert read_tensors(tmp_path / "model.pth")["a"].shape == (77,)
    forged = whole.getvalue().replace(b"K\x4d", b"J\xff\xff\xff\x7f")
    assert forged != whole.getvalue()
    (tmp_path / "model.pth").write_bytes(forged)
    with pytest.raises(WeightsError, match=r"model\.pth"):
        read_tensors(tmp_path / "model.pth")


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_named(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "model.pt"))
    with pytest.raises(WeightsError, match="TorchScript"):
        read_tensors(tmp_path / "model.pt")


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "model.safetensors"
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    with pytest.raises(WeightsError, match="a regular file is needed"):
        read_tensors(path)


def safetensors(document, data=b""):
    header = json.dumps(document).encode()
    return struct.pack("<Q", len(header)) + header + data


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "content",
    [
        safetensors({"a": entry([2**40], 0, 2**42)}, bytes(8)),
        safetensors({"a": entry([2**40, 2**40], 0, 8)}, bytes(8)),
        safetensors({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12)),
        safetensors({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, bytes(12)),
        safetensors({"a": entry([1], 4, 0)}, bytes(4)),
        safetensors({"a": entry([-1], 0, 4)}, bytes(4)),
        safetensors({"a": entry([1], 0, 4, "F99")}, bytes(4)),
        safetensors([1, 2]),
        struct.pack("<Q", 2**24 + 1),
        struct.pack("<Q", 2**63),
        b"\x08",
    ],
)
def test_damaged_headers_are_refused(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CorruptWeightsError, match=r"model\.safetensors"):
        read_tensors(tmp_path / "model.safetensors")


def test_damaged_checkpoints_raise_our_errors_and_nothing_else(tmp_path):
    rng = np.random.default_rng(0)
    whole = saved(tmp_path, {"state_dict": build_model(CONFIG).state_dict(), "meta": {"CLASSES": ("a", "b", "c")}})
    content, refused = whole.read_bytes(), 0
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, 4000, 3):
            damaged[place] = rng.integers(256)
        whole.write_bytes(damaged[: rng.integers(len(damaged))] if rng.random() < 0.3 else damaged)
        try:
            read_tensors(whole)
        except SegpipeError:
            refused += 1
    assert 20 < refused < 60


def test_shapes_that_a_dialect_cannot_cut_are_refused(tmp_path):
    keys = (
        "segformer.encoder.block.0.0.attention.self.key.weight",
        "segformer.encoder.block.0.0.attention.self.value.weight",
    )
    path = saved(
        tmp_path,
        {
            "segformer.encoder.patch_embeddings.0.proj.weight": torch.zeros(8, 3, 7, 7),
            keys[0]: torch.zeros(8, 8),
            keys[1]: torch.zeros(8, 9),
        },
    )
    with pytest.raises(CorruptWeightsError, match="names of huggingface and shapes"):
        convert(path, tmp_path / "out")


def test_a_network_of_too_many_numbers_is_refused_before_memory_is_taken():
    with pytest.raises(ConfigurationError, match=r"would have [\d,]+ numbers; at most 1,000,000,000"):
        build_model(SegformerConfig(num_classes=3, encoder=EncoderConfig(dims=(16384,) * 4, heads=(1, 2, 4, 8))))


def test_a_configuration_of_another_network_is_compared_before_memory_is_taken(tmp_path, monkeypatch):
    write_tensors(build_model(CONFIG).state_dict(), tmp_path / "model.safetensors")
    large = SegformerConfig(num_classes=3, encoder=EncoderConfig(dims=(1024,) * 4, heads=(1, 2, 4, 8)))
    write_configuration(Configuration(model=large), tmp_path / "configuration.json")
    monkeypatch.setattr("segpipe.models.segformer.network.Segformer", only_on_meta())
    with pytest.raises(WeightMismatchError, match="does not fit the model"):
        load_model(tmp_path)


def only_on_meta():
    from segpipe.models.segformer.network import Segformer

    def checked(config):
        assert torch.empty(0).device.type == "meta"
        return Segformer(config)

    return checked


def test_an_outline_has_the_shapes_of_the_network():
    outline, network = build_outline(CONFIG), build_model(CONFIG)
    assert {key: value.shape for key, value in outline.state_dict().items()} == {
        key: value.shape for key, value in network.state_dict().items()
    }
    assert {value.device.type for value in outline.state_dict().values()} == {"meta"}
