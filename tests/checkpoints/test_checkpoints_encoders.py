"""An encoder's weights from every dialect into SegFormer: each tensor equals its source, norm2 too."""

import re

import pytest
import torch

from segpipe.checkpoints import encoder_tensors
from segpipe.errors import InputError, WeightMismatchError, WeightsError
from segpipe.models import EncoderConfig, MitConfig, SegformerConfig, build_model

ENCODER = EncoderConfig(dims=(8, 16, 24, 32), depths=(2, 1, 1, 1), heads=(1, 2, 3, 4))
BLOCK = {
    "nvlabs": (
        ("attention.reduction.proj", "attn.sr"), ("attention.reduction.norm", "attn.norm"), ("attention.", "attn."),
        ("mlp.depthwise", "mlp.dwconv.dwconv"),
    ),
    "libai": (
        ("attention.reduction.proj", "attn.sr"), ("attention.reduction.norm", "attn.norm"), ("attention.", "attn."),
        ("mlp.depthwise", "mlp.dwconv.dwconv"), ("mlp.fc1", "mlp.dense_h_to_4h"), ("mlp.fc2", "mlp.dense_4h_to_h"),
    ),
}  # fmt: skip


def numbered(shapes):
    """Tensors of these shapes, no two of which are equal."""
    return {key: torch.full(shape, 1.0 + index) for index, (key, shape) in enumerate(shapes.items())}


def foreign(key, dialect):
    """Our name of a tensor in NVlabs' or LiBai's words, by the tables of their state dicts."""
    for ours, theirs in BLOCK[dialect]:
        key = key.replace(ours, theirs)
    if key.startswith("classifier."):
        return key.replace("classifier.", "head.")
    stage, rest = re.fullmatch(r"encoder\.stages\.(\d)\.(.*)", key).groups()
    if dialect == "nvlabs":
        stage = str(int(stage) + 1)
    name = {
        "nvlabs": ("patch_embed{}", "block{}", "norm{}"),
        "libai": ("patch_embeds.{}", "blocks.{}", "layer_norms.{}"),
    }
    embed, block, norm = (part.format(stage) for part in name[dialect])
    rest = re.sub(r"^embed\.", f"{embed}.", rest)
    rest = re.sub(r"^norm\.", f"{norm}.", rest)
    return re.sub(r"^blocks\.", f"{block}.", rest)


def shapes_of(config):
    return {key: tensor.shape for key, tensor in build_model(config).state_dict().items()}


@pytest.mark.parametrize("dialect", ["nvlabs", "libai"])
def test_every_loaded_tensor_equals_its_source(tmp_path, dialect):
    """LiBai's own loader writes norm2 onto norm1 and leaves norm2 as it was."""
    ours = numbered(shapes_of(MitConfig(num_classes=10, encoder=ENCODER)))
    torch.save({foreign(key, dialect): tensor for key, tensor in ours.items()}, tmp_path / "mit.pth")
    network = build_model(SegformerConfig(num_classes=3, encoder=ENCODER))
    network.load_state_dict(encoder_tensors(tmp_path / "mit.pth", network), strict=False)
    loaded = {key: tensor for key, tensor in network.state_dict().items() if key.startswith("encoder.")}
    assert set(loaded) == {key for key in ours if key.startswith("encoder.")}
    assert all(torch.equal(tensor, ours[key]) for key, tensor in loaded.items())
    assert sum("norm2" in key for key in loaded) == 10


@pytest.mark.peer
def test_every_tensor_of_hugging_faces_classifier_equals_its_source(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.SegformerConfig(
        hidden_sizes=[8, 16, 24, 32], depths=[2, 1, 1, 1], num_attention_heads=[1, 2, 3, 4], num_labels=4
    )
    theirs = transformers.SegformerForImageClassification(config)
    for index, parameter in enumerate(theirs.parameters()):
        torch.nn.init.constant_(parameter, 1.0 + index)
    theirs.save_pretrained(tmp_path / "hf")
    network = build_model(SegformerConfig(num_classes=3, encoder=ENCODER))
    found = encoder_tensors(tmp_path / "hf", network)
    assert set(found) == {key for key in network.state_dict() if key.startswith("encoder.")}
    of = {re.sub(r"^segformer\.", "", key): float(tensor.flatten()[0]) for key, tensor in theirs.state_dict().items()}
    values = sorted(set(map(float, torch.cat([tensor.flatten() for tensor in found.values()]).tolist())))
    assert values == sorted(value for key, value in of.items() if not key.startswith("classifier"))
    norm2 = next(value for key, value in of.items() if re.search(r"(layer_norm_2|layernorm_after)\.weight$", key))
    assert float(found["encoder.stages.0.blocks.0.norm2.weight"][0]) == norm2


def test_weights_of_another_size_are_refused_by_name(tmp_path):
    torch.save(numbered(shapes_of(MitConfig(encoder=ENCODER))), tmp_path / "mit.pth")
    with pytest.raises(WeightMismatchError, match=r"encoder|embed"):
        encoder_tensors(tmp_path / "mit.pth", build_model(SegformerConfig(variant="b0", num_classes=3)))


def test_files_and_models_that_are_not_there_are_explained(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    network = build_model(SegformerConfig(num_classes=3, encoder=ENCODER))
    with pytest.raises(WeightsError, match=r"There is no file .*mit_b0\.pth"):
        encoder_tensors(tmp_path / "mit_b0.pth", network)
    with pytest.raises(InputError, match="has no encoder"):
        encoder_tensors(tmp_path / "mit_b0.pth", torch.nn.Linear(1, 1))
