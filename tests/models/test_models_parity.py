"""Networks against other implementations: their checkpoints and outputs, and Hugging Face's classes at run time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_checkpoints import apply_tensors

from segpipe.checkpoints import detect_dialect, translate
from segpipe.checkpoints.state_dicts import read_tensors
from segpipe.models import (
    EncoderConfig,
    HeadConfig,
    MitConfig,
    NormEps,
    SegformerConfig,
    build_model,
)

PARITY = Path(__file__).parents[3] / "shared" / "parity"
ALL_1E5 = NormEps(patch=1e-5, reduction=1e-5, block=1e-5, stage=1e-5)
ALL_1E6 = NormEps(patch=1e-6, reduction=1e-6, block=1e-6, stage=1e-6)
# The inputs of the parity folders are normalised already.
NORMALISED = {"pixel_mean": (0.0, 0.0, 0.0), "pixel_std": (1.0, 1.0, 1.0)}
# A logit is a sum over 256 channels of sums over 256, by weights that were folded by sums over 256. All over a map such
# roundings of half an eps come to five deviations: 5 · √768 · 6e-8. Where the cells lie is the same to the bit.
FOLDED = 1e-5
CONV = {"head": HeadConfig(type="conv"), "encoder": EncoderConfig(norm_eps=ALL_1E6)}
FOLDERS = {
    "nvlabs-mit-b0": MitConfig(**NORMALISED),
    "nvlabs-segformer-b0": SegformerConfig(num_classes=19, **NORMALISED),
    "mmseg-segformer-b0": SegformerConfig(num_classes=150, **CONV, **NORMALISED),
    "easycv-segformer-b0": SegformerConfig(num_classes=172, **CONV, **NORMALISED),
}


def relative_error(ours, theirs):
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.shared
@pytest.mark.skipif(not PARITY.is_dir(), reason="the parity folders are not beside this checkout")
@pytest.mark.parametrize("name", FOLDERS)
def test_published_layouts_give_their_own_outputs(name):
    path = next(file for file in (PARITY / name).iterdir() if file.suffix == ".pth")
    tensors = read_tensors(path)
    model = build_model(FOLDERS[name]).eval().double()  # all rounding is then that of the file's float32
    apply_tensors(model, translate(tensors, detect_dialect(tensors, origin=path.name)), origin=path.name)
    expected = {key: torch.from_numpy(value) for key, value in np.load(PARITY / name / "io.npz").items()}
    with torch.inference_mode():
        maps = model.encoder(expected["input"].double())
        output = model(expected["input"].double())
    for index in range(4):
        if f"stage{index}" in expected:
            assert relative_error(maps[index].permute(0, 3, 1, 2), expected[f"stage{index}"]) < 1e-5
    assert relative_error(output, expected.get("logits", expected.get("class_logits"))) < 1e-5


@pytest.mark.parametrize("variant", ["b0", pytest.param("b2", marks=pytest.mark.slow)])
def test_folded_heads_give_the_same_logits(variant):
    for head in ("mlp", "conv"):
        model = randomised(SegformerConfig(variant=variant, num_classes=7, head=HeadConfig(type=head)))
        images = torch.randint(0, 256, (2, 3, 61, 83), dtype=torch.uint8)
        with torch.inference_mode():
            plain = model(images)
            model.apply_folding()
            assert relative_error(model(images), plain) < FOLDED


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("head", ["mlp", "conv"])
def test_folded_heads_agree_over_several_strips_and_tiles(monkeypatch, head, dtype):
    monkeypatch.setattr("segpipe.models.fast.head_strips.MOST_ROWS", 3)
    model = randomised(SegformerConfig(num_classes=5, head=HeadConfig(type=head)))
    images = torch.randint(0, 256, (2, 3, 78, 1203), dtype=torch.uint8)  # grids of 20 × 301: tiles of 61, strips of 3
    with torch.inference_mode():
        exact = model.double()(images)
        plain = model.to(dtype)(images)
        model.apply_folding()
        folded = model(images)
    # Where the cells lie the strips know in float32, as torch does with float32 maps.
    assert relative_error(folded, exact) < max(2e-5, 1.5 * relative_error(plain, exact))
    assert dtype != torch.float32 or relative_error(folded, plain) < FOLDED


@pytest.mark.parametrize("size", [(32, 203), (203, 32)])
def test_folded_heads_agree_on_coarse_maps_of_one_row_or_column(size):
    model = randomised(SegformerConfig(num_classes=5))
    images = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    with torch.inference_mode():
        plain = model(images)
        model.apply_folding()
        assert relative_error(model(images), plain) < FOLDED


HF_VARIANTS = {
    "b0": ([32, 64, 160, 256], [2, 2, 2, 2], 256),
    "b1": ([64, 128, 320, 512], [2, 2, 2, 2], 256),
    "b2": ([64, 128, 320, 512], [3, 4, 6, 3], 768),
    "b3": ([64, 128, 320, 512], [3, 4, 18, 3], 768),
    "b4": ([64, 128, 320, 512], [3, 8, 27, 3], 768),
    "b5": ([64, 128, 320, 512], [3, 6, 40, 3], 768),
}


@pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=[] if name == "b0" else pytest.mark.slow) for name in HF_VARIANTS]
)
@pytest.mark.peer
def test_hugging_face_weights_give_hugging_face_logits(variant):
    theirs = hugging_face_model(variant).double()  # nothing then differs by rounding
    ours = build_model(
        SegformerConfig(variant=variant, num_classes=11, encoder=EncoderConfig(norm_eps=ALL_1E5), **NORMALISED)
    )
    ours = ours.eval().double()
    tensors = theirs.state_dict()
    apply_tensors(ours, translate(tensors, detect_dialect(tensors, origin="memory")), origin="memory")
    for size in ((97, 131), (64, 64), (33, 160)):
        images = torch.randn(1, 3, *size, dtype=torch.float64)
        with torch.inference_mode():
            assert relative_error(ours(images), theirs(images).logits) < 1e-10


def hugging_face_model(variant):
    transformers = pytest.importorskip("transformers")
    dims, depths, width = HF_VARIANTS[variant]
    torch.manual_seed(0)
    config = transformers.SegformerConfig(hidden_sizes=dims, depths=depths, decoder_hidden_size=width, num_labels=11)
    model = transformers.SegformerForSemanticSegmentation(config).eval()
    apply_random_norms(model)
    return model


def randomised(config):
    torch.manual_seed(0)
    model = build_model(config).eval()
    apply_random_norms(model)
    return model


def apply_random_norms(model):
    """Fresh norms are identities, which would hide a wrong map."""
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm | torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2.0)
