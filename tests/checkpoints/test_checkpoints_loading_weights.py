"""Reading weights: every tensor accounted for, nothing executed, broken files named."""

import json
import os
import pickle
import struct

import pytest
import torch
from foreign_checkpoints import apply_tensors

from segpipe.checkpoints import detect_dialect, translate
from segpipe.checkpoints.state_dicts import read_tensors
from segpipe.checkpoints.weight_files import write_tensors
from segpipe.errors import CorruptWeightsError, UnknownDialectError, WeightMismatchError, WeightsError
from segpipe.models import (
    EncoderConfig,
    HeadConfig,
    MitConfig,
    SegformerConfig,
    build_model,
)

TINY = EncoderConfig(dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), heads=(1, 2, 3, 4))


def tiny(head="mlp", num_classes=5):
    torch.manual_seed(0)
    return build_model(SegformerConfig(num_classes=num_classes, head=HeadConfig(type=head, channels=16), encoder=TINY))


def libai_names(tensors):
    """Ours → LiBai's, written from its key table, independently of the renamings under test."""
    pairs = [
        ("attention.reduction.proj.", "attn.sr."),
        ("attention.reduction.norm.", "attn.norm."),
        ("attention.", "attn."),
        ("mlp.fc1.", "mlp.dense_h_to_4h."),
        ("mlp.fc2.", "mlp.dense_4h_to_h."),
        ("mlp.depthwise.", "mlp.dwconv.dwconv."),
        ("head.fuse.", "head.linear_fuse."),
        ("head.norm.", "head.batch_norm."),
        ("head.classifier.", "head.linear_pred."),
    ]
    renamed = {}
    for key, tensor in tensors.items():
        parts = key.split(".")
        if parts[0] == "encoder":
            stage, place, rest = parts[2], parts[3], ".".join(parts[4:])
            name = {"embed": "patch_embeds", "blocks": "blocks", "norm": "layer_norms"}[place]
            key = f"segformer.{name}.{stage}.{rest}"
        if parts[:2] == ["head", "levels"]:
            key = f"head.linear_c.{parts[2]}.proj.{parts[3]}"
        for ours, theirs in pairs:
            key = key.replace(ours, theirs)
        renamed[key] = tensor
    return renamed


def test_libai_names_load_without_a_difference():
    model = tiny()
    foreign = {key: value for key, value in libai_names(model.state_dict()).items() if "num_batches" not in key}
    assert detect_dialect(foreign, origin="test") == "libai"
    ours = translate(foreign, "libai")
    assert set(ours) == {key for key in model.state_dict() if "num_batches" not in key}
    assert all(torch.equal(ours[key], model.state_dict()[key]) for key in ours)


def test_norm2_of_each_block_is_its_own():
    """LiBai's ImageNet loader writes norm2 onto norm1; ours must not."""
    source = {f"block1.0.norm{n}.weight": torch.full((8,), float(n)) for n in (1, 2)}
    ours = translate(source, "nvlabs")
    assert ours["encoder.stages.0.blocks.0.norm1.weight"].tolist() == [1.0] * 8
    assert ours["encoder.stages.0.blocks.0.norm2.weight"].tolist() == [2.0] * 8


def test_packed_attention_is_split_into_query_and_key_value():
    packed = torch.arange(24.0).view(12, 2)
    ours = translate({"backbone.layers.0.1.0.attn.attn.in_proj_weight": packed}, "mmseg")
    prefix = "encoder.stages.0.blocks.0.attention"
    assert torch.equal(ours[f"{prefix}.q.weight"], packed[:4])
    assert torch.equal(ours[f"{prefix}.kv.weight"], packed[4:])


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrapped_and_prefixed_checkpoints_are_opened(tmp_path, wrapper, prefix):
    model = tiny()
    state = {prefix + key: tensor for key, tensor in model.state_dict().items()}
    torch.save({wrapper: state, "meta": {"epoch": 3}} if wrapper else state, tmp_path / "weights.pth")
    other = build_model(model.config)
    apply_tensors(other, read_tensors(tmp_path / "weights.pth"), origin="weights.pth")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_imagenet_weights_load_into_the_classifier_with_and_without_a_prefix():
    model = build_model(MitConfig(num_classes=10, encoder=TINY))
    for prefix in ("", "backbone."):
        flat = {f"{prefix}patch_embed1.proj.weight": torch.zeros(8, 3, 7, 7), "head.weight": torch.ones(10, 32)}
        ours = translate(flat, detect_dialect(flat, origin="test"))
        assert set(ours) == {"encoder.stages.0.embed.proj.weight", "classifier.weight"}
        assert set(ours) <= set(model.state_dict())


