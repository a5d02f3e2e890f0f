"""Segmenter beside its official outputs, torch's own transformer layers, and its published numbers of parameters."""

from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_checkpoints import apply_tensors
from torch import nn
from torch.nn import functional

from segpipe.checkpoints import detect_dialect, translate
from segpipe.checkpoints.state_dicts import read_tensors
from segpipe.errors import ConfigurationError, InputError
from segpipe.models import SegmenterConfig, SegmenterHeadConfig, VitConfig, build_model

PARITY = Path(__file__).parents[3] / "shared" / "parity"
# The inputs of the parity folders are normalised already.
NORMALISED = {"pixel_mean": (0.0, 0.0, 0.0), "pixel_std": (1.0, 1.0, 1.0)}
LINEAR = SegmenterHeadConfig(type="linear")
FOLDERS = {
    "segmenter-vit-tiny-mask": SegmenterConfig(num_classes=150, **NORMALISED),
    "segmenter-deit-tiny-linear": SegmenterConfig(
        num_classes=19, head=LINEAR, encoder=VitConfig(distilled=True, image_size=(224, 224)), **NORMALISED
    ),
}


def tiny(kind="mask", **encoder):
    torch.manual_seed(0)
    options = {"dim": 16, "depth": 2, "heads": 2, "patch_size": 8, "image_size": (32, 32)} | encoder
    head = SegmenterHeadConfig(type=kind, depth=2, heads=4)
    model = build_model(SegmenterConfig(num_classes=5, head=head, encoder=VitConfig(**options)))
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):  # fresh norms are identities, which would hide a mistake
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    return model.eval()


def relative_error(ours, theirs):
    return float((ours - theirs).abs().max() / theirs.abs().max())


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.shared
@pytest.mark.skipif(not PARITY.is_dir(), reason="the parity folders are not beside this checkout")
@pytest.mark.parametrize("name", FOLDERS)
def test_official_checkpoints_give_their_own_outputs(name):
    tensors = read_tensors(PARITY / name / "checkpoint.pth")
    assert detect_dialect(tensors, origin=name) == "segmenter"
    model = build_model(FOLDERS[name]).eval().double()  # all rounding is then that of the file's float32
    apply_tensors(model, translate(tensors, "segmenter"), origin=name)
    expected = {key: torch.from_numpy(value) for key, value in np.load(PARITY / name / "io.npz").items()}
    with torch.inference_mode():
        logits = model(expected["input"].double())
    assert relative_error(logits, expected["logits"]) < 1e-5
    size = expected["input"].shape[-2:]
    masks = functional.interpolate(logits, size, mode="bilinear", align_corners=False)[..., ::16, ::16]
    assert relative_error(masks, expected["masks_stride16"]) < 1e-5


