"""Which trainer is built: the named one, else the configuration's, else the task's."""

import json

import pytest
from runs import NAMES, build
from training_material import CONFIGURATION

from segpipe import TRAINERS, build_trainer, load_dataset
from segpipe.cli.main import main
from segpipe.errors import UnknownNameError
from segpipe.trainers.local_trainer import build_local_trainer
from segpipe.trainers.trainer import Trainer


class CountingTrainer(Trainer):
    """A third party's, which says in its folder how it was called."""

    def train(self):
        folder = super().train()
        (self.parts.work_dir / "counted.txt").write_text(str(self.progress.step))
        return folder


@pytest.fixture
def counting():
    TRAINERS.register("counting")(lambda **arguments: CountingTrainer(build_local_trainer(**arguments).parts))
    yield
    del TRAINERS._entries["counting"]


@pytest.fixture
def counting_recipe(tmp_path, counting):
    document = json.loads(CONFIGURATION)
    document["train"]["trainer"] = "counting"
    path = tmp_path / "counting.json"
    path.write_text(json.dumps(document))
    return path


def test_the_configuration_chooses_a_third_partys_trainer(counting_recipe, data_root, tmp_path):
    run = build(counting_recipe, data_root, tmp_path / "run", max_steps=1)
    assert type(run) is CountingTrainer
    folder = run.train()
    assert type(build_trainer(model=folder, train_dataset=run_data(data_root), work_dir=tmp_path / "next")) is (
        CountingTrainer
    )


def run_data(root):
    return load_dataset("folder", root, "train", names=NAMES)


def test_the_command_line_takes_the_configurations_trainer(counting_recipe, data_root, tmp_path):
    command = ["train", "--config", str(counting_recipe), "--data", "folder", str(data_root), "--max-steps", "1"]
    assert main([*command, "--work-dir", str(tmp_path / "run"), "--device", "cpu"]) == 0
    assert (tmp_path / "run" / "counted.txt").read_text() == "1"


@pytest.mark.parametrize("options", [{"train.trainer": "counting"}, ["train.trainer=counting"]])
def test_changes_of_the_configuration_choose_it(recipe, data_root, tmp_path, counting, options):
    assert type(build(recipe, data_root, tmp_path / "run", cfg_options=options)) is CountingTrainer


def test_a_function_that_changes_the_configuration_chooses_it_and_is_called_once(
    recipe, data_root, tmp_path, counting_recipe
):
    from segpipe.configuration import read_configuration

    calls = []

    def modify(configuration):
        calls.append(configuration)
        return read_configuration(counting_recipe)

    assert type(build(recipe, data_root, tmp_path / "run", cfg_modify_fn=modify)) is CountingTrainer
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["trainer", "easycv", "segmentation"])
def test_an_explicit_name_comes_before_the_configurations(counting_recipe, data_root, tmp_path, name):
    run = build_trainer(name, cfg_file=counting_recipe, train_dataset=run_data(data_root), work_dir=tmp_path / "run")
    assert type(run) is Trainer


def test_without_a_name_the_task_chooses_and_the_run_says_which(recipe, data_root, tmp_path):
    assert build(recipe, data_root, tmp_path / "run").config.trainer == "segmentation"


def test_a_recipe_of_0_1_0_for_classification_is_trained_as_its_task_says(classifier_recipe, shapes_root, tmp_path):
    """It says "segmentation" where it said nothing, since that was the default and nothing read it."""
    document = json.loads(classifier_recipe.read_text())
    document["train"]["trainer"] = "segmentation"
    classifier_recipe.write_text(json.dumps(document))
    data = load_dataset("class-folders", shapes_root, "train")
    run = build_trainer(cfg_file=classifier_recipe, train_dataset=data, work_dir=tmp_path / "run", device="cpu")
    assert run.config.trainer == "classification"


def test_a_name_that_no_plugin_has_is_said_with_the_nearest(recipe, data_root, tmp_path):
    with pytest.raises(UnknownNameError, match=r"train\.trainer .*'segmentatoin'.*Did you mean 'segmentation'.*None"):
        build(recipe, data_root, tmp_path / "run", cfg_options={"train.trainer": "segmentatoin"})
