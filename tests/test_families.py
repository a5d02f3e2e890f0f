"""One battery for the networks of every family: sizes, gradients, batches, half precision, training, the folder."""

import json

import msgspec
import numpy as np
import pytest
import torch
from training_material import CONFIGURATION, write_pictures

from segpipe import build_trainer, load_dataset, pipeline
from segpipe.checkpoints import load_model
from segpipe.models import (
    BoundaryOutput,
    DeitConfig,
    EncoderConfig,
    HeadConfig,
    MitConfig,
    ResNetConfig,
    SegformerConfig,
    SegmenterConfig,
    SegmenterHeadConfig,
    UneptConfig,
    VitConfig,
    build_model,
)

NAMES = ("left", "right", "top")
MIT = EncoderConfig(dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), heads=(1, 2, 3, 4))
VIT = VitConfig(dim=16, depth=2, heads=2, patch_size=8, image_size=(32, 32))
UNEPT = {"num_classes": 3, "dim": 16, "heads": 4, "points": 2, "hidden": 24, "query_grid": (4, 4)}
FAMILIES = {
    "segformer, MLP head": SegformerConfig(num_classes=3, encoder=MIT, head=HeadConfig(channels=16)),
    "segformer, convolutional head": SegformerConfig(
        num_classes=3, encoder=MIT, head=HeadConfig(type="conv", channels=16), size_multiple=32
    ),
    "segmenter, mask": SegmenterConfig(num_classes=3, encoder=VIT, head=SegmenterHeadConfig(heads=4)),
    "segmenter, linear": SegmenterConfig(num_classes=3, encoder=VIT, head=SegmenterHeadConfig(type="linear")),
    "unept, DeiT": UneptConfig(encoder=DeitConfig(dim=64, depth=3, patch_size=8, image_size=(32, 32)), **UNEPT),
    "unept, ResNet": UneptConfig(encoder=ResNetConfig(depths=(1, 1, 1, 1), channels=8), **UNEPT),
}
NETWORKS = FAMILIES | {"MiT classifier": MitConfig(num_classes=3, encoder=MIT)}
every_family = pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)
every_network = pytest.mark.parametrize("config", NETWORKS.values(), ids=NETWORKS)


def build(config):
    torch.manual_seed(0)
    return build_model(config)


def pictures(*shape):
    return torch.randint(0, 256, (shape[0], 3, *shape[1:]), generator=torch.Generator().manual_seed(1)).float()


def logits_of(output):
    return output.logits if isinstance(output, BoundaryOutput) else output


@every_family
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (40, 64)])
def test_logits_cover_pictures_of_any_size(config, size):
    network = build(config).eval()
    logits = network(pictures(1, *size))
    assert logits.shape[:2] == (1, 3)
    grids = [tuple(-(-side // stride) for side in network.input_size(size)) for stride in (4, 8)]
    assert tuple(logits.shape[2:]) in grids
    assert torch.isfinite(logits).all()


@every_family
def test_gradients_reach_every_parameter(config):
    network = build(config).train()
    output = network(pictures(2, 64, 64))
    sum(part.square().sum() for part in (output if isinstance(output, BoundaryOutput) else [output])).backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@every_family
def test_a_picture_gets_the_same_logits_alone_and_in_a_batch(config):
    network = build(config).eval()
    batch = pictures(3, 40, 48)
    with torch.inference_mode():
        together, alone = network(batch), torch.cat([network(picture[None]) for picture in batch])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@every_network
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_stages_compose_to_forward(config, mode):
    network = getattr(build(config), mode)()
    tensors = (images,) = (pictures(2, 33, 47),)
    torch.manual_seed(0)  # of dropout
    with torch.no_grad():
        for stage in network.stages():
            tensors = stage.run(tensors)
    torch.manual_seed(0)
    with torch.no_grad():
        whole = network(images)
    whole = whole if isinstance(whole, BoundaryOutput) else (whole,)
    assert len(whole) == len(tensors)
    for ours, theirs in zip(tensors, whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@every_network
def test_each_parameter_belongs_to_one_stage(config):
    network = build(config)
    for name, _ in network.named_parameters():
        assert [name.startswith(stage.prefixes) for stage in network.stages()].count(True) == 1, name


@every_family
def test_half_precision_gives_nearly_the_same(config):
    network = build(config).eval()
    with torch.inference_mode():
        plain = network(pictures(1, 64, 64))
        half = build(config).eval().to(torch.bfloat16)(pictures(1, 64, 64)).float()
    assert (half - plain).abs().mean() < 0.05 * plain.abs().max()


@every_family
def test_autocast_around_a_network_that_is_ready_to_run_gives_nearly_the_same(config):
    network = build(config).eval()
    network.apply_folding()
    with torch.inference_mode():
        plain = network(pictures(1, 64, 64))
        with torch.autocast("cpu", torch.bfloat16):
            half = network(pictures(1, 64, 64)).float()
    assert (half - plain).abs().mean() < 0.05 * plain.abs().max()


@every_family
def test_two_steps_of_training_leave_a_folder_that_pipeline_opens(config, tmp_path):
    document = json.loads(CONFIGURATION) | {"model": msgspec.to_builtins(config)}
    document["train"] |= {"max_steps": 2, "checkpoint": {"every": 2, "keep": 1}}
    (tmp_path / "recipe.json").write_text(json.dumps(document))
    train, val = (load_dataset("folder", root, split, names=NAMES) for root, split in data(tmp_path))
    trainer = build_trainer(
        cfg_file=tmp_path / "recipe.json",
        train_dataset=train,
        eval_dataset=val,
        work_dir=tmp_path / "run",
        device="cpu",
    )
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    folder = trainer.train()
    after = load_model(folder).state_dict()
    assert any(not torch.equal(before[name], value) for name, value in after.items())
    segment = pipeline("image-segmentation", folder.path)
    sizes = [(40, 48), (33, 70), (40, 48)]  # of one call
    images = [np.random.default_rng(size[1]).integers(0, 256, (*size, 3)).astype(np.uint8) for size in sizes]
    for image, result in zip(images, segment(images, batch_size=3), strict=True):
        assert result.label_map.shape == image.shape[:2]
        assert np.array_equal(result.label_map, trainer.predict(image))


def data(tmp_path):
    root = write_pictures(tmp_path / "data")
    return [(root, "train"), (root, "val")]
