"""Changing single values of a configuration by path."""

from __future__ import annotations

from pathlib import Path

import pytest

from segpipe.configuration import Configuration, load_preset, override
from segpipe.errors import ConfigurationError


@pytest.fixture
def preset() -> Configuration:
    """A preset whose pictures are not resized."""
    return override(load_preset("segformer-b0-camvid"), ["preprocessor.resize=null"])


def test_values_are_json_and_lists_are_reached_by_index(preset: Configuration) -> None:
    changes = ["train.optimizer.lr=6e-5", "model.num_classes=19", "train.transforms[1].size=[640, 512]"]
    changed = override(preset, changes)
    assert changed.train.optimizer.lr == 6e-5
    assert changed.model.num_classes == 19
    assert changed.train.transforms[1].size == (640, 512)
    assert preset.model.num_classes == 11


def test_value_that_is_not_json_is_a_text(preset: Configuration) -> None:
    changed = override(preset, ["model.variant=b1", "weights.note=lr=3 was best", "dataset.root=/data/camvid"])
    assert changed.model.variant == "b1"
    assert changed.weights.note == "lr=3 was best"
    assert changed.dataset.root == "/data/camvid"


def test_mapping_of_paths_is_accepted(preset: Configuration) -> None:
    changed = override(preset, {"train.max_steps": 7, "dataset.root": Path("camvid"), "train.loss": {"type": "dice"}})
    assert (changed.train.max_steps, changed.dataset.root) == (7, "camvid")
    assert changed.train.loss.smooth == 1e-6


def test_no_change_gives_an_equal_configuration(preset: Configuration) -> None:
    assert override(preset, []) == preset


def test_section_that_was_null_appears_with_its_defaults(preset: Configuration) -> None:
    changed = override(preset, ["parallel.data=fsdp"])
    assert (changed.parallel.data, changed.parallel.tensor) == ("fsdp", 1)


def test_new_type_drops_the_keys_that_it_does_not_know(preset: Configuration) -> None:
    changed = override(preset, ["train.schedule.type=cosine", "train.schedule.min_lr=1e-6"])
    assert type(changed.train.schedule).__name__ == "CosineSchedule"
    assert changed.train.schedule.min_lr == 1e-6
    assert changed.train.schedule.warmup == preset.train.schedule.warmup


def test_resize_can_be_switched_off_and_exchanged(preset: Configuration) -> None:
    changed = override(preset, ['preprocessor.resize={"mode": "exact", "size": [64, 32]}'])
    assert changed.preprocessor.resize.size == (64, 32)
    assert override(changed, ["preprocessor.resize=null"]) == preset


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ("train.optimiser.lr=1", ["train.optimiser", "Did you mean 'train.optimizer'?"]),
        ("train.optimizer.learning_rate=1", ["learning_rate", "betas", "lr"]),
        ("train.optimizer.lr=fast", ['train.optimizer.lr: "fast"', "a number of at least 0"]),
        ("train.optimizer.lr=NaN", ['train.optimizer.lr: "NaN"', "a number of at least 0"]),
        ("train.optimizer.lr", ["has no '='", "PATH=VALUE"]),
        ("train.transforms[9].size=[1, 1]", ["train.transforms[9]", "has 5 items"]),
        ("train.transforms.size=[1, 1]", ["train.transforms", "a list"]),
        ("train.transforms.0.size=[1, 1]", ["train.transforms[0]", "Correct"]),
        ("train.optimizer.lr.x=1", ["train.optimizer.lr", "a single value"]),
        ("preprocessor.resize.size=512", ["preprocessor.resize", "null", "Give the whole value"]),
        ("train.schedule.type=cosin", ["Did you mean 'cosine'?"]),
        ("train..lr=1", ["is not a path"]),
        ("plugins=1", ["there is no key 'plugins'"]),
    ],
)
def test_change_that_cannot_be_is_refused_with_its_path(preset: Configuration, change: str, parts: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        override(preset, [change])
    assert str(caught.value).startswith("override: ")
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_value_that_json_cannot_say_is_refused(preset: Configuration) -> None:
    with pytest.raises(ConfigurationError, match=r"train\.seed: .*object cannot stand in a JSON document"):
        override(preset, {"train.seed": object()})


@pytest.mark.parametrize(
    "changes", [["model.variant=\ud800"], {"model.variant": "\ud800"}, {"train.clip_grad_norm": float("nan")}]
)
def test_what_json_cannot_say_is_refused_with_its_path(changes):
    with pytest.raises(ConfigurationError, match=r"model\.variant|train\.clip_grad_norm"):
        override(load_preset("segformer-b0-camvid"), changes)
