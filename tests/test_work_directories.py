"""A run's work directory in place of its model, in every function and verb that takes a model."""

import numpy as np
import pytest
from training_material import CONFIGURATION, write_pictures

from segpipe import build_trainer, convert, evaluate, load_dataset, load_model, pipeline, publish
from segpipe.checkpoints import open_checkpoint
from segpipe.cli.main import main
from segpipe.compat import modelscope
from segpipe.hub import folder as hub_folder

IMAGE = "data/images/val/0.png"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data and runs/first, which has taken one step."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "recipe.json").write_text(CONFIGURATION)
    write_pictures(folder / "data")
    data = load_dataset("folder", folder / "data", "train")
    run = {"train_dataset": data, "work_dir": folder / "runs" / "first", "max_steps": 1, "device": "cpu"}
    build_trainer(cfg_file=folder / "recipe.json", progress=False, **run).train()
    return folder


@pytest.fixture(autouse=True)
def here(place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))


def first_weights(network):
    return next(network.parameters())


FUNCTIONS = {
    "pipeline": lambda name: pipeline("image-segmentation", name)(IMAGE).label_map,
    "modelscope": lambda name: modelscope.pipeline("image-segmentation", name)(IMAGE)["scores"],
    "load_model": lambda name: first_weights(load_model(name)).detach().numpy(),
    "evaluate": lambda name: evaluate(name, load_dataset("folder", "data", "val"), device="cpu").miou,
    "open_checkpoint": lambda name: open_checkpoint(name).weights.name,
    "build_trainer": lambda name: first_weights(fine_tuned(model=name)).detach().numpy(),
    "encoder_weights": lambda name: (
        first_weights(fine_tuned(cfg_file="recipe.json", encoder_weights=name)).detach().numpy()
    ),
}


def fine_tuned(**arguments):
    data = load_dataset("folder", "data", "train")
    return build_trainer(train_dataset=data, device="cpu", work_dir="runs/second", **arguments).model


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_functions_take_it(function):
    assert np.array_equal(function("runs/first"), function("runs/first/model"), equal_nan=False)


def test_converting_and_publishing_it_make_the_model(tmp_path):
    name = publish("runs/first", str(tmp_path / "hub" / "team" / "street"))
    for folder in (convert("runs/first", tmp_path / "converted").path, name):
        assert np.array_equal(
            pipeline("image-segmentation", folder)(IMAGE).label_map, FUNCTIONS["pipeline"]("runs/first")
        )


COMMANDS = [
    ["predict", IMAGE, "--model", "NAME", "--output", "OUT"],
    ["eval", "NAME", "--data", "folder", "data"],
    ["convert", "NAME", "OUT"],
    ["align", "NAME", "runs/first/model", "--size", "64", "64"],
    ["profile", "NAME", "--size", "64", "64", "--no-timing"],
    ["models", "info", "NAME"],
    ["config", "show", "NAME"],
    ["config", "check", "NAME"],
    ["attention", "NAME", IMAGE, "OUT"],
    ["data", "show", "folder", "data", "--recipe", "NAME", "--output", "OUT/page.png"],
    ["curves", "NAME", "--output", "OUT/curves.png"],
    ["publish", "NAME", "OUT/team/x"],
    ["train", "--model", "NAME", "--data", "folder", "data", "--dry-run", "--device", "cpu", "--quiet"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_verbs_take_it_and_say_so_once(command, tmp_path, capsys):
    hub_folder._say_once.cache_clear()
    words = [word.replace("NAME", "runs/first/").replace("OUT", str(tmp_path)) for word in command]
    assert main(words) == 0, capsys.readouterr().err
    told = "segpipe: runs/first is the work directory of a run; its model is runs/first/model\n"
    assert capsys.readouterr().err.count(told) == (command[0] != "curves")
