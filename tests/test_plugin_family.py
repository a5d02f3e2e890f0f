"""A third party's network family, installed as a plug-in, trains, predicts, is exported and published."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from training_material import CONFIGURATION, write_pictures

from segpipe import MODELS, build_trainer, evaluate, export, load_dataset, load_model, pipeline, publish
from segpipe.configuration import decode_configuration, json_schema, override
from segpipe.errors import ConfigurationError

FAMILY = Path(__file__).parent / "tiny_family.py"
MODEL = {"type": "tiny", "num_classes": 3}
LABELS = {"names": ["left", "right", "top"]}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install the plug-in as pip does: a module, and the metadata of its distribution with the entry point."""
    site = tmp_path / "site-packages"
    metadata = site / "tiny_family-1.0.dist-info"
    metadata.mkdir(parents=True)
    shutil.copy(FAMILY, site)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-family\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[segpipe.plugins]\ntiny-family = tiny_family:register\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr("segpipe.registry._loaded_plugins", set())
    monkeypatch.setattr(MODELS, "_entries", dict(MODELS._entries))
    monkeypatch.delitem(sys.modules, "tiny_family", raising=False)
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))


def write_recipe(folder):
    """Write the configuration of a tiny run with the plug-in's network."""
    path = folder / "recipe.json"
    path.write_text(json.dumps({**json.loads(CONFIGURATION), "model": MODEL}))
    return path


@pytest.fixture
def trained(installed, tmp_path):
    """A run's trainer and model folder."""
    data = load_dataset("folder", write_pictures(tmp_path / "data"))
    trainer = build_trainer(
        cfg_file=write_recipe(tmp_path), train_dataset=data, work_dir=tmp_path / "run", device="cpu"
    )
    return trainer, trainer.train()


def test_its_file_is_short():
    assert len(FAMILY.read_text().splitlines()) < 60


def test_it_trains_predicts_and_is_published(trained, tmp_path):
    trainer, folder = trained
    image = load_dataset("folder", tmp_path / "data")[0].image
    label_map = pipeline("image-segmentation", folder)(image).label_map
    assert label_map.shape == image.shape[:2]
    assert np.array_equal(trainer.predict(image), label_map)
    place = (tmp_path / "hub" / "team" / "tiny").as_uri()
    publish(folder.path, place)
    assert np.array_equal(pipeline("image-segmentation", place)(image).label_map, label_map)
    assert type(load_model(place)).__name__ == "TinyNetwork"
    scores = evaluate(place, load_dataset("folder", tmp_path / "data", "val"), device="cpu")
    assert 0.0 <= scores.miou <= 1.0


@pytest.mark.slow
def test_it_is_exported(trained, tmp_path):
    pytest.importorskip("onnxruntime")
    report = export(trained[1], tmp_path / "tiny.onnx")
    assert report.path.is_file()
    assert report.largest_difference < 1e-3


def test_it_is_trained_with_the_losses_that_it_names_alone(installed, tmp_path):
    MODELS._entries["tiny"] = dataclasses.replace(MODELS.get("tiny"), losses=frozenset({"dice"}))
    data = load_dataset("folder", write_pictures(tmp_path / "data"))
    with pytest.raises(ConfigurationError, match=r"tiny is not trained with 'cross_entropy'\. Take one of 'dice'"):
        build_trainer(cfg_file=write_recipe(tmp_path), train_dataset=data, work_dir=tmp_path / "run", device="cpu")


def test_its_name_is_known_before_anything_is_asked_of_it(installed):
    assert "tiny" in MODELS


def test_its_own_keys_are_checked_and_changed_like_those_of_our_families(installed):
    configuration = decode_configuration(json.dumps({"model": MODEL, "labels": LABELS}), origin="here")
    assert override(configuration, ["model.variant=large"]).model.variant == "large"
    with pytest.raises(ConfigurationError, match=r'model\.variant: "huge" is not allowed; allowed is one of "large"'):
        override(configuration, ["model.variant=huge"])
    with pytest.raises(ConfigurationError, match=r"model\.varaint: .*Did you mean 'variant'"):
        decode_configuration(json.dumps({"model": {**MODEL, "varaint": "small"}}), origin="here")
    assert "TinyConfig" in json_schema()["$defs"]
