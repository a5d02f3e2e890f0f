"""`convert` of Segmenter's checkpoints: with the `variant.yml` of their training, and without."""

from pathlib import Path

import numpy as np
import pytest
import torch

from segpipe import convert, load_model
from segpipe.checkpoints import ARCHITECTURES
from segpipe.errors import ConfigurationError, InputError, UnknownNameError, WeightMismatchError
from segpipe.models import SegmenterConfig, SegmenterHeadConfig, VitConfig, build_model

PARITY = Path(__file__).parents[3] / "shared" / "parity"
VARIANT = """world_batch_size: 8
dataset_kwargs:
  crop_size: 96
  dataset: cityscapes
  image_size: 128
  normalization: vit
inference_kwargs:
  im_size: 128
  window_size: 96
  window_stride: 64
net_kwargs:
  backbone: vit_tiny_patch16_384
  d_model: 32
  decoder:
    drop_path_rate: 0.0
    dropout: 0.1
    n_layers: 1
    name: mask_transformer
  distilled: false
  drop_path_rate: 0.2
  dropout: 0.0
  image_size: !!python/tuple
  - 96
  - 64
  n_cls: 19
  n_heads: 2
  n_layers: 2
  normalization: vit
  patch_size: 16
"""
SMALL = SegmenterConfig(
    num_classes=19,
    head=SegmenterHeadConfig(depth=1, heads=1),
    encoder=VitConfig(image_size=(96, 64), dim=32, depth=2, heads=2),
)


def official_tensors(model):
    """The official names, written from the table of its checkpoints, with the classifiers that its encoder keeps."""
    table = {
        "encoder.class_token": "encoder.cls_token",
        "encoder.distillation_token": "encoder.dist_token",
        "encoder.positions.weight": "encoder.pos_embed",
        "encoder.embed.": "encoder.patch_embed.proj.",
        "head.classifier.tokens": "decoder.cls_emb",
        "head.classifier.norm.": "decoder.mask_norm.",
        "head.classifier.": "decoder.head.",
        "head.embed.": "decoder.proj_dec.",
        "head.patch_projection": "decoder.proj_patch",
        "head.class_projection": "decoder.proj_classes",
        "head.norm.": "decoder.decoder_norm.",
        "head.blocks.": "decoder.blocks.",
        ".attention.": ".attn.",
    }
    tensors = {}
    for key, tensor in model.state_dict().items():
        for ours, theirs in table.items():
            key = key.replace(ours, theirs, 1)
        tensors[key] = tensor
    heads = ("head", "head_dist") if "encoder.dist_token" in tensors else ("head",)
    return tensors | {f"encoder.{head}.{kind}": torch.zeros(1000, 2) for head in heads for kind in ("weight", "bias")}


def write_checkpoint(path, config):
    torch.manual_seed(0)
    model = build_model(config).eval()
    path.parent.mkdir(exist_ok=True)
    content = {"model": official_tensors(model), "optimizer": {"state": {}}, "n_cls": 19, "epoch": 3}
    torch.save(content, path)
    return model


def assert_same(first, second):
    images = torch.randint(0, 256, (1, 3, 70, 90), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(first(images), second(images))


@pytest.fixture
def training(tmp_path):
    """A folder as the official training leaves it, and the network."""
    model = write_checkpoint(tmp_path / "seg" / "checkpoint.pth", SMALL)
    (tmp_path / "seg" / "variant.yml").write_text(VARIANT)
    return tmp_path / "seg", model


@pytest.mark.parametrize("source", ["seg", "seg/checkpoint.pth"])
def test_a_variant_file_says_what_the_network_is(training, tmp_path, source):
    folder = convert(tmp_path / source, tmp_path / "mine")
    assert folder.verify() == ()
    model = folder.configuration.model
    assert (model.encoder.image_size, model.encoder.dim, model.encoder.heads) == ((96, 64), 32, 2)
    assert (model.encoder.drop_path_rate, model.head.depth, model.pixel_mean) == (0.2, 1, (127.5,) * 3)
    assert folder.configuration.labels.names[0] == "road"
    assert_same(training[1], load_model(folder))


def test_a_variant_file_says_how_pictures_are_seen(training, tmp_path):
    configuration = convert(training[0], tmp_path / "mine").configuration
    inference, resize = configuration.inference, configuration.preprocessor.resize
    assert (inference.mode, inference.window, inference.stride) == ("slide", (96, 96), (64, 64))
    assert (inference.small_picture, inference.combine) == ("enlarge", "probabilities")
    assert (resize.size, resize.max_long_side, resize.library) == (128, 256, "opencv")


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        ("segmenter-tiny-mask", SegmenterConfig(num_classes=6, encoder=VitConfig(image_size=(64, 64)))),
        (
            "segmenter-deit-tiny-linear",
            SegmenterConfig(
                num_classes=4,
                head=SegmenterHeadConfig(type="linear"),
                encoder=VitConfig(distilled=True, patch_size=32, image_size=(96, 96)),
                pixel_mean=(123.675, 116.28, 103.53),
                pixel_std=(58.395, 57.12, 57.375),
            ),
        ),
    ],
)
def test_without_a_variant_file_the_shapes_say_it(tmp_path, architecture, config):
    model = write_checkpoint(tmp_path / "seg" / "checkpoint.pth", config)
    folder = convert(tmp_path / "seg" / "checkpoint.pth", tmp_path / "mine", architecture=architecture)
    assert folder.configuration.model == config
    assert folder.configuration.inference.window == config.encoder.image_size
    assert_same(model, load_model(folder))


