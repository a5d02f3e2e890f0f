"""A run's work directory stands for its model wherever a model folder is taken, and says so."""

import logging
import shutil

import pytest
from hub_material import make_folder

from segpipe.errors import ModelFolderError
from segpipe.hub import Hub, ModelFolder


@pytest.fixture
def work_dir(tmp_path):
    """What a finished run leaves behind, as far as bytes go."""
    folder = tmp_path / "runs" / "first"
    make_folder(folder / "model")
    (folder / "log.jsonl").write_text('{"event": "start"}\n')
    (folder / "checkpoints" / "step-00000400").mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", [str, lambda path: path, lambda path: path.as_uri()], ids=["text", "path", "file URL"])
def test_its_name_is_that_of_the_model_which_was_trained_there(work_dir, caplog, name):
    caplog.set_level(logging.INFO, logger="segpipe.hub.folder")
    assert Hub().resolve(name(work_dir)).path == work_dir / "model"
    assert caplog.messages == [f"{work_dir} is the work directory of a run; its model is {work_dir / 'model'}"]


def test_a_recipe_or_checkpoints_beside_the_model_change_nothing(work_dir):
    (work_dir / "configuration.json").write_bytes((work_dir / "model" / "configuration.json").read_bytes())
    assert ModelFolder.open(work_dir).path == work_dir / "model"
    shutil.rmtree(work_dir / "checkpoints")
    assert ModelFolder.open(work_dir).path == work_dir / "model"


def test_a_model_folder_with_the_log_of_its_training_is_itself(work_dir):
    shutil.copyfile(work_dir / "log.jsonl", work_dir / "model" / "log.jsonl")
    assert ModelFolder.open(work_dir / "model").path == work_dir / "model"


def test_a_run_that_is_not_finished_names_what_can_be_used_and_that_can_be_used(work_dir):
    shutil.rmtree(work_dir / "model")
    shutil.rmtree(work_dir / "checkpoints")
    with pytest.raises(ModelFolderError, match=r"not finished, so .* no folder model yet.*saved no checkpoint so far"):
        ModelFolder.open(work_dir)
    for place, steps in (("checkpoints", (200, 400)), ("best", (300,))):
        for step in steps:
            make_folder(work_dir / place / f"step-{step:08}")
        newest = work_dir / place / f"step-{steps[-1]:08}"
        with pytest.raises(ModelFolderError, match=f"can be used as a model: {newest}"):
            Hub().resolve(work_dir)
        assert ModelFolder.open(newest).weights == newest / "model.safetensors"
        with pytest.raises(ModelFolderError, match=f"the newest is {newest}"):
            Hub().resolve(work_dir / place)


def test_publishing_it_publishes_the_model_alone(work_dir, tmp_path):
    (work_dir / "link").symlink_to("/etc/hostname")  # beside the model, where it does no harm
    name = Hub().publish(work_dir, (tmp_path / "hub" / "team" / "street").as_uri())
    assert not (tmp_path / "hub" / "team" / "street" / "main" / "checkpoints").exists()
    assert Hub().resolve(name).verify() == ()
