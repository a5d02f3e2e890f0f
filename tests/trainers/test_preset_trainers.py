"""Every preset's recipe as a trainer: its network on no device at all, and a few of them in steps that count."""

import logging

import msgspec
import pytest
import torch
from runs import build

from segpipe import build_trainer, load_dataset
from segpipe.configuration import CrossEntropyLoss, load_preset, preset_names
from segpipe.errors import ConfigurationError
from segpipe.models import SegmenterHeadConfig, VitConfig
from segpipe.trainers.optimizers import summarize_groups
from segpipe.trainers.schedules import learning_rate

SEGMENTATION = [name for name in preset_names() if load_preset(name).task == "image-segmentation"]
NAMES = ("left", "right", "top")


def build_on_no_device(name, data_root, tmp_path, **options):
    """A preset's trainer whose tensors have shapes but no memory."""
    train, val = (load_dataset("folder", data_root, split, names=NAMES) for split in ("train", "val"))
    arguments = {"train_dataset": train, "eval_dataset": val, "device": "meta", "pretrained": False}
    with torch.device("meta"):
        return build_trainer(model=name, work_dir=tmp_path / "run", cfg_options=options, **arguments)


@pytest.mark.parametrize("name", SEGMENTATION)
def test_every_preset_becomes_a_trainer(name, data_root, tmp_path):
    trainer = build_on_no_device(name, data_root, tmp_path, **{"train.workers": 0})
    engine, recipe = trainer.parts.engine, load_preset(name).train
    grouped = [id(parameter) for group in engine.optimizer.param_groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in trainer.model.parameters())
    steps = trainer.parts.max_steps
    rates = [learning_rate(recipe.schedule, recipe.optimizer.lr, step, steps) for step in (0, steps // 2, steps)]
    assert all(0 <= rate <= recipe.optimizer.lr for rate in rates)
    with trainer.parts.batches(0) as batches:
        images = next(iter(batches)).images
    crop = recipe.transforms[-1].size if hasattr(recipe.transforms[-1], "size") else images.shape[-2:]
    assert images.shape == (recipe.batch_size, 3, *crop)


@pytest.mark.parametrize("name", SEGMENTATION)
def test_no_group_of_a_recipe_is_left_empty(name, data_root, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="segpipe"):
        build_on_no_device(name, data_root, tmp_path)
    assert "No parameter falls into" not in caplog.text


def test_segmenter_decays_matrices_alone(data_root, tmp_path):
    options = {"train.optimizer.weight_decay": 0.05}
    trainer = build_on_no_device("segmenter-large-cityscapes-mindspore", data_root, tmp_path, **options)
    decays = {
        id(parameter): group["weight_decay"]
        for group in trainer.parts.engine.optimizer.param_groups
        for parameter in group["params"]
    }
    decayed = {name for name, parameter in trainer.model.named_parameters() if decays[id(parameter)] == 0.05}
    # MindSpore calls what norms learn gamma and beta, and its tables, tokens and bare matrices have no ".weight".
    kept = ("norm", "positions", "token", "projection")
    names = [name for name, _ in trainer.model.named_parameters()]
    assert decayed == {name for name in names if name.endswith(".weight") and not any(word in name for word in kept)}
    assert len(decayed) == 1 + 25 * 4 + 1  # patches, four matrices of 24 + 1 blocks, the decoder's entrance


def test_unept_learns_its_encoder_at_a_tenth_of_the_rate(data_root, tmp_path):
    trainer = build_on_no_device("unept-res50-ade20k", data_root, tmp_path)
    rows = {row.lr_factor: row.values for row in summarize_groups(trainer.parts.engine.optimizer)}
    encoder = sum(parameter.numel() for parameter in trainer.model.encoder.parameters())
    assert rows[0.1] == encoder
    assert rows[1.0] == sum(parameter.numel() for parameter in trainer.model.parameters()) - encoder


def shrink(configuration):
    """The recipe with a network and crops that a test can afford."""
    small = {"encoder": VitConfig(image_size=(32, 32), dim=16, depth=1, heads=2), "head": SegmenterHeadConfig(depth=1)}
    model = msgspec.structs.replace(configuration.model, **small)
    train = msgspec.structs.replace(
        configuration.train, transforms=configuration.train.transforms[2:3], batch_size=1, workers=0, log_every=1
    )
    inference = msgspec.structs.replace(configuration.inference, window=(32, 32), stride=(16, 16))
    return msgspec.structs.replace(
        configuration, model=model, train=train, inference=inference, preprocessor=type(configuration.preprocessor)()
    )


@pytest.mark.parametrize("name", ["segmenter-tiny-ade20k", "segmenter-large-cityscapes-mindspore"])
def test_a_recipe_trains_and_leaves_a_model(name, data_root, tmp_path):
    trainer = build(None, data_root, tmp_path / "run", model=name, pretrained=False, cfg_modify_fn=shrink, max_steps=4)
    folder = trainer.train()
    assert folder.weights is not None
    assert trainer.progress.step == 4
    assert trainer.parts.engine.scaler.is_enabled() == (load_preset(name).train.precision == "float16")


def test_a_preset_without_weights_lends_its_recipe_to_no_other_model(data_root, recipe, tmp_path):
    folder = build(recipe, data_root, tmp_path / "first", max_steps=1).train()
    with pytest.raises(ConfigurationError, match="no section `train`"):
        build(
            None,
            data_root,
            tmp_path / "second",
            model=folder.path,
            cfg_modify_fn=lambda found: msgspec.structs.replace(found, train=None),
        )


def test_the_published_loss_of_each_family_is_used():
    assert isinstance(load_preset("segmenter-tiny-ade20k").train.loss, CrossEntropyLoss)
    assert load_preset("unept-deit-base-ade20k").train.loss.boundary_factor == 5.0
