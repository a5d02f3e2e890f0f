"""The Vision Transformer beside transformers' ViT and DeiT; positions; files of ImageNet weights."""

import copy

import numpy as np
import pytest
import torch
from foreign_checkpoints import apply_tensors
from torch.nn import functional
from vit_checkpoints import flax_arrays, timm_tensors

from segpipe.checkpoints import detect_dialect, encoder_tensors, translate, write_pickle, write_tensors
from segpipe.checkpoints.state_dicts import read_tensors
from segpipe.errors import ConfigurationError, CorruptWeightsError, InputError, WeightMismatchError, WeightsError
from segpipe.models import (
    DeitConfig,
    EncoderConfig,
    MitConfig,
    SegformerConfig,
    SegmenterConfig,
    SegmenterHeadConfig,
    UneptConfig,
    VitConfig,
    build_model,
)
from segpipe.models.vit.config import vit_shape
from segpipe.models.vit.encoder import PositionTable, VisionTransformer, resize_positions

DIM, HEADS, PATCH = 32, 4, 8
SHAPE = {"dim": DIM, "depth": 3, "heads": HEADS, "patch_size": PATCH}


def their_model(kind="ViT", image_size=32):
    """A small network of transformers, in evaluation mode, all of whose tensors matter."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=DIM,
        num_hidden_layers=3,
        num_attention_heads=HEADS,
        intermediate_size=4 * DIM,
        image_size=image_size,
        patch_size=PATCH,
        layer_norm_eps=1e-5,
        attn_implementation="eager",
    )
    model = getattr(transformers, f"{kind}Model")(config, add_pooling_layer=False).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def our_encoder(theirs, distilled=False, image_size=(32, 32)):
    config = VitConfig(image_size=image_size, distilled=distilled, **SHAPE)
    encoder = VisionTransformer(vit_shape("tiny", config), config).eval()
    tensors = timm_tensors(theirs)
    assert detect_dialect(tensors, origin="memory") == "vit"
    ours = {key.removeprefix("encoder."): tensor for key, tensor in translate(tensors, "vit").items()}
    apply_tensors(encoder, ours, origin="memory")
    return encoder


def small_segmenter(distilled=False, image_size=(32, 32)):
    torch.manual_seed(1)
    return build_model(
        SegmenterConfig(
            num_classes=3,
            head=SegmenterHeadConfig(type="linear"),
            encoder=VitConfig(image_size=image_size, distilled=distilled, **SHAPE),
        )
    ).eval()


@pytest.mark.peer
@pytest.mark.parametrize(("kind", "extra"), [("ViT", 1), ("DeiT", 2)])
def test_patches_are_those_of_transformers(kind, extra):
    theirs = their_model(kind)
    ours, images = our_encoder(theirs, distilled=extra == 2), torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = theirs(images).last_hidden_state[:, extra:].unflatten(1, (4, 4))
        assert functional.mse_loss(ours(images), expected).sqrt() < 1e-5 * expected.std()


@pytest.mark.peer
def test_patches_after_each_block_are_those_of_transformers():
    theirs = their_model()
    images = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        hidden = theirs(images, output_hidden_states=True).hidden_states  # the input of each block, then the output
        maps = our_encoder(theirs).features(images, after=(1, 2))
    for ours, expected in zip(maps, hidden[1:3], strict=True):
        assert torch.allclose(ours.flatten(1, 2), expected[:, 1:], atol=1e-4)


@pytest.mark.peer
@pytest.mark.parametrize("layer", [0, 2])
def test_attention_maps_are_those_of_transformers(layer):
    theirs = their_model("DeiT")
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected = theirs(images, output_attentions=True).attentions[layer]
        ours = our_encoder(theirs, distilled=True).attention(images, layer).weights
    assert ours.shape == (2, HEADS, 18, 18)
    assert torch.allclose(ours, expected, atol=1e-5)


@pytest.mark.peer
@pytest.mark.usefixtures("one_thread")
def test_checkpointed_blocks_give_the_same_gradients_between_the_maps():
    encoder = our_encoder(their_model()).train()
    images, sums = torch.randn(1, 3, 32, 32), []
    for encoder.blocks.is_checkpointed in (False, True):
        encoder.zero_grad()
        sum(part.square().mean() for part in encoder.features(images, after=(1, 3))).backward()
        sums.append(encoder.embed.weight.grad.clone())
    assert torch.equal(*sums)


def test_positions_between_two_patches_are_a_quarter_and_three():
    """Cells of half the size have their centres a quarter of a cell from those of the old ones."""
    table = torch.tensor([9.0, 0.0, 8.0]).view(1, 3, 1)  # one extra token, then a row of two patches
    resized = resize_positions(table, (1, 2), (1, 4), mode="bilinear")
    assert resized.flatten().tolist() == [9.0, 0.0, 2.0, 6.0, 8.0]


def test_positions_of_another_size_are_resized_by_rows_and_columns():
    table = PositionTable((2, 3), 1, 5).eval()
    with torch.no_grad():
        resized = table((4, 7))
    grid = table.weight[:, 1:].detach().view(1, 2, 3, 5).permute(0, 3, 1, 2)
    expected = functional.interpolate(grid, (4, 7), mode="bilinear", align_corners=False)
    assert torch.allclose(resized[:, 1:].view(1, 4, 7, 5), expected.permute(0, 2, 3, 1))
    assert torch.equal(resized[:, :1], table.weight[:, :1])


def test_resized_positions_are_kept_in_evaluation_until_the_weights_change():
    table = PositionTable((2, 2), 1, 4).eval()
    with torch.no_grad():
        first = table((3, 3))
        assert table((3, 3)) is first
        table.weight.mul_(2)
        assert torch.allclose(table((3, 3)), 2 * first)
        table.load_state_dict({"weight": table.weight.detach() * 2}, assign=True)
        assert torch.allclose(table((3, 3)), 4 * first)
        assert table.to(torch.float64)((3, 3)).dtype == torch.float64


def test_few_sizes_of_positions_are_kept():
    table = PositionTable((2, 2), 1, 4).eval()
    with torch.inference_mode():
        for width in range(3, 30):
            table((3, width))
    assert len(table._resized) <= 4
    assert not copy.deepcopy(table)._resized
    assert not table.train()._resized


def test_gradients_flow_to_resized_positions():
    model = small_segmenter().train()
    model(torch.rand(1, 3, 40, 64) * 255).square().mean().backward()
    assert model.encoder.positions.weight.grad.abs().min() > 0


def test_drop_path_grows_linearly_and_dropout_is_where_it_should_be():
    config = VitConfig(drop_path_rate=0.3, dropout=0.25, dim=DIM, depth=4, heads=HEADS)
    encoder = VisionTransformer(vit_shape("tiny", config), config)
    assert [block.drop_path.rate for block in encoder.blocks] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    rates = {name: module.p for name, module in encoder.named_modules() if name.endswith("dropout")}
    assert set(rates.values()) == {0.25}
    assert {"dropout", "blocks.0.attention.dropout", "blocks.0.mlp.dropout"} <= set(rates)


@pytest.mark.parametrize("layer", [-1, 3])
def test_a_layer_that_does_not_exist_is_refused(layer):
    with pytest.raises(InputError, match="numbered from 0 to 2"):
        small_segmenter().encoder.attention(torch.zeros(1, 3, 32, 32), layer)


@pytest.mark.parametrize("options", [{"dim": 30, "heads": 4}, {"image_size": (512, 4)}])
def test_a_configuration_that_cannot_be_is_refused(options):
    with pytest.raises(ConfigurationError, match=r"model\.encoder"):
        build_model(SegmenterConfig(num_classes=2, encoder=VitConfig(**options)))


@pytest.mark.peer
@pytest.mark.parametrize("prefix", ["", "params/", "opt/target/"])
def test_an_augreg_file_is_the_network_that_it_was(tmp_path, prefix):
    theirs = their_model()
    np.savez(tmp_path / "Ti_16.npz", **flax_arrays(timm_tensors(theirs), HEADS, prefix=prefix))
    tensors = encoder_tensors(tmp_path / "Ti_16.npz", small_segmenter())
    expected = {f"encoder.{key}": tensor for key, tensor in our_encoder(theirs).state_dict().items()}
    assert set(tensors) == set(expected)
    assert all(torch.equal(tensors[key], expected[key]) for key in expected)


@pytest.mark.peer
@pytest.mark.parametrize(("name", "mode"), [("vit.npz", "bicubic"), ("vit.pth", "bilinear")])
def test_positions_of_a_file_come_to_the_grid_as_its_library_does_it(tmp_path, name, mode):
    timm = timm_tensors(their_model())
    if name == "vit.npz":
        np.savez(tmp_path / name, **flax_arrays(timm, HEADS))
    else:
        torch.save({"model": {**timm, "head.weight": torch.zeros(1000, DIM)}}, tmp_path / name)
    network = small_segmenter(image_size=(48, 40))
    positions = encoder_tensors(tmp_path / name, network)["encoder.positions.weight"]
    grid = timm["pos_embed"][:, 1:].view(1, 4, 4, DIM).permute(0, 3, 1, 2)
    expected = functional.interpolate(grid, (6, 5), mode=mode, align_corners=False).flatten(2).transpose(1, 2)
    assert torch.allclose(positions[:, 1:], expected, atol=1e-6)
    assert torch.equal(positions[:, :1], timm["pos_embed"][:, :1])


@pytest.mark.peer
def test_distilled_weights_begin_a_distilled_network_alone(tmp_path):
    timm = timm_tensors(their_model("DeiT"))
    heads = {f"{name}.{kind}": torch.zeros(1000) for name in ("head", "head_dist") for kind in ("weight", "bias")}
    torch.save({"model": {**timm, **heads}}, tmp_path / "deit.pth")
    network = small_segmenter(distilled=True)
    network.load_state_dict({**network.state_dict(), **encoder_tensors(tmp_path / "deit.pth", network)})
    assert torch.equal(network.encoder.distillation_token, timm["dist_token"])
    with pytest.raises(WeightMismatchError, match="distillation_token"):
        encoder_tensors(tmp_path / "deit.pth", small_segmenter())


@pytest.mark.peer
def test_a_trunk_without_a_last_norm_leaves_that_of_the_file_out(tmp_path):
    torch.save({"model": timm_tensors(their_model("DeiT"))}, tmp_path / "deit.pth")
    network = build_model(UneptConfig(num_classes=2, encoder=DeitConfig(image_size=(32, 32), **SHAPE)))
    tensors = encoder_tensors(tmp_path / "deit.pth", network)
    assert set(tensors) == {key for key in network.state_dict() if key.startswith("encoder.")}


def test_a_segformer_begins_with_the_encoder_of_a_classifier(tmp_path):
    tiny = EncoderConfig(dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), heads=(1, 2, 3, 4))
    classifier = build_model(MitConfig(encoder=tiny))
    torch.save(classifier.state_dict(), tmp_path / "mit.pth")
    network = build_model(SegformerConfig(num_classes=2, encoder=tiny))
    network.load_state_dict({**network.state_dict(), **encoder_tensors(tmp_path / "mit.pth", network)})
    assert torch.equal(network.encoder.stages[3].norm.weight, classifier.encoder.stages[3].norm.weight)
    assert torch.equal(network.encoder.stages[0].embed.proj.weight, classifier.encoder.stages[0].embed.proj.weight)


@pytest.mark.peer
def test_a_tensor_that_is_missing_or_too_much_is_named(tmp_path):
    arrays = flax_arrays(timm_tensors(their_model()), HEADS)
    arrays["surprise"] = arrays.pop("Transformer/encoder_norm/bias")
    np.savez(tmp_path / "Ti_16.npz", **arrays)
    with pytest.raises(WeightMismatchError, match=r"norm\.bias"):
        encoder_tensors(tmp_path / "Ti_16.npz", small_segmenter())


@pytest.mark.peer
@pytest.mark.parametrize("write", [write_tensors, write_pickle])
def test_what_was_read_of_an_augreg_file_is_read_again_in_our_names(tmp_path, write):
    np.savez(tmp_path / "Ti_16.npz", **flax_arrays(timm_tensors(their_model()), HEADS))
    network = small_segmenter(image_size=(48, 48))
    direct = encoder_tensors(tmp_path / "Ti_16.npz", network)
    target = tmp_path / ("encoder.pth" if write is write_pickle else "encoder.safetensors")
    write(direct, target)
    again = encoder_tensors(target, network)
    assert set(again) == set(direct)
    assert all(torch.equal(direct[key], again[key]) for key in direct)


def test_arrays_of_python_objects_are_never_opened(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.array([{"code": print}], dtype=object))
    with pytest.raises(WeightsError, match=r"w\.npz"):
        read_tensors(tmp_path / "w.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no archive at all"])
def test_a_broken_npz_is_named(tmp_path, content):
    (tmp_path / "w.npz").write_bytes(content)
    with pytest.raises(CorruptWeightsError, match=r"w\.npz"):
        read_tensors(tmp_path / "w.npz")
