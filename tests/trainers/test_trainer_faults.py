"""What may go wrong in a run: full disks, pictures without a label, data sets that are too small, broken files."""

import errno
import io
import resource
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from segpipe import build_trainer, load_dataset
from segpipe.errors import CacheError, InputError, SegpipeError
from segpipe.trainers import Callback, trainer as trainers
from segpipe.trainers.run import checkpoint as checkpoints, outcome, run_log
from segpipe.trainers.run.checkpoint import list_checkpoints
from segpipe.trainers.run.checkpoint_reading import load_newest
from segpipe.trainers.run.run_log import read_log

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
    with pytest.raises(
        InputError, match=r"The work directory .*run cannot be written: File exists.*Give another: work_dir="
    ):
        trainer(recipe, tmp_path / "run", data(data_root)).train()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.01, 1.5, 1.99])
def test_a_disk_that_is_full_at_any_file_of_a_checkpoint_is_explained(recipe, data_root, tmp_path, monkeypatch, share):
    """The limit is on the bytes of each file; the optimiser's has about twice the weights'."""
    run = trainer(recipe, tmp_path / "run", data(data_root), cfg_options={"train.ema_decay": 0.9})
    save, place = trainers.save_checkpoint, tmp_path / "run" / "checkpoints"

    def save_on_a_full_disk(checkpoint, folder, *, keep):
        kept = list_checkpoints(folder)
        if not kept:
            return save(checkpoint, folder, keep=keep)
        size = (kept[-1] / "model.safetensors").stat().st_size
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * size), before[1]))
        try:
            return save(checkpoint, folder, keep=keep)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    monkeypatch.setattr(trainers, "save_checkpoint", save_on_a_full_disk)
    with pytest.raises(CacheError, match=r"step-00000004 cannot be written: .*MiB free\. .*Make room.*goes on"):
        run.train()
    assert [path.name for path in place.iterdir()] == ["step-00000002"]
    assert load_newest(place).progress.step == 2


def test_a_full_disk_at_the_end_leaves_the_model_folder_before_and_can_go_on(recipe, data_root, tmp_path, monkeypatch):
    trainer(recipe, tmp_path / "run", data(data_root), max_steps=2).train()
    (tmp_path / "run" / "model" / "README.md").write_text("kept")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    write = outcome.write_tensors

    def refuse(tensors, path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(outcome, "write_tensors", refuse)
    with pytest.raises(CacheError, match=r"model cannot be written: No space left.*The run itself is saved"):
        trainer(recipe, tmp_path / "run", data(data_root)).train()
    assert (tmp_path / "run" / "model" / "README.md").read_text() == "kept"
    assert not [path.name for path in (tmp_path / "run").iterdir() if "fresh" in path.name or "incoming" in path.name]
    monkeypatch.setattr(outcome, "write_tensors", write)
    assert trainer(recipe, tmp_path / "run", data(data_root)).train().verify() == ()


def test_a_full_disk_costs_the_log_and_the_curves_and_is_said_once(recipe, data_root, tmp_path, monkeypatch, caplog):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.txt").symlink_to("/dev/full")

    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    class FillUp(Callback):
        def on_step(self, trainer, report):
            if trainer.progress.step == 3:
                monkeypatch.setattr(run_log, "_open_for_lines", lambda path: path.touch() or Full())
                (tmp_path / "run" / "log.jsonl").rename(tmp_path / "old.jsonl")

        def on_checkpoint(self, trainer, path):
            if trainer.progress.step == 6:
                shutil.copy(tmp_path / "old.jsonl", tmp_path / "run" / "log.jsonl")

    monkeypatch.setattr("segpipe.trainers.run.curves.write_atomically", lambda path, data: Full().write(data))
    run = trainer(recipe, tmp_path / "run", data(data_root), eval_dataset=data(data_root, "val"), callbacks=[FillUp()])
    assert run.train().verify() == ()
    for name in ("log.jsonl", "results.txt", "curves.png"):
        lines = [record.getMessage() for record in caplog.records if f"{name}: " in record.getMessage()]
        assert len(lines) == 1, (name, lines)


def test_a_working_directory_that_is_gone_is_explained(recipe, data_root, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    run = trainer(recipe, "run", data(data_root))
    gone.rmdir()
    with pytest.raises(SegpipeError, match=r"run"):
        run.train()
    with pytest.raises(SegpipeError, match=r"work_dir|current folder"):
        trainer(recipe, "run", data(data_root)).train()


def test_a_working_directory_that_goes_during_the_run_is_explained(recipe, data_root, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)

    class Remove(Callback):
        def on_step(self, trainer, report):
            if trainer.progress.step == 3:
                shutil.rmtree(gone)

    with pytest.raises(SegpipeError, match=r"run.*cannot be written"):
        trainer(recipe, "run", data(data_root), callbacks=[Remove()]).train()