def test_safetensors_round_trip(tmp_path):
    model = tiny("conv")
    write_tensors(model.state_dict(), tmp_path / "model.safetensors")
    loaded = read_tensors(tmp_path / "model.safetensors")
    assert set(loaded) == set(model.state_dict())
    assert all(torch.equal(loaded[key], value) for key, value in model.state_dict().items())


def test_missing_unexpected_and_misshapen_tensors_are_listed_by_name():
    model = tiny()
    tensors = dict(model.state_dict())
    del tensors["head.fuse.weight"]
    tensors["head.surprise"] = torch.zeros(1)
    tensors["encoder.stages.0.norm.bias"] = torch.zeros(9)
    with pytest.raises(WeightMismatchError) as caught:
        apply_tensors(model, tensors, origin="file.pth")
    for text in (
        "file.pth",
        "Missing (1): head.fuse.weight",
        "Unexpected (1): head.surprise",
        "norm.bias (9,) for (8,)",
    ):
        assert text in str(caught.value)


def test_another_number_of_classes_says_what_to_set():
    with pytest.raises(WeightMismatchError, match=r"for 7 classes, the model has 5: give"):
        apply_tensors(tiny(), tiny(num_classes=7).state_dict(), origin="file.pth")


def test_a_mismatch_changes_nothing():
    model = tiny()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(WeightMismatchError):
        apply_tensors(model, {"encoder.stages.0.norm.bias": torch.ones(8)}, origin="part")
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_unknown_names_say_which_dialects_are_known():
    with pytest.raises(UnknownDialectError, match=r"layer1\.0\.conv1\.weight.*huggingface"):
        detect_dialect(["layer1.0.conv1.weight"], origin="resnet.pth")


def header(length, text=b""):
    return struct.pack("<Q", length) + text


BROKEN_SAFETENSORS = {
    "empty": b"",
    "truncated": None,
    "huge header": header(2**40),
    "no json": header(4, b"abcd"),
    "unknown type": header(
        62, json.dumps({"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}).encode().ljust(62)
    ),
    "trailing bytes": None,
}


@pytest.mark.parametrize("case", BROKEN_SAFETENSORS)
def test_broken_safetensors_files_are_named(tmp_path, case):
    path = tmp_path / "model.safetensors"
    write_tensors({"a": torch.zeros(100)}, path)
    whole = path.read_bytes()
    broken = {"truncated": whole[:-10], "trailing bytes": whole + b"more"}.get(case, BROKEN_SAFETENSORS[case])
    path.write_bytes(broken)
    with pytest.raises(CorruptWeightsError, match=r"model\.safetensors"):
        read_tensors(path)


class Payload:
    def __reduce__(self):
        return os.system, ("echo executed > executed.txt",)


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors", "pytorch_model.bin"])
def test_a_pickle_with_code_is_never_executed(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Payload()}, tmp_path / name)
    with pytest.raises(WeightsError):
        read_tensors(tmp_path / name)
    assert not (tmp_path / "executed.txt").exists()


def test_a_bare_pickle_with_code_is_never_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pt").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(WeightsError):
        read_tensors(tmp_path / "model.pt")
    assert not (tmp_path / "executed.txt").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"<html>login</html>"])
def test_files_that_are_no_checkpoints_are_named(tmp_path, content):
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"model\.pt"):
        read_tensors(tmp_path / "model.pt")