def test_an_own_file_without_its_folder_is_recognised(training, tmp_path):
    config = SegmenterConfig(num_classes=3, encoder=VitConfig(image_size=(64, 64)))
    model = build_model(config).eval()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    assert_same(model, load_model(convert(tmp_path / "weights.pth", tmp_path / "mine")))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"architecture": "segmenter-tiny-linear"}, InputError, "holds weights of segmenter-tiny-mask"),
        ({"architecture": "segformer-b0"}, InputError, "another network than segformer-b0"),
        ({"architecture": "segmenter-tiny-msk"}, UnknownNameError, "Did you mean 'segmenter-tiny-mask'"),
        ({"num_classes": 150}, InputError, "for 19 classes, not for 150"),
    ],
)
def test_what_does_not_fit_is_said(training, tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        convert(training[0], tmp_path / "mine", **arguments)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ("n_layers: 1", "n_layers: 2", WeightMismatchError, r"head\.blocks\.1"),
        ("n_cls: 19", "n_cls: 20", WeightMismatchError, r"for 19 classes, the model has 20"),
        ("name: mask_transformer", "name: deeplab_dec", ConfigurationError, "deeplab_dec.*transformer' or 'linear"),
        ("d_model: 32", "d_model: wide", ConfigurationError, r"net_kwargs\.d_model.*positive integer"),
        ("  - 96\n  - 64", "  - 96", ConfigurationError, "neither a number of pixels nor a height and a width"),
        ("normalization: vit\n  patch", "normalization: vat\n  patch", ConfigurationError, "vat.*vit.*deit"),
        ("window_stride: 64", "window_stride: 99", ConfigurationError, "exceeds `window`"),
        ("!!python/tuple", "!!python/object:os.system", ConfigurationError, "line 22: the tag .*os.system"),
        ("d_model: 32", "d_model: 99999999", ConfigurationError, r"model\.encoder\.dim"),
    ],
)
def test_a_variant_file_that_is_wrong_is_named(training, tmp_path, old, new, error, message):
    assert old in VARIANT
    (training[0] / "variant.yml").write_text(VARIANT.replace(old, new))
    with pytest.raises(error, match=message):
        convert(training[0], tmp_path / "mine")


def test_a_folder_with_several_checkpoints_needs_a_name(training, tmp_path):
    (training[0] / "checkpoint.pth").rename(training[0] / "a.pth")
    (training[0] / "b.pth").write_bytes(b"")
    with pytest.raises(InputError, match="2 checkpoints"):
        convert(training[0], tmp_path / "mine")


@pytest.mark.parametrize("grid", [(96, 64), None])
def test_what_shapes_cannot_say_is_asked_for(tmp_path, grid):
    encoder = VitConfig(image_size=(96, 64)) if grid else VitConfig(dim=32, image_size=(64, 64))
    write_checkpoint(tmp_path / "seg" / "checkpoint.pth", SegmenterConfig(num_classes=3, encoder=encoder))
    with pytest.raises(InputError, match=r"variant\.yml"):
        convert(tmp_path / "seg" / "checkpoint.pth", tmp_path / "mine")


def test_an_encoder_alone_is_no_model(training, tmp_path):
    encoder = {key: value for key, value in official_tensors(training[1]).items() if key.startswith("encoder")}
    torch.save(encoder, tmp_path / "vit.pth")
    with pytest.raises(InputError, match="without the decoder of Segmenter"):
        convert(tmp_path / "vit.pth", tmp_path / "mine")


def test_a_checkpoint_that_lacks_its_positions_is_named(tmp_path):
    tensors = official_tensors(build_model(SegmenterConfig(num_classes=3, encoder=VitConfig(image_size=(64, 64)))))
    del tensors["encoder.pos_embed"]
    torch.save(tensors, tmp_path / "cut.pth")
    with pytest.raises(InputError, match=r"cut\.pth has no tensor for encoder\.positions"):
        convert(tmp_path / "cut.pth", tmp_path / "mine")


def test_every_architecture_has_its_name():
    assert {"segmenter-tiny-mask", "segmenter-deit-tiny-linear", "segmenter-large-mask"} <= set(ARCHITECTURES)
    assert "segmenter-deit-large-mask" not in ARCHITECTURES


@pytest.mark.shared
@pytest.mark.skipif(not PARITY.is_dir(), reason="the parity folders are not beside this checkout")
@pytest.mark.parametrize("name", ["segmenter-vit-tiny-mask", "segmenter-deit-tiny-linear"])
def test_official_folders_convert_to_networks_with_the_official_outputs(tmp_path, name):
    model = load_model(convert(PARITY / name, tmp_path / "mine", architecture=name.replace("vit-", "")))
    arrays = np.load(PARITY / name / "io.npz")
    pixels = torch.from_numpy(arrays["input"])  # normalised; the network takes what is not
    images = pixels * model.pixel_std.view(3, 1, 1) + model.pixel_mean.view(3, 1, 1)
    with torch.inference_mode():
        logits = model(images)
    expected = torch.from_numpy(arrays["logits"])
    assert float((logits - expected).abs().max() / expected.abs().max()) < 1e-5
