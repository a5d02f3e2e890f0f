"""A run goes on with the data that it began with; a change is noticed, named, and accepted on request alone."""

import json
import shutil
from dataclasses import replace

import pytest
from runs import NAMES, build

from segpipe import load_dataset
from segpipe.configuration import LabelSet
from segpipe.errors import CorruptWeightsError, InputError
from segpipe.hub.manifest import build_manifest, write_manifest
from segpipe.trainers import Callback
from segpipe.trainers.run import data_record
from segpipe.trainers.run.checkpoint import CHECKPOINTS, list_checkpoints
from segpipe.trainers.run.data_record import decode_record, describe_changes, encode_record, record_data
from segpipe.trainers.run.resume import resume


class StopAt(Callback):
    def on_step(self, trainer, report):
        if trainer.progress.step == 2:
            trainer._stop()


@pytest.fixture
def stopped(recipe, data_root, tmp_path):
    """A function that builds the trainer of a run that stopped at step 2."""
    with pytest.raises(SystemExit):
        build(recipe, data_root, tmp_path / "run", callbacks=[StopAt()]).train()
    return lambda root=data_root, **arguments: build(recipe, root, tmp_path / "run", **arguments)


def remove(root, split, *numbers):
    for number in numbers:
        (root / "images" / split / f"{number}.png").unlink()
        (root / "labels" / split / f"{number}.png").unlink()


def test_removed_images_are_noticed_and_named(stopped, data_root):
    remove(data_root, "train", 1, 3)
    message = (
        r"since its step 2 the training data had 5 samples and has 3 \(gone: images/train/1\.png with "
        r"labels/train/1\.png, images/train/3\.png with labels/train/3\.png\).*"
        r".*accept_changed_data=True"
    )
    with pytest.raises(InputError, match=message):
        stopped().train()


def test_a_renamed_image_is_noticed(stopped, data_root):
    for kind in ("images", "labels"):
        (data_root / kind / "train" / "4.png").rename(data_root / kind / "train" / "9.png")
    with pytest.raises(InputError, match=r"other names \(gone: images/train/4\.png .*; new: images/train/9\.png"):
        stopped().train()


def test_evaluation_data_that_changed_is_noticed(stopped, data_root):
    remove(data_root, "val", 0)
    with pytest.raises(InputError, match=r"the evaluation data had 2 samples and has 1"):
        stopped().train()


def test_another_order_is_noticed(stopped, data_root):
    train = load_dataset("folder", data_root, "train", names=NAMES)
    with pytest.raises(InputError, match="the training data has its 5 samples in another order"):
        stopped(train_dataset=replace(train, pairs=train.pairs[::-1])).train()


def test_a_data_set_may_move_as_a_whole(stopped, data_root, tmp_path):
    shutil.move(data_root, tmp_path / "elsewhere")
    assert resume(stopped(tmp_path / "elsewhere").parts).step == 2


def test_a_change_that_is_accepted_is_said_and_then_known(stopped, data_root, caplog):
    remove(data_root, "train", 1)
    stopped(accept_changed_data=True, callbacks=[StopAt()]).train()
    assert "Going on from step 2 with changed data: the training data had 5 samples and has 4" in caplog.text
    assert stopped().train().verify() == ()


def test_a_run_by_epochs_goes_on_with_fewer_images(recipe, data_root, tmp_path):
    arguments = {"max_epochs": 4, "cfg_options": {"train.log_every": 1}}
    with pytest.raises(SystemExit):
        build(recipe, data_root, tmp_path / "run", callbacks=[StopAt()], **arguments).train()
    remove(data_root, "train", 0, 1, 2)
    with pytest.raises(InputError, match="had 5 samples and has 2"):
        build(recipe, data_root, tmp_path / "run", **arguments).train()
    run = build(recipe, data_root, tmp_path / "run", accept_changed_data=True, **arguments)
    assert run.train().verify() == ()
    assert run.progress.step == 4