# Millions of parameters of the official networks, which keep ImageNet's classifiers: 1000 outputs on the class
# token and, in DeiT, on the distillation token.
PUBLISHED = {
    "T/16-Mask": (6.91, SegmenterConfig(num_classes=150)),
    "S/16-Mask": (26.42, SegmenterConfig(variant="small", num_classes=150)),
    "B/16-Mask": (103.27, SegmenterConfig(variant="base", num_classes=150)),
    "B/8-Linear": (
        89.24,
        SegmenterConfig(variant="base", num_classes=150, head=LINEAR, encoder=VitConfig(patch_size=8)),
    ),
    "L/16-Mask-640": (
        334.26,
        SegmenterConfig(variant="large", num_classes=150, encoder=VitConfig(image_size=(640, 640))),
    ),
    "L/16-Mask PASCAL-Context": (
        333.45,
        SegmenterConfig(variant="large", num_classes=60, encoder=VitConfig(image_size=(480, 480))),
    ),
    "L/16-Mask Cityscapes": (
        322.25,
        SegmenterConfig(
            variant="large",
            num_classes=19,
            head=SegmenterHeadConfig(depth=1),
            encoder=VitConfig(image_size=(768, 768)),
        ),
    ),
    "DeiT-B/16-Linear": (
        88.09,
        SegmenterConfig(variant="base", num_classes=150, head=LINEAR, encoder=VitConfig(distilled=True)),
    ),
    "DeiT-B/16-Mask": (104.04, SegmenterConfig(variant="base", num_classes=150, encoder=VitConfig(distilled=True))),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_in_the_published_networks(name):
    millions, config = PUBLISHED[name]
    with torch.device("meta"):
        model = build_model(config)
    classifiers = len(model.encoder.extra_tokens) * (model.encoder.shape.dim + 1) * 1000
    assert round((count(model) + classifiers) / 1e6, 2) == millions


@pytest.mark.parametrize("patch_size", [8, 16, 32])
@pytest.mark.parametrize("variant", ["tiny", "small", "base", "large"])
def test_each_variant_is_there_at_each_patch_size(variant, patch_size):
    config = SegmenterConfig(variant=variant, num_classes=3, encoder=VitConfig(patch_size=patch_size))
    with torch.device("meta"):
        model = build_model(config)
        logits = model(torch.empty(1, 3, 70, 100))
    assert logits.shape == (1, 3, -(-70 // patch_size), -(-100 // patch_size))


def torch_layer(block, heads):
    """torch's own pre-norm transformer layer with a block's weights."""
    dim = block.norm1.weight.shape[0]
    layer = nn.TransformerEncoderLayer(
        dim, heads, 4 * dim, activation="gelu", layer_norm_eps=1e-5, batch_first=True, norm_first=True
    )
    parts = {
        "self_attn.in_proj_": block.attention.qkv,
        "self_attn.out_proj.": block.attention.proj,
        "linear1.": block.mlp.fc1,
        "linear2.": block.mlp.fc2,
        "norm1.": block.norm1,
        "norm2.": block.norm2,
    }
    layer.load_state_dict(
        {f"{name}{kind}": getattr(part, kind) for name, part in parts.items() for kind in ("weight", "bias")}
    )
    return layer.eval()


def test_the_mask_transformer_is_what_the_paper_says():
    """Section 3.2, one picture and one class at a time, with torch's layers."""
    head, features = tiny().head, torch.randn(2, 3, 4, 16)
    nn.init.normal_(head.classifier.tokens)
    with torch.no_grad():
        logits = head(features)
        for picture, ours in zip(features, logits, strict=True):
            tokens = torch.cat([head.embed(picture.reshape(12, 16)), head.classifier.tokens[0]])[None]
            for block in head.blocks:
                tokens = torch_layer(block, heads=4)(tokens)
            tokens = head.norm(tokens)[0]
            patches, classes = tokens[:12] @ head.patch_projection, tokens[12:] @ head.class_projection
            cosines = torch.stack([functional.cosine_similarity(patches, one[None]) for one in classes], dim=1)
            expected = functional.layer_norm(cosines, (5,), head.classifier.norm.weight, head.classifier.norm.bias)
            assert torch.allclose(ours.permute(1, 2, 0).reshape(12, 5), expected, atol=1e-5)


def test_the_linear_decoder_is_one_layer_on_each_patch():
    model = tiny("linear")
    features = torch.randn(1, 2, 3, 16)
    expected = features @ model.head.classifier.weight.T + model.head.classifier.bias
    assert torch.allclose(model.head(features)[0, :, 1, 2], expected[0, 1, 2], atol=1e-6)


@pytest.mark.parametrize("kind", ["mask", "linear"])
@pytest.mark.parametrize("size", [(1, 1), (37, 53), (130, 61), (32, 32)])
def test_any_size_gives_a_logit_for_each_patch_of_the_padded_picture(kind, size):
    model = tiny(kind)
    logits = model(torch.zeros(1, 3, *size, dtype=torch.uint8))
    assert logits.shape == (1, 5, -(-size[0] // 8), -(-size[1] // 8))
    assert model.input_size(size) == (logits.shape[2] * 8, logits.shape[3] * 8)


def test_a_picture_is_padded_with_zeros_after_normalisation():
    model = tiny()
    padded = model.normalise(torch.full((1, 3, 30, 40), 255, dtype=torch.uint8))
    assert padded.shape == (1, 3, 32, 40)
    assert padded[..., :30, :].unique().tolist() == [1.0]
    assert not padded[..., 30:, :].any()


@pytest.mark.parametrize("kind", ["mask", "linear"])
def test_pictures_of_a_batch_do_not_see_one_another(kind):
    model = tiny(kind).double()
    images = torch.randint(0, 256, (3, 3, 40, 48), dtype=torch.uint8)
    with torch.inference_mode():
        alone = torch.cat([model(image[None]) for image in images])
        assert relative_error(model(images), alone) < 1e-12


@pytest.mark.parametrize("kind", ["mask", "linear"])
@pytest.mark.parametrize("distilled", [False, True])
def test_backward_reaches_every_parameter(kind, distilled):
    model = tiny(kind, distilled=distilled, drop_path_rate=0.0).train()
    (model(torch.rand(2, 3, 40, 32) * 255) * torch.randn(1, 5, 1, 1)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


@pytest.mark.usefixtures("one_thread")
def test_the_maps_can_be_computed_again_for_the_backward_pass():
    model = tiny().train()
    for block in (*model.encoder.blocks, *model.head.blocks):
        block.drop_path.rate = 0.5
    images, sums = torch.rand(4, 3, 40, 32) * 255, []
    for is_checkpointed in (False, True):
        model.zero_grad()
        if is_checkpointed:
            model.apply_activation_checkpointing()
        torch.manual_seed(3)
        model(images).square().mean().backward()
        sums.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert torch.equal(*sums)


@pytest.mark.parametrize("kind", ["mask", "linear"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_close(kind, dtype):
    model = tiny(kind)
    images = torch.randint(0, 256, (1, 3, 40, 64), dtype=torch.uint8)
    with torch.inference_mode():
        exact = model(images)
        half = model.to(dtype)(images)
    assert half.dtype == dtype
    assert relative_error(half.float(), exact) < 0.06


def test_attention_maps_of_the_decoder_have_patches_and_classes():
    model = tiny(distilled=True)
    images = torch.randint(0, 256, (2, 3, 32, 40), dtype=torch.uint8)
    with torch.inference_mode():
        encoder, decoder = (model.attention(images, 1, part=part).weights for part in ("encoder", "decoder"))
        head, features = model.head, model.encoder(model.normalise(images))
        tokens = torch_layer(head.blocks[0], 4)(
            torch.cat([head.embed(features.flatten(1, 2)), head.classifier.tokens.expand(2, -1, -1)], 1)
        )
        query, key, _ = head.blocks[1].attention.qkv(head.blocks[1].norm1(tokens)).chunk(3, dim=-1)
        third = torch.softmax(query[..., 8:12] @ key[..., 8:12].transpose(1, 2) / 2, dim=-1)  # 4 channels a head
    assert encoder.shape == (2, 2, 22, 22)
    assert decoder.shape == (2, 4, 25, 25)
    assert torch.allclose(decoder.sum(-1), torch.ones(2, 4, 25))
    assert torch.allclose(decoder[:, 2], third, atol=1e-5)


def test_a_linear_decoder_has_no_attention():
    with pytest.raises(InputError, match="no attention"):
        tiny("linear").attention(torch.zeros(1, 3, 32, 32), 0, part="decoder")


def test_heads_must_divide_the_channels_of_the_decoder():
    with pytest.raises(ConfigurationError, match=r"model\.head"):
        build_model(SegmenterConfig(num_classes=2, head=SegmenterHeadConfig(dim=30, heads=4)))


def test_layer_norm_eps_are_those_of_the_implementation():
    head = SegmenterHeadConfig(norm_eps=1e-7, depth=1)
    model = build_model(SegmenterConfig(num_classes=2, head=head, encoder=VitConfig(norm_eps=1e-6)))
    eps = {name: module.eps for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)}
    assert {value for name, value in eps.items() if name.startswith("encoder.")} == {1e-6}
    assert {value for name, value in eps.items() if name.startswith("head.blocks.")} == {1e-7}
    assert (eps["head.norm"], eps["head.classifier.norm"]) == (1e-5, 1e-5)


def test_what_depends_on_the_classes_is_named_classifier():
    """A trainer starts these afresh for data with other classes."""
    with torch.device("meta"):
        few, many = (build_model(SegmenterConfig(num_classes=count)).state_dict() for count in (3, 4))
    differing = {key for key in few if few[key].shape != many[key].shape}
    assert differing == {key for key in few if key.startswith("head.classifier.")}
