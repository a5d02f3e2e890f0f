"""What may go wrong in a run: full disks, pictures without a label, data sets that are too small, broken files."""

import errno

import numpy as np
import pytest
import torch
from PIL import Image

from segpipe import build_trainer, load_dataset
from segpipe.errors import InputError, SegpipeError
from segpipe.trainers import checkpoint as checkpoints
from segpipe.trainers.checkpoint import list_checkpoints, load_newest
from segpipe.trainers.run_log import read_log

NAMES = ("left", "right", "top")


def data(data_root, split="train"):
    return load_dataset("folder", data_root, split, names=NAMES)


def trainer(recipe, work_dir, dataset, **arguments):
    return build_trainer(cfg_file=recipe, work_dir=work_dir, train_dataset=dataset, device="cpu", **arguments)


def test_a_full_disk_leaves_the_older_checkpoint_and_the_run_goes_on_later(recipe, data_root, tmp_path, monkeypatch):
    whole = trainer(recipe, tmp_path / "whole", data(data_root))
    whole.train()
    run = trainer(recipe, tmp_path / "run", data(data_root))
    write = checkpoints.write_tensors

    def fill_up(tensors, path):
        if list_checkpoints(tmp_path / "run" / "checkpoints"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(tensors, path)

    monkeypatch.setattr(checkpoints, "write_tensors", fill_up)
    with pytest.raises(OSError, match="No space left"):
        run.train()
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000002"]
    monkeypatch.setattr(checkpoints, "write_tensors", write)
    resumed = trainer(recipe, tmp_path / "run", data(data_root))
    resumed.train()
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True))


@pytest.mark.parametrize("call", ["write_tensors", "build_manifest", "write_manifest"])
def test_a_kill_at_any_point_of_a_save_leaves_the_older_checkpoint(recipe, data_root, tmp_path, monkeypatch, call):
    run = trainer(recipe, tmp_path / "run", data(data_root))
    original = getattr(checkpoints, call)

    def break_off(*arguments):
        if list_checkpoints(tmp_path / "run" / "checkpoints"):
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(checkpoints, call, break_off)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert load_newest(tmp_path / "run" / "checkpoints").progress.step == 2


def test_pictures_without_a_label_change_nothing_and_give_no_nan(recipe, data_root, tmp_path):
    for path in (data_root / "labels" / "train").iterdir():
        Image.fromarray(np.full((40, 48), 255, np.uint8)).save(path)
    options = {"train.optimizer.weight_decay": 0.0}
    run = trainer(recipe, tmp_path / "run", data(data_root), cfg_options=options, check_data=False)
    before = [parameter.clone() for parameter in run.model.parameters()]
    with pytest.raises(InputError, match="a loss of 0 and no gradient"):
        run.train()
    assert all(torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True))
    lines = read_log(tmp_path / "run" / "log.jsonl")
    assert {line["loss"] for line in lines if line["event"] == "step"} == {0.0}


@pytest.mark.parametrize("pictures", [1, 3])
def test_a_few_pictures_are_enough(recipe, data_root, tmp_path, pictures):
    folder = trainer(recipe, tmp_path / "run", data(data_root)[:pictures]).train()
    assert folder.verify() == ()


def test_no_picture_at_all_is_said_before_the_first_step(recipe, data_root, tmp_path):
    with pytest.raises(InputError, match=r"(?i)empty|no picture|at least"):
        trainer(recipe, tmp_path / "run", data(data_root)[:0]).train()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_picture_stops_the_run_with_its_name(recipe, data_root, tmp_path, workers):
    broken = data_root / "images" / "train" / "3.png"
    broken.write_bytes(broken.read_bytes()[:200])
    options = {"train.workers": workers}
    run = trainer(recipe, tmp_path / "run", data(data_root), cfg_options=options, check_data=False)
    with pytest.raises(SegpipeError, match=r"3\.png"):
        run.train()


def test_a_work_directory_that_cannot_be_made_is_named(recipe, data_root, tmp_path):
    (tmp_path / "run").write_text("a file stands here")
    with pytest.raises(InputError, match=r"The work directory .*run cannot be written: File exists.*another work_dir"):
        trainer(recipe, tmp_path / "run", data(data_root)).train()