def test_a_checkpoint_without_a_record_is_gone_on_from_with_a_line(stopped, caplog):
    run = stopped()
    for path in list_checkpoints(run.parts.work_dir / CHECKPOINTS):
        files = json.loads((path / "manifest.json").read_text())["files"]
        (path / "data.json").unlink()
        write_manifest(path, build_manifest(path, [file["path"] for file in files if file["path"] != "data.json"]))
    assert resume(run.parts).step == 2
    assert "does not say which data it is of" in caplog.text


def test_masks_of_another_folder_are_noticed(data_root):
    shutil.copytree(data_root / "labels", data_root / "corrected")
    before, now = (
        record_data(load_dataset("folder", data_root, "train", names=NAMES, labels=labels), None)
        for labels in ("labels", "corrected")
    )
    assert "new: images/train/0.png with corrected/train/0.png" in describe_changes(before, now)


@pytest.mark.parametrize("options", [{"bit_depth": 12}, {"alpha": "drop"}, {"label_set": (0, 2, 1)}])
def test_other_options_of_reading_are_noticed(data_root, options):
    usual = {"label_set": LabelSet(names=NAMES, ignore_index=255)}
    if "label_set" in options:
        options = {"label_set": LabelSet(names=NAMES, ignore_index=255, raw_ids=options["label_set"])}
    before, now = (
        record_data(load_dataset("folder", data_root, "train", **chosen), None) for chosen in (usual, usual | options)
    )
    assert describe_changes(before, now).startswith("the training data was read by alpha=auto bit_depth=None and is")
    assert describe_changes(now, decode_record(encode_record(now), origin="here")) is None


def test_of_large_data_sets_the_digest_alone_is_kept(data_root, monkeypatch):
    monkeypatch.setattr(data_record, "MOST_NAMES", 4)
    train = load_dataset("folder", data_root, "train", names=NAMES)
    before, now = record_data(train, None), record_data(train[1:], None)
    assert (before.train.names, before.eval) == (None, None)
    assert len(now.train.names) == 4
    assert describe_changes(before, now) == "the training data had 5 samples and has 4"
    assert describe_changes(before, decode_record(encode_record(before), origin="here")) is None


def test_class_folders_are_recorded_too(shapes_root):
    train = load_dataset("class-folders", shapes_root, "train")
    change = describe_changes(record_data(train, None), record_data(train[1:], None))
    assert f"had {len(train)} samples and has {len(train) - 1} (gone: " in change
    assert describe_changes(record_data(train, None), record_data(train, None)) is None


def test_data_that_tells_no_names_is_counted():
    assert describe_changes(record_data(range(3), None), record_data(range(4), None)).endswith("3 samples and has 4")


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"train": {"count": -1}}', b'{"train": {"count": 1e300}}'])
def test_a_record_that_is_none_is_damage(text):
    with pytest.raises(CorruptWeightsError):
        decode_record(text, origin="data.json")


def test_a_run_with_a_share_held_out_goes_on_and_notices_new_images(recipe, data_root, tmp_path):
    held_out = {"val_share": 0.4, "eval_dataset": None}
    with pytest.raises(SystemExit):
        build(recipe, data_root, tmp_path / "run", callbacks=[StopAt()], **held_out).train()
    trainer = build(recipe, data_root, tmp_path / "run", **held_out)
    trainer.train()
    assert trainer.parts.data.train.count + trainer.parts.data.eval.count == 5
    assert trainer.parts.configuration.dataset.val_share == 0.4
    for kind in ("images", "labels"):
        shutil.copy(data_root / kind / "train" / "0.png", data_root / kind / "train" / "new.png")
    with pytest.raises(InputError, match=r"data had . samples and has . \(new: images/train/new\.png"):
        build(recipe, data_root, tmp_path / "run", **held_out).train()


def test_a_share_and_evaluation_data_are_not_both_taken(recipe, data_root, tmp_path):
    with pytest.raises(InputError, match=r"val_share=0\.4 and eval_dataset both say what to evaluate on"):
        build(recipe, data_root, tmp_path / "run", val_share=0.4)
