"""The look at the labels before the first step, and labels of which nothing can be learnt at run time."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from runs import NAMES, build, run_in_processes

from segpipe import load_dataset
from segpipe.cli.main import main
from segpipe.configuration import LabelSet
from segpipe.data import Sample, SegmentationDataset, concat
from segpipe.errors import InputError


def put_labels(root, change, split="train"):
    """Each label as `change` makes it from its values 0, 1 and 2."""
    for path in sorted((root / "labels" / split).iterdir()):
        Image.fromarray(change(np.asarray(Image.open(path))).astype(np.uint8)).save(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda label: (label == 2) * 255, "a class that is ignored: .*If 255 is a class, give names="),
        (lambda label: np.full_like(label, 255), "no labeled pixels: no pixel of any label .* the values are 255"),
        (lambda label: label + 8, "values that are not a class: .*value 8 on .*Name all classes"),
        (lambda label: label[1:], "another size than their image: .*is 39 × 48"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("split", ["train", "val"])
def test_what_data_check_calls_an_error_stops_a_run_before_its_first_step(
    recipe, data_root, tmp_path, change, message, split
):
    put_labels(data_root, change, split)
    trainer = build(recipe, data_root, tmp_path / "run")
    with pytest.raises(InputError, match=rf"(?s)^data {split} cannot be right.*{message}.*check_data=False"):
        trainer.train()
    assert trainer.progress.step == 0


def test_the_look_can_be_left_out(recipe, data_root, tmp_path):
    put_labels(data_root, lambda label: np.where(label == 2, 9, label))
    assert build(recipe, data_root, tmp_path / "run", check_data=False, max_steps=1).train().path.is_dir()


def test_data_of_which_nothing_is_wrong_gets_one_line(recipe, data_root, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="segpipe.trainers.data_check")
    build(recipe, data_root, tmp_path / "run", max_steps=1).train()
    lines = [record.getMessage() for record in caplog.records if record.name == "segpipe.trainers.data_check"]
    assert lines == ["Looked at 5 of 5 labels of data train and 2 of 2 labels of data val: no errors"]


def test_all_parts_of_mixed_data_are_looked_at(recipe, data_root, tmp_path, caplog):
    """Of 200 sound labels and two of another kind, one of these two is among those that are read."""
    sound = load_dataset("folder", data_root, "train", names=NAMES)
    put_labels(data_root, lambda label: label + 8, "val")
    odd = load_dataset("folder", data_root, "val", names=NAMES)
    many = SegmentationDataset(sound.name, sound.split, sound.labels, sound.pairs * 40)
    trainer = build(recipe, data_root, tmp_path / "run", train_dataset=concat([many, odd]), eval_dataset=None)
    with pytest.raises(InputError, match=r"(?s)in 24 of 202 labels:.*value 8"):
        trainer.train()


def test_pictures_in_both_splits_are_warned_of(recipe, data_root, tmp_path, caplog):
    data = load_dataset("folder", data_root, "train", names=NAMES)
    build(recipe, data_root, tmp_path / "run", eval_dataset=data, max_steps=1).train()
    assert "5 of 5 images to evaluate on are trained on as well" in caplog.text


def test_one_split_under_two_names_is_refused(recipe, data_root, tmp_path):
    """As where an option that names the files holds for both."""
    data = load_dataset("folder", data_root, "train", names=NAMES)
    trainer = build(recipe, data_root, tmp_path / "run", eval_dataset=replace(data, split="val"))
    with pytest.raises(InputError, match=r"All 5 images of data val are .*val\.annotations.*val_share"):
        trainer.train()


class Foreign:
    """A data set of a third party."""

    labels = LabelSet(names=NAMES)

    def __init__(self, value):
        self.value = value

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index >= 3:
            raise IndexError
        if self.value is None:
            raise OSError("the disk is gone")
        return Sample(np.zeros((40, 48, 3), np.uint8), np.full((40, 48), self.value, np.uint8), f"number {index}")


@pytest.mark.parametrize(
    ("value", "message"), [(7, "value 7 on 1920 pixels"), (255, "no pixel of any label"), (None, "the disk is gone")]
)
def test_data_sets_of_third_parties_are_looked_at_too(recipe, data_root, tmp_path, value, message):
    trainer = build(recipe, data_root, tmp_path / "run", train_dataset=Foreign(value), eval_dataset=None)
    with pytest.raises(InputError, match=rf"(?s)Foreign cannot be right.*{message}"):
        trainer.train()


def test_a_run_whose_labels_give_no_loss_ends_with_an_error(recipe, data_root, tmp_path):
    put_labels(data_root, lambda label: np.full_like(label, 255))
    trainer = build(recipe, data_root, tmp_path / "run", check_data=False)
    with pytest.raises(InputError, match="The labels of 6 samples in a row gave a loss of 0"):  # of five pictures
        trainer.train()
    short = build(recipe, data_root, tmp_path / "short", check_data=False, max_steps=1)
    with pytest.raises(InputError, match="The labels of 2 samples"):
        short.train()


def test_an_evaluation_without_a_labelled_pixel_is_an_error(recipe, data_root, tmp_path):
    put_labels(data_root, lambda label: np.full_like(label, 255), "val")
    with pytest.raises(InputError, match=r"labels of SegmentationDataset\(data val.* hold nothing but ignored pixels"):
        build(recipe, data_root, tmp_path / "run", check_data=False).train()


def test_the_command_stops_with_exit_code_1_and_names_its_switch(recipe, data_root, tmp_path, capsys):
    put_labels(data_root, lambda label: (label == 2) * 255)
    arguments = ["train", "--config", str(recipe), "--data", "folder", str(data_root), "--option", "names=bg,fg"]
    arguments += ["--work-dir", str(tmp_path / "run"), "--max-steps", "1", "--set", "model.num_classes=2"]
    arguments += ["--set", 'labels.names=["bg","fg"]', "--device", "cpu"]
    assert main(arguments) == 1
    assert "--skip-data-check" in capsys.readouterr().err
    assert main([*arguments, "--skip-data-check"]) == 0


PROCESSES = """
import sys
from segpipe import build_trainer, load_dataset
from segpipe.errors import InputError
recipe, root, work_dir = sys.argv[1:]
train = load_dataset("folder", root, "train", names=("left", "right", "top"))
try:
    build_trainer(cfg_file=recipe, train_dataset=train, work_dir=work_dir, device="cpu").train()
except InputError as error:
    print(str(error).splitlines()[1].strip())
"""


@pytest.mark.slow
def test_all_processes_of_a_run_stop_with_the_same_error(recipe, data_root, tmp_path):
    put_labels(data_root, lambda label: label + 8)
    said = run_in_processes(PROCESSES, [str(recipe), str(data_root), str(tmp_path / "run")], ranks=2)
    assert said[0][0] == said[1][0]
    assert "labels with values that are not a class" in said[0][0]
