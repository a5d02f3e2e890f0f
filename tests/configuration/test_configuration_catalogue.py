"""The presets of Segmenter, UN-EPT and of recipes without weights, held against what their authors publish."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segpipe.configuration import (
    LossScale,
    MultistepSchedule,
    OhemLoss,
    PolySchedule,
    RandomCrop,
    RandomResize,
    Sgd,
    ShortSideResize,
    load_preset,
    preset_names,
)
from segpipe.configuration.training import BoundaryLoss
from segpipe.data import dataset_labels
from segpipe.models import DeitConfig, ResNetConfig

PUBLISHED = Path(__file__).parents[3] / "shared" / "reference" / "published-weights.json"
SEGMENTER = tuple(name for name in preset_names() if name.startswith("segmenter-"))
UNEPT = tuple(name for name in preset_names() if name.startswith("unept-"))
WITHOUT_WEIGHTS = {
    "segformer-b0-cityscapes-libai",
    "segformer-b1-cityscapes-ohem",
    "segmenter-large-cityscapes-mindspore",
    "segmenter-small-linear-ade20k",
    *UNEPT,
}
DATA = {"ade20k": "ade20k", "pascal-context": "pascal-context", "cityscapes": "cityscapes"}
# Epochs, epochs between evaluations, batch, learning rate, short side, longest ratio, crop, window, step: the table of
# Segmenter's config.yml, and the ratios of its data sets.
RECIPES = {
    "ade20k": (64, 2, 8, 1e-3, 512, 4, 512, 512, 512),
    "pascal-context": (256, 8, 16, 1e-3, 520, 8, 480, 480, 320),
    "cityscapes": (216, 4, 8, 1e-2, 1024, 2, 768, 768, 512),
}


def dataset_of(name: str) -> str:
    return next(data for data in DATA if f"-{data}" in name)


@pytest.mark.parametrize("name", [*SEGMENTER, *UNEPT])
def test_preset_is_named_after_family_variant_and_data_set(name: str) -> None:
    preset = load_preset(name)
    assert name.startswith(f"{type(preset.model).__struct_config__.tag}-")
    assert preset.model.variant in name
    assert preset.dataset.type == dataset_of(name)
    assert preset.labels == dataset_labels(dataset_of(name))
    assert preset.model.num_classes == len(preset.labels.names)
    assert preset.weights.scores.dataset == f"{dataset_of(name)} val"
    assert preset.weights.licence
    assert preset.pipeline.type == preset.task


@pytest.mark.shared
@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the list of published weights is not beside this checkout")
def test_every_published_model_of_the_five_systems_is_a_preset() -> None:
    entries = [
        entry
        for entry in json.loads(PUBLISHED.read_text())["weights"]
        if entry["publisher"] != "mmsegmentation" and "mit-" not in entry["name"]
    ]
    presets = {name: load_preset(name) for name in preset_names()}
    for entry in entries:
        fits = [preset for preset in presets.values() if preset.weights.source == entry["weights"]]
        found = [
            preset
            for preset in fits
            if preset.weights.scores is not None
            and preset.weights.scores.miou == entry.get("miou")
            and preset.weights.scores.miou_multiscale
            == entry.get("miou_ms_flip", preset.weights.scores.miou_multiscale)
        ]
        assert len(found) == 1, entry
        assert found[0].weights.dialect == entry["dialect"]
        assert found[0].weights.file == entry.get("file")
        assert entry["licence"].partition(" ")[0] in found[0].weights.licence


def test_weights_without_a_lasting_public_source_have_none_and_a_note() -> None:
    without = {name for name in preset_names() if load_preset(name).weights.source is None}
    assert without == WITHOUT_WEIGHTS
    assert all("from scratch" in load_preset(name).weights.note for name in without)
    assert all(load_preset(name).train is not None for name in without)


@pytest.mark.parametrize("name", [name for name in SEGMENTER if not name.endswith("-mindspore")])
def test_segmenters_recipes_are_those_of_its_table(name: str) -> None:
    preset, data = load_preset(name), dataset_of(name)
    epochs, every, batch, lr, side, ratio, crop, window, stride = RECIPES[data]
    if name == "segmenter-large-ade20k":
        side = crop = window = stride = 640
    train = preset.train
    assert (train.max_epochs, train.batch_size, preset.evaluation.every_epochs) == (epochs, batch, every)
    optimizer = train.optimizer
    assert isinstance(optimizer, Sgd)
    assert (optimizer.lr, optimizer.momentum, optimizer.nesterov, optimizer.weight_decay) == (lr, 0.9, True, 0.0)
    assert train.schedule == PolySchedule(power=0.9, min_lr=1e-5)
    assert train.transforms[0] == RandomResize(size=(side, ratio * side), ratio=(0.5, 2.0))
    assert train.transforms[1] == RandomCrop(size=(crop, crop), max_class_share=0.75)
    assert preset.preprocessor.resize == ShortSideResize(size=side, max_long_side=ratio * side)
    # The scores are measured by another step than the recipe's evaluation during training, see the note.
    assert (preset.inference.window, preset.inference.stride) == ((window, window), (crop - 32, crop - 32))
    assert f"inference.stride=[{stride},{stride}]" in preset.weights.note
    assert preset.inference.small_picture == "enlarge"
    assert preset.model.encoder.image_size == (crop, crop)
    assert preset.model.encoder.distilled == ("deit" in name) == (preset.model.pixel_std[0] == 58.395)


def test_segmenter_on_cityscapes_has_one_layer_of_the_mask_transformer() -> None:
    depths = {name: load_preset(name).model.head.depth for name in SEGMENTER}
    assert {name for name, depth in depths.items() if depth == 1} == {
        "segmenter-large-cityscapes",
        "segmenter-large-cityscapes-mindspore",
    }
    assert load_preset("segmenter-base-patch8-ade20k").model.encoder.patch_size == 8


def test_mindspores_segmenter_differs_as_its_document_says() -> None:
    preset = load_preset("segmenter-large-cityscapes-mindspore")
    model, train = preset.model, preset.train
    assert (model.encoder.norm_eps, model.head.norm_eps, model.head.output_norm_eps) == (1e-6, 1e-7, 1e-5)
    assert (train.optimizer.lr, train.optimizer.nesterov, train.schedule.min_lr) == (0.01, False, 1e-5)
    assert (train.clip_grad_norm, train.precision, train.max_epochs) == (5.0, "float16", 216)
    assert train.loss_scale == LossScale(initial=1024.0, growth=2.0, interval=2000)
    assert (preset.inference.window, preset.inference.stride) == ((768, 768), (512, 512))
    assert preset.weights.scores.miou == 79.18


@pytest.mark.parametrize("name", UNEPT)
def test_unepts_recipes_are_those_of_its_paper(name: str) -> None:
    preset, train = load_preset(name), load_preset(name).train
    assert isinstance(preset.model.encoder, ResNetConfig if "res50" in name else DeitConfig)
    assert (train.max_steps, train.batch_size, train.log_every, preset.evaluation.every) == (160000, 16, 200, 10000)
    assert (train.optimizer.lr, train.optimizer.weight_decay) == (1e-4, 1e-4)
    assert train.optimizer.group_of("encoder.blocks.0.norm1.weight").lr_factor == 0.1
    assert train.optimizer.group_of("context.level_embeddings") is None
    assert train.schedule == MultistepSchedule(milestones=(126000,), gamma=0.1)
    assert train.loss == BoundaryLoss()
    assert train.transforms[0].size == ((520, 520) if "context" in name else (512, 2048))
    assert (preset.inference.window, preset.inference.stride) == ((480, 480), (160, 160))
    assert (preset.inference.small_picture, preset.weights.scores.miou) == ("pad", None)


def test_recipes_of_the_other_segformers_are_theirs() -> None:
    libai, ohem = load_preset("segformer-b0-cityscapes-libai").train, load_preset("segformer-b1-cityscapes-ohem").train
    assert (libai.max_epochs, libai.batch_size, libai.clip_grad_norm, libai.seed) == (100, 8, 1.0, 1234)
    assert (libai.optimizer.weight_decay, libai.optimizer.vector_weight_decay) == (1e-4, 0.0)
    assert ohem.loss == OhemLoss(threshold=0.7, min_share=1 / 16)
    assert (ohem.optimizer.lr, ohem.optimizer.weight_decay, ohem.batch_size, ohem.seed) == (1e-3, 1e-5, 4, 2023)
