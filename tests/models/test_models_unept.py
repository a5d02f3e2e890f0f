"""UN-EPT: parity with the released implementation, counts, attention, sizes, conversion, encoders from ImageNet."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_checkpoints import apply_tensors
from torch import nn
from torch.nn import functional

from segpipe import convert, load_model
from segpipe.checkpoints import detect_dialect, encoder_tensors, translate
from segpipe.checkpoints.state_dicts import read_tensors
from segpipe.configuration import decode_configuration
from segpipe.errors import ConfigurationError, InputError
from segpipe.models import BoundaryOutput, DeitConfig, ResNetConfig, UneptConfig, build_model
from segpipe.models.unept.context import BatchAttention, QueryAttention, sine_positions

PARITY = Path(__file__).parents[3] / "shared" / "parity"
needs_parity = pytest.mark.skipif(not PARITY.is_dir(), reason="the parity folders are not beside this checkout")
# The inputs of the parity folders are normalised already; attention has dropout, if any, in training alone.
AS_TESTED = {"pixel_mean": (0.0, 0.0, 0.0), "pixel_std": (1.0, 1.0, 1.0), "dropout": 0.0}
ENCODERS = {
    "deit": DeitConfig(dim=128, depth=3, image_size=(32, 32)),
    "resnet": ResNetConfig(depths=(1, 1, 1, 1), channels=8),
}


def tiny(encoder="deit", **options):
    torch.manual_seed(0)
    sizes = {"dim": 16, "heads": 8, "points": 2, "hidden": 24, "query_grid": (4, 4), "dropout": 0.0, **options}
    model = build_model(UneptConfig(num_classes=5, encoder=ENCODERS[encoder], **sizes))
    for key, parameter in model.named_parameters():
        if key.endswith(("offsets.weight", "attention.weights.weight")):  # zeros at first
            nn.init.normal_(parameter, std=0.3)
    return model


def pictures(*shape):
    return torch.randint(0, 256, (*shape[:1], 3, *shape[1:]), generator=torch.Generator().manual_seed(1)).float()


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def relative_error(ours, theirs):
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.shared
@needs_parity
@pytest.mark.parametrize(("name", "architecture"), [("unept-deit-small", "unept-deit"), ("unept-res50", "unept-res50")])
def test_released_layouts_give_their_own_outputs(name, architecture, tmp_path):
    folder = convert(PARITY / name / "iter_160000.pth", tmp_path / name, architecture=architecture)
    tensors = read_tensors(folder.weights)
    fields = {**{key: getattr(folder.configuration.model, key) for key in UneptConfig.__struct_fields__}, **AS_TESTED}
    model = build_model(UneptConfig(**fields)).eval().double()  # all rounding is then that of the file's float32
    apply_tensors(model, tensors, origin=name)
    for layer in model.context.query_layers:
        layer.self_attention.is_joint_in_evaluation = True
    expected = {key: torch.from_numpy(value) for key, value in np.load(PARITY / name / "io.npz").items()}
    with torch.inference_mode():
        output = model.forward_boundaries(expected["input"].double())
    assert relative_error(output.logits, expected["logits"]) < 1e-5
    assert relative_error(output.mask, expected["boundary_mask"]) < 1e-5
    assert relative_error(output.direction, expected["boundary_direction"]) < 1e-5


@pytest.mark.shared
@needs_parity
@pytest.mark.parametrize("name", ["unept-deit-small", "unept-res50"])
def test_a_released_checkpoint_describes_itself(name, tmp_path):
    configuration = convert(PARITY / name / "iter_160000.pth", tmp_path / name).configuration
    model, inference = configuration.model, configuration.inference
    expected = {"unept-deit-small": (60, "deit-tiny"), "unept-res50": (150, "res50")}[name]
    assert (model.num_classes, model.variant) == expected
    assert (model.dim, model.heads, model.points, model.levels, model.depth, model.hidden) == (256, 8, 16, 3, 2, 512)
    assert model.query_grid == (16, 16)
    assert (inference.mode, inference.window, inference.small_picture) == ("slide", (128, 128), "pad")
    assert configuration.labels.names[:2] == ("class_0", "class_1")
    assert load_model(tmp_path / name)(pictures(1, 50, 70)).shape[:2] == (1, model.num_classes)


@pytest.mark.parametrize(
    ("encoder", "num_classes", "millions"),
    [(DeitConfig(), 150, 94.84), (DeitConfig(), 60, 94.82), (ResNetConfig(), 150, 32.36)],
)
def test_parameter_counts_are_those_of_the_released_networks(encoder, num_classes, millions):
    with torch.device("meta"):
        model = build_model(UneptConfig(num_classes=num_classes, encoder=encoder))
    assert count(model) / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("size", [(1, 1), (32, 32), (33, 57), (70, 16)])
def test_any_size_gives_logits_at_an_eighth_of_the_padded_picture(encoder, size):
    model = tiny(encoder).eval()
    height, width = model.input_size(size)
    logits = model(pictures(2, *size))
    assert logits.shape == (2, 5, height // 8, width // 8)
    assert (height % 8, width % 8) == (0, 0)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("attention", ["batch", "query"])
def test_in_training_boundaries_come_with_the_logits_and_every_parameter_learns(encoder, attention):
    model = tiny(encoder, query_attention=attention).train()
    output = model(pictures(2, 32, 40))
    assert isinstance(output, BoundaryOutput)
    assert [part.shape for part in output] == [(2, 5, *output.logits.shape[2:]), *boundary_shapes(output)]
    sum(part.square().mean() for part in output).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def boundary_shapes(output):
    grid = output.logits.shape[2:]
    return [(2, 2, *grid), (2, 8, *grid)]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("encoder", ENCODERS)
def test_activation_checkpointing_leaves_gradients_as_they_are(encoder):
    plain, frugal = tiny(encoder).train(), tiny(encoder).train()
    frugal.apply_activation_checkpointing()
    for model in (plain, frugal):
        model(pictures(2, 32, 32)).logits.square().mean().backward()
    pairs = zip(plain.parameters(), frugal.parameters(), strict=True)
    assert all(torch.equal(first.grad, second.grad) for first, second in pairs if first.grad is not None)


@pytest.mark.parametrize("attention", ["batch", "query"])
def test_in_evaluation_a_picture_gets_the_same_whatever_else_is_in_the_batch(attention):
    model = tiny(query_attention=attention).eval().double()
    images = pictures(3, 32, 48)
    with torch.inference_mode():
        together, alone = model(images), torch.cat([model(image[None]) for image in images])
    assert relative_error(together, alone) < 1e-12


def test_both_forwards_give_the_same_logits_in_evaluation():
    model = tiny().eval()
    images = pictures(1, 40, 40)
    assert torch.equal(model(images), model.forward_boundaries(images).logits)


def test_folding_gives_the_same_logits_until_training_or_loading_undoes_it():
    model, other = tiny("resnet").train(), tiny("resnet").eval()
    model(pictures(2, 64, 64))  # moves the running statistics
    images = pictures(1, 40, 48)
    with torch.inference_mode():
        plain = model.eval()(images)
        model.apply_folding()
        keys, folded = set(model.state_dict()), model(images)
        assert relative_error(folded, plain) < 1e-5
        assert not torch.equal(folded, plain)
        assert keys == set(other.state_dict())
        model.load_state_dict(other.state_dict())
        assert torch.equal(model(images), other(images))
        model.apply_folding()
        assert model.train().spatial.layers[0].folded_weight is None


@pytest.mark.parametrize(("ours", "is_batch_first"), [(QueryAttention, True), (BatchAttention, False)])
def test_self_attention_is_torchs_with_the_axes_in_that_order(ours, is_batch_first):
    torch.manual_seed(0)
    attention = ours(16, heads=4, dropout=0.0).train()
    nn.init.normal_(attention.qkv.bias)
    theirs = nn.MultiheadAttention(16, 4, batch_first=is_batch_first)
    names = {"in_proj_weight": "qkv.weight", "in_proj_bias": "qkv.bias"}
    own = attention.state_dict()
    theirs.load_state_dict({key: own[names.get(key, key.replace("out_", ""))] for key in theirs.state_dict()})
    tokens = torch.randn(3, 7, 16)
    assert torch.allclose(attention(tokens), theirs(tokens, tokens, tokens)[0], atol=1e-5)
    if ours is BatchAttention:
        alone = torch.cat([theirs(token, token, token)[0] for token in tokens.split(1)])
        assert torch.allclose(attention.eval()(tokens), alone, atol=1e-5)


def test_sine_positions_are_those_of_the_formula():
    positions = sine_positions((2, 3), 12, torch.device("cpu"))
    for row in range(2):
        for column in range(3):
            expected = []
            for index, length in ((row, 2), (column, 3)):
                angle = (index + 1) / (length + 1e-6) * 2 * math.pi
                for pair in range(3):
                    scaled = angle / 10000 ** (2 * pair / 6)
                    expected += [math.sin(scaled), math.cos(scaled)]
            assert positions[row * 3 + column].tolist() == pytest.approx(expected, abs=1e-5)


def test_the_table_of_queries_is_resized_bilinearly_to_other_grids():
    model = tiny()
    ramp = torch.arange(4.0)
    with torch.no_grad():
        model.queries.copy_((10 * ramp[:, None] + ramp).view(16, 1).expand(16, 16))
    resized = model._resized_queries((8, 4)).view(8, 4, 16)
    rows = torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])  # between cell centres; the border repeats
    assert torch.allclose(resized, (10 * rows[:, None] + ramp)[:, :, None].expand(8, 4, 16), atol=1e-5)
    assert model._resized_queries((4, 4)) is model.queries


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_and_half_precision_stay_close(encoder, dtype):
    model = tiny(encoder).eval()
    images = pictures(1, 40, 48)
    with torch.inference_mode():
        exact = model(images)
        with torch.autocast("cpu", dtype=dtype):
            assert relative_error(model(images).float(), exact) < 0.06
        assert relative_error(model.to(dtype)(images).float(), exact) < 0.12


@pytest.mark.parametrize(("encoder", "architecture"), [("deit", "unept-deit"), ("resnet", "unept-res50")])
def test_a_checkpoint_of_ours_is_recognised_and_converted(encoder, architecture, tmp_path):
    model = tiny(encoder).eval()
    torch.save(model.state_dict(), tmp_path / "unept.pth")
    folder = convert(tmp_path / "unept.pth", tmp_path / "folder", labels=list("abcde"))
    loaded = load_model(folder)
    images = pictures(2, 33, 47)
    model.apply_folding()
    assert folder.configuration.model.query_grid == (4, 4)
    assert loaded.config.points == 2
    assert torch.equal(loaded(images), model(images))
    other = {"unept-deit": "unept-res50", "unept-res50": "unept-deit"}[architecture]
    with pytest.raises(InputError, match=f"holds weights of {architecture}, not of {other}"):
        convert(tmp_path / "unept.pth", tmp_path / "wrong", architecture=other)


def test_released_names_become_ours():
    theirs = {
        "context_branch.level_embed": "context.level_embeddings",
        "context_branch.encoder.layers.1.self_attn.output_proj.bias": "context.pyramid_layers.1.attention.proj.bias",
        "context_branch.encoder.layers.0.linear2.weight": "context.pyramid_layers.0.mlp.fc2.weight",
        "context_branch.decoder.layers.0.norm2.bias": "context.query_layers.0.norm1.bias",
        "context_branch.decoder.layers.0.norm1.bias": "context.query_layers.0.norm2.bias",
        "context_branch.decoder.layers.1.norm3.bias": "context.query_layers.1.norm3.bias",
        "context_branch.decoder.layers.0.self_attn.in_proj_weight": "context.query_layers.0.self_attention.qkv.weight",
        "context_branch.decoder.layers.0.cross_attn.sampling_offsets.bias": (
            "context.query_layers.0.cross_attention.offsets.bias"
        ),
        "query_embed.weight": "queries",
        "cls.bias": "classifier.bias",
        "layers.2.weight": "pyramid.2.weight",
        "spatial_branch.convblock3.bn.running_var": "spatial.layers.2.norm.running_var",
        "dir_head.3.weight": "direction_head.2.weight",
        "mask_head.1.bias": "mask_head.0.norm.bias",
        "backbone.stem.7.bias": "encoder.stem.4.norm.bias",
        "backbone.layer2.0.downsample.1.weight": "encoder.stages.1.0.shortcut.norm.weight",
        "backbone.layer4.2.conv3.weight": "encoder.stages.3.2.conv3.conv.weight",
        "backbone.blocks.11.attn.qkv.weight": "encoder.blocks.11.attention.qkv.weight",
        "backbone.dist_token": "encoder.distillation_token",
    }
    assert detect_dialect(theirs, origin="memory") == "unept"
    assert list(translate(dict.fromkeys(theirs, torch.zeros(1)), "unept")) == list(theirs.values())


def test_deits_weights_fit_the_encoder_with_positions_resized_bicubically(tmp_path):
    source, model = tiny(), tiny()
    tensors = {deit_name(key): tensor for key, tensor in source.encoder.state_dict().items()}
    tensors["pos_embed"] = torch.randn(1, 2 + 9, 128)
    tensors |= {"norm.weight": torch.ones(128), "norm.bias": torch.ones(128), "head.weight": torch.ones(3, 128)}
    torch.save({"model": tensors}, tmp_path / "deit.pth")
    found = encoder_tensors(tmp_path / "deit.pth", model)
    patches = tensors["pos_embed"][:, 2:].reshape(1, 3, 3, 128).permute(0, 3, 1, 2)
    resized = functional.interpolate(patches, (2, 2), mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
    positions = found["encoder.positions.weight"]
    assert torch.equal(positions[:, :2], tensors["pos_embed"][:, :2])
    assert torch.allclose(positions[:, 2:], resized, atol=1e-6)
    assert set(found) == {f"encoder.{key}" for key in model.encoder.state_dict()}


def deit_name(key):
    names = {"class_token": "cls_token", "distillation_token": "dist_token", "positions.weight": "pos_embed"}
    return names.get(key, key.replace("embed.", "patch_embed.proj.").replace(".attention.", ".attn."))


def test_open_mmlabs_resnet_fits_the_encoder(tmp_path):
    source, model = tiny("resnet"), tiny("resnet")
    nn.init.normal_(source.encoder.stem[4].norm.bias)
    tensors = {mmcv_name(key): tensor for key, tensor in source.encoder.state_dict().items()}
    torch.save({"state_dict": {**tensors, "fc.weight": torch.ones(3, 256)}, "meta": {}}, tmp_path / "resnet50_v1c.pth")
    found = encoder_tensors(tmp_path / "resnet50_v1c.pth", model)
    own = source.encoder.state_dict()
    assert set(found) == {f"encoder.{key}" for key in own}
    assert all(torch.equal(found[f"encoder.{key}"], tensor) for key, tensor in own.items())


def mmcv_name(key):
    """stem.0 1, 3 4, 6 7 are convolutions and norms; layer1.0.conv1, bn1, …, downsample.0 1."""
    parts = key.split(".")
    if parts[0] == "stem":
        return f"stem.{int(parts[1]) // 2 * 3 + (parts[2] == 'norm')}.{parts[3]}"
    prefix = f"layer{int(parts[1]) + 1}.{parts[2]}"
    if parts[3] == "shortcut":
        return f"{prefix}.downsample.{int(parts[4] == 'norm')}.{parts[5]}"
    return f"{prefix}.{parts[3] if parts[4] == 'conv' else re.sub('conv', 'bn', parts[3])}.{parts[5]}"


def document(**model):
    text = json.dumps({"model": {"type": "unept", "num_classes": 150, **model}})
    return decode_configuration(text, origin="memory")


def test_channels_must_be_divisible():
    with pytest.raises(ConfigurationError, match="not a multiple of 4 and of the 8"):
        document(dim=20)
    with pytest.raises(ConfigurationError, match="`channels` 7 is odd"):
        document(encoder={"type": "resnet", "channels": 7})


def test_a_document_without_more_is_the_published_network():
    model = document().model
    assert (model.variant, model.size_multiple, model.encoder.image_size) == ("deit-base", 16, (480, 480))
    resnet = document(encoder={"type": "resnet"}).model
    assert (resnet.variant, resnet.size_multiple) == ("res50", 8)
