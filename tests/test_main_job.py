"""The main job, whole: from a model's id and a picture's URL to its segmentation, against servers on loopback."""

import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from foreign_checkpoints import hugging_face_repository, modelscope_repository

from segpipe import load_model, pipeline
from segpipe.configuration import ExactResize, load_preset
from segpipe.models import build_model, pad_to_best

TASK = "image-segmentation"
MODELSCOPE_ID = "damo/cv_segformer-b0_image_semantic-segmentation_coco-stuff164k"
HUGGING_FACE_ID = "nvidia/segformer-b0-finetuned-ade-512-512"


def published_model(preset):
    """A network of the preset's architecture, with weights that do not look like fresh ones."""
    torch.manual_seed(0)
    model = build_model(load_preset(preset).model).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm | torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    torch.nn.init.normal_(model.head.classifier.weight, std=0.1)
    return model


@pytest.fixture
def hubs(web_server, monkeypatch, tmp_path):
    """ModelScope and Hugging Face on loopback, with one model each, and a picture beside them."""
    cocostuff, ade20k = published_model("segformer-b0-cocostuff"), published_model("segformer-b0-ade20k")
    names = load_preset("segformer-b0-cocostuff").labels.names
    web_server.add_model(MODELSCOPE_ID, modelscope_repository(cocostuff, names))
    ade_names = load_preset("segformer-b0-ade20k").labels.names
    web_server.add_model(HUGGING_FACE_ID, hugging_face_repository(ade20k, ade_names, 512))
    picture = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    web_server.static["street.png"] = cv2.imencode(".png", picture)[1].tobytes()
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", web_server.url)
    monkeypatch.setenv("HF_ENDPOINT", web_server.url)
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    return {"segformer-b0-cocostuff": cocostuff, "segformer-b0-ade20k": ade20k}


def refuse_sockets(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)


@pytest.mark.parametrize("preset", ["segformer-b0-cocostuff", "segformer-b0-ade20k"])
def test_a_preset_downloads_converts_caches_and_runs_on_a_url(hubs, web_server, monkeypatch, preset):
    first = pipeline(TASK, preset)
    result = first(f"{web_server.url}/static/street.png")
    assert result.label_map.shape == (90, 120)
    assert set(result.labels) <= set(load_preset(preset).labels.names)

    original = hubs[preset].state_dict()
    loaded = first.model.state_dict()
    assert all(torch.equal(loaded[key], original[key]) for key in original)

    pixels = cv2.cvtColor(cv2.imdecode(np.frombuffer(web_server.static["street.png"], np.uint8), 1), cv2.COLOR_BGR2RGB)
    web_server.seen.clear()
    refuse_sockets(monkeypatch)
    again = pipeline(TASK, preset)(pixels)
    assert not web_server.seen
    assert np.array_equal(again.label_map, result.label_map)


@pytest.mark.parametrize(
    ("name", "preset"),
    [(f"modelscope:{MODELSCOPE_ID}", "segformer-b0-cocostuff"), (f"hf:{HUGGING_FACE_ID}", "segformer-b0-ade20k")],
)
def test_a_repository_by_its_own_name_is_the_network_of_the_preset(hubs, name, preset):
    """What their configuration files say agrees with what our presets say, but for the padding of ModelScope's page."""
    theirs, ours = pipeline(TASK, name), load_preset(preset)
    assert theirs.configuration.model.size_multiple == 1
    assert pad_to_best(theirs.configuration.model) == pad_to_best(ours.model)
    assert theirs.labels == ours.labels


def test_modelscopes_own_folder_is_run_as_the_preset_is(hubs):
    theirs, ours = pipeline(TASK, f"modelscope:{MODELSCOPE_ID}").configuration, load_preset("segformer-b0-cocostuff")
    assert (theirs.preprocessor, theirs.inference) == (ours.preprocessor, ours.inference)


def test_hugging_faces_own_folder_is_run_as_its_processor_does_and_the_preset_as_its_score_was_measured(hubs):
    theirs, ours = pipeline(TASK, f"hf:{HUGGING_FACE_ID}"), pipeline(TASK, "segformer-b0-ade20k")
    assert theirs.configuration.preprocessor.resize == ExactResize(size=(512, 512), library="pillow")
    assert theirs.configuration.inference.upsampling == "one-step"
    assert ours.configuration.preprocessor == load_preset("segformer-b0-ade20k").preprocessor
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    assert not np.array_equal(theirs(pixels).label_map, ours(pixels).label_map)
    changes = ['preprocessor.resize={"mode":"exact","size":[512,512]}', "inference.upsampling=one-step"]
    as_theirs = pipeline(TASK, "segformer-b0-ade20k", overrides=changes)
    assert np.array_equal(as_theirs(pixels).label_map, theirs(pixels).label_map)


def test_a_bare_name_asks_modelscope(hubs, web_server):
    assert load_model(MODELSCOPE_ID).num_classes == 172
    assert web_server.requests_for("setup.py") == []


def test_the_converted_weights_are_safetensors_in_the_cache(hubs, tmp_path):
    folder = pipeline(TASK, "segformer-b0-cocostuff").folder
    assert folder.dialect == "segpipe"
    assert Path(folder.weights).suffix == ".safetensors"
    assert (tmp_path / "home") in folder.path.parents
    assert folder.verify() == ()
