"""The documents that come with segpipe, held against facts about the published models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import segpipe.configuration
from segpipe.configuration import (
    AdamW,
    Pad,
    ParameterGroup,
    ShortSideResize,
    encode_configuration,
    load_preset,
    preset_names,
)
from segpipe.errors import UnknownNameError
from segpipe.models import NormEps

FOLDER = Path(segpipe.configuration.__file__).parent / "presets"
VARIANTS = ("b0", "b1", "b2", "b3", "b4", "b5")
COCO_STUFF_REMOVED = {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90}
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
SEGFORMERS = tuple(
    name for name in preset_names() if name.startswith("segformer-") and load_preset(name).weights.source
)


def test_every_published_model_has_a_preset() -> None:
    published = {
        f"segformer-{variant}-{data}" for variant in VARIANTS for data in ("cocostuff", "ade20k", "cityscapes")
    }
    classifiers = {f"mit-{variant}-imagenet" for variant in VARIANTS}
    # Those of Segmenter, UN-EPT and of recipes without weights are looked at in test_configuration_catalogue.py.
    assert published | classifiers | {"segformer-b0-camvid"} <= set(preset_names())
    assert set(SEGFORMERS) == published | {"segformer-b0-camvid"}


@pytest.mark.parametrize("name", preset_names())
def test_preset_is_written_back_byte_for_byte(name: str) -> None:
    assert encode_configuration(load_preset(name)) == (FOLDER / f"{name}.json").read_bytes()


@pytest.mark.parametrize("name", SEGFORMERS)
def test_preset_is_complete_and_agrees_with_its_name(name: str) -> None:
    preset = load_preset(name)
    _, variant, _ = name.split("-")
    assert preset.model.variant == variant
    assert preset.model.head.channels == (256 if variant in ("b0", "b1") else 768)
    # Published recipes have 0.1; our own is too short for it.
    assert preset.model.encoder.drop_path_rate == (0.0 if name == "segformer-b0-camvid" else 0.1)
    assert len(preset.labels.names) == len(preset.labels.palette) == len(preset.labels.raw_ids)
    assert all(name == name.strip() for name in preset.labels.names)
    assert preset.weights.source
    assert preset.weights.licence
    assert preset.weights.scores.dataset.startswith(preset.dataset.type)
    assert preset.pipeline.type == preset.task
    assert preset.train is not None
    assert preset.evaluation is not None


@pytest.mark.parametrize(
    ("name", "outputs", "first", "last", "color"),
    [
        ("segformer-b0-cocostuff", 172, "person", "wood", (0, 192, 64)),
        ("segformer-b0-ade20k", 150, "wall", "flag", (120, 120, 120)),
        ("segformer-b0-cityscapes", 19, "road", "bicycle", (128, 64, 128)),
        ("segformer-b0-camvid", 11, "sky", "bicyclist", (128, 128, 128)),
    ],
)
def test_classes_are_those_of_the_data_set(name: str, outputs: int, first: str, last: str, color: tuple) -> None:
    preset = load_preset(name)
    assert preset.model.num_classes == outputs
    assert (preset.labels.names[0], preset.labels.names[-1]) == (first, last)
    assert preset.labels.palette[0] == color
    assert preset.labels.ignore_index == 255


def test_raw_ids_are_those_of_the_annotation_files() -> None:
    assert load_preset("segformer-b2-ade20k").labels.raw_ids == tuple(range(1, 151))
    assert load_preset("segformer-b2-cityscapes").labels.raw_ids == CITYSCAPES_IDS
    assert load_preset("segformer-b0-camvid").labels.raw_ids == tuple(range(11))
    coco = load_preset("segformer-b2-cocostuff").labels
    assert set(coco.raw_ids) == set(range(182)) - COCO_STUFF_REMOVED
    assert len(coco.names) == 171


def test_ade20k_names_have_no_stray_blank() -> None:
    assert load_preset("segformer-b0-ade20k").labels.names[7] == "bed"


@pytest.mark.parametrize("variant", VARIANTS)
def test_cocostuff_presets_compute_as_easycv_does(variant: str) -> None:
    preset = load_preset(f"segformer-{variant}-cocostuff")
    # The shipped configurations test at img_scale (2048, 512), that of b5 alone at (2048, 640).
    side = 640 if variant == "b5" else 512
    assert preset.preprocessor.resize == ShortSideResize(size=side, max_long_side=2048, library="opencv")
    assert preset.model.encoder.norm_eps == NormEps(patch=1e-6, reduction=1e-6, block=1e-6, stage=1e-6)
    assert (preset.model.head.type, preset.model.size_multiple) == ("conv", 32)
    assert preset.inference.upsampling == "two-step"
    assert preset.weights.file == "pytorch_model.pt"
    assert preset.weights.source == f"modelscope:damo/cv_segformer-{variant}_image_semantic-segmentation_coco-stuff164k"


@pytest.mark.parametrize("variant", VARIANTS)
def test_networks_on_ade20k_compute_as_hugging_faces_do(variant: str) -> None:
    preset = load_preset(f"segformer-{variant}-ade20k")
    side = 640 if variant == "b5" else 512
    assert preset.model.encoder.norm_eps == NormEps(patch=1e-5, reduction=1e-5, block=1e-5, stage=1e-5)
    assert (preset.model.head.type, preset.model.size_multiple) == ("mlp", 1)
    assert preset.weights.source == f"hf:nvidia/segformer-{variant}-finetuned-ade-{side}-{side}"
    assert "non-commercial" in preset.weights.licence


def test_published_scores_are_the_published_ones() -> None:
    scores = {name: load_preset(name).weights.scores.miou for name in SEGFORMERS}
    assert [scores[f"segformer-{variant}-cocostuff"] for variant in VARIANTS] == [
        35.91,
        40.53,
        44.53,
        45.49,
        46.27,
        46.75,
    ]
    assert [scores[f"segformer-{variant}-ade20k"] for variant in VARIANTS] == [37.4, 42.2, 46.5, 49.4, 50.3, 51.0]
    assert [scores[f"segformer-{variant}-cityscapes"] for variant in VARIANTS] == [76.2, 78.5, 81.0, 81.7, 82.3, 82.4]


def test_recipes_are_those_of_the_papers_code() -> None:
    ade, city = load_preset("segformer-b0-ade20k").train, load_preset("segformer-b0-cityscapes").train
    assert (ade.max_steps, ade.batch_size, ade.transforms[1].size) == (160000, 16, (512, 512))
    assert (city.max_steps, city.batch_size, city.transforms[1].size) == (160000, 8, (1024, 1024))
    assert load_preset("segformer-b5-ade20k").train.transforms[1].size == (640, 640)
    assert load_preset("segformer-b0-cocostuff").train.max_epochs == 30
    groups = [(group.match, group.weight_decay, group.lr_factor) for group in ade.optimizer.groups]
    assert groups == [("head", None, 10.0), ("norm", 0.0, 1.0)]
    assert (ade.schedule.warmup.steps, ade.schedule.warmup.ratio, ade.schedule.power) == (1500, 1e-6, 1.0)


@pytest.mark.parametrize("name", [name for name in SEGFORMERS if name != "segformer-b0-camvid"])
def test_normalisation_in_the_head_is_trained_as_the_head(name: str) -> None:
    # mmcv sorts the matches by name and then by length, longest first, so that `head` comes before `norm`.
    optimizer = load_preset(name).train.optimizer
    assert optimizer.group_of("head.norm.weight").match == "head"
    assert optimizer.group_of("encoder.stages.0.norm.weight").match == "norm"
    assert optimizer.group_of("encoder.patch.weight") is None


@pytest.mark.parametrize("name", SEGFORMERS)
def test_recipes_pad_with_what_normalisation_turns_into_zero(name: str) -> None:
    pads = [step for step in load_preset(name).train.transforms if isinstance(step, Pad)]
    assert [pad.value for pad in pads] == [None]


def test_longest_match_decides_about_a_parameter() -> None:
    groups = (ParameterGroup(match="norm"), ParameterGroup(match="head"), ParameterGroup(match="head.norm"))
    optimizer = AdamW(lr=1.0, groups=groups)
    assert optimizer.group_of("head.norm.weight") == groups[2]
    assert optimizer.group_of("head.fuse.norm.weight") == groups[0]


def test_unknown_preset_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'segformer-b0-ade20k'"):
        load_preset("segformer-b0-ade2k")
    with pytest.raises(UnknownNameError):
        load_preset("../schema")


def test_reading_a_preset_imports_neither_torch_nor_a_network_client() -> None:
    code = (
        "import sys, segpipe.configuration as c; c.load_preset('segformer-b0-cocostuff');"
        "print(sorted({'torch', 'numpy', 'requests', 'cv2', 'PIL'} & set(sys.modules)))"
    )
    root = Path(segpipe.configuration.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
