"""The scripts of ModelScope's pages, with nothing but their import lines changed, against ModelScope on loopback."""

import os
import re
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from compat_material import MODEL, coco_stuff_files, model_files, packed, tiny_segformer
from modelscope_scripts import DOCUMENTED_TRAINING, OWNERS_PREDICTION, OWNERS_TRAINING, with_our_imports

from segpipe import pipeline
from segpipe.checkpoints.state_dicts import read_tensors
from segpipe.configuration import load_preset, override
from segpipe.trainers import run_configuration
from segpipe.trainers.run.run_log import read_log


@pytest.fixture
def modelscope(web_server, monkeypatch, tmp_path):
    """The owner's model and data set on loopback, and a folder for what scripts write."""
    web_server.add_model(MODEL, model_files(tiny_segformer()))
    web_server.data["damo/coco_stuff164k"] = {
        "README.md": b"# COCO-Stuff\n",
        "coco_stuff164k.py": b"raise SystemExit('never run this')",
        "coco_stuff164k.zip": packed(coco_stuff_files("coco_stuff164k/")),
    }
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", web_server.url)
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    for name in ("SEGPIPE_DATA", "SEGPIPE_OFFLINE", "SEGPIPE_HUB", "MODELSCOPE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    return web_server


@pytest.fixture(params=[pytest.param("64 × 64"), pytest.param("as published", marks=pytest.mark.slow)])
def recipe(request, monkeypatch):
    """The published recipe of the id, in the quick variant with crops of 64 × 64 pixels instead of 512 × 512."""
    if request.param == "as published":
        return
    crops = {"train.transforms": [{"type": "random_crop", "size": [64, 64]}, {"type": "pad", "size": [64, 64]}]}
    small = override(load_preset("segformer-b0-cocostuff"), crops | {"train.workers": 0})
    monkeypatch.setattr(run_configuration, "preset_names", lambda: ("small",))
    monkeypatch.setattr(run_configuration, "load_preset", lambda _: small)


def run(script: str) -> dict:
    scope = {"__name__": "__main__"}
    exec(compile(with_our_imports(script), "script.py", "exec"), scope)
    return scope


def work_dir_of(place: Path) -> Path:
    (found,) = (path for path in (place / "scratch").iterdir() if (path / "model").is_dir())
    return found


def test_the_owners_prediction_script(modelscope, capsys):
    """Its image's address is ModelScope's own and is replaced, too."""
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    modelscope.static["image.jpg"] = cv2.imencode(".jpg", image)[1].tobytes()
    scope = run(re.sub(r"'https://.*'", f"'{modelscope.url}/static/image.jpg'", OWNERS_PREDICTION))
    assert [mask.shape for mask in scope["result"]["masks"]] == [(90, 120)] * len(scope["result"]["labels"])
    assert "90 × 120" in capsys.readouterr().out


def test_the_owners_training_script(modelscope, recipe, tmp_path):
    run(OWNERS_TRAINING)
    work_dir = work_dir_of(tmp_path)
    lines = read_log(work_dir / "log.jsonl")
    assert lines[0]["max_steps"] == 4  # 30 epochs of two images, 16 at a time
    assert modelscope.requests_for("coco_stuff164k.py") == []
    image = cv2.imdecode(np.frombuffer(coco_stuff_files()["val2017/000000000000.jpg"], np.uint8), 1)
    result = pipeline("image-segmentation", os.path.join(work_dir, "output"))(image)
    assert result.label_map.shape == (70, 90)


@pytest.mark.slow
def test_the_documented_training_script(modelscope, recipe, tmp_path, capsys, caplog):
    """Its learning rate is 0, so that it ends with the weights of its checkpoint."""
    run(DOCUMENTED_TRAINING)
    assert os.path.isfile(capsys.readouterr().out.splitlines()[0])
    assert "train.optimizer.lr is 0" in caplog.text
    trained = read_tensors(work_dir_of(tmp_path) / "model" / "model.safetensors")
    own = tiny_segformer().state_dict()
    learned = [key for key in own if not re.search(r"running_|num_batches", key)]
    assert all(torch.equal(trained[key], own[key]) for key in learned)


def test_a_second_run_of_a_script_makes_no_request(modelscope, monkeypatch):
    from segpipe.compat.modelscope import MsDataset

    dataset = MsDataset.load("coco_stuff164k", namespace="damo", split="train")
    assert len(dataset.open()) == 2

    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    assert len(dataset.open()) == 2
