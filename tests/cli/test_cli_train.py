"""`segpipe train`: from pictures in a folder to a model folder, with one command."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from training_material import data_root, recipe, write_pictures  # noqa: F401

from segpipe.cli.main import main
from segpipe.hub import ModelFolder
from segpipe.trainers.run.checkpoint import list_checkpoints
from segpipe.trainers.run.run_log import read_log

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No launcher's variables."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def arguments(recipe, data_root):  # noqa: F811
    """The command for the tiny run."""
    return ["train", "--config", str(recipe), "--data", "folder", str(data_root), "--device", "cpu"]


def start(arguments, *, rank=0, ranks=1):
    """The command as a process, as torchrun starts it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RANK": str(rank), "WORLD_SIZE": str(ranks)}
    environment |= {"LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(29200 + os.getpid() % 300)}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-m", "segpipe", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_training_says_what_it_does_and_leaves_a_model_folder(arguments, capsys, tmp_path):
    assert main(arguments) == 0
    said = " ".join(capsys.readouterr().out.split())
    for expected in ("train: 5 images, val: 2", "3: left, right, top", "6 of 2 images, 2.4 passes", "weight decay"):
        assert expected in said
    folder = ModelFolder.open(tmp_path / "work_dir" / "model")
    assert folder.verify() == ()
    assert folder.configuration.dataset.type == "folder"
    assert folder.configuration.dataset.root is None, "a published model does not know the folders of one machine"
    assert Image.open(tmp_path / "work_dir" / "curves.png").format == "PNG"


def test_without_a_terminal_each_evaluation_and_the_end_have_a_line_and_nothing_is_said_twice(arguments, capsys):
    assert main(arguments) == 0
    said = capsys.readouterr().err.splitlines()
    begins = ["Looked at 5 of 5", "Step 3/6, epoch 1.2: mIoU ", "Step 6/6, epoch 2.4: mIoU ", "train: 6 of"]
    assert [line.startswith(begin) for line, begin in zip(said, begins, strict=True)] == [True] * 4
    assert main([*arguments, "--work-dir", "quiet", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_further_data_is_mixed_in_and_written_down_without_its_folder(arguments, capsys, tmp_path):
    more = str(write_pictures(tmp_path / "more"))
    assert main([*arguments, "--mix", "folder", more, "--set", "dataset.train.times=3"]) == 0
    assert "train: 20 images, val: 2" in " ".join(capsys.readouterr().out.split())
    dataset = ModelFolder.open(tmp_path / "work_dir" / "model").configuration.dataset
    assert (dataset.train.times, [(each.type, each.root) for each in dataset.mixed]) == (3, [("folder", None)])


def test_nothing_is_mixed_into_data_that_is_not_named(recipe, capsys):  # noqa: F811
    assert main(["train", "--config", str(recipe), "--mix", "folder", "more"]) == 2
    assert "--mix goes with --data" in capsys.readouterr().err


def test_the_commands_at_the_end_read_images_as_the_run_did(arguments, data_root, capsys):  # noqa: F811
    assert main([*arguments, "--option", "bit_depth=12", "--option", "alpha=drop"]) == 0
    said = capsys.readouterr().out
    image = str(data_root / "images" / "val" / "0.png")
    assert f"segpipe predict {image} --model work_dir/model --bit-depth 12 --alpha drop\n" in said
    assert f'pipeline("image-segmentation", "work_dir/model", bit_depth=12, alpha="drop")("{image}")' in said


def test_the_table_at_the_end_is_that_of_the_weights_in_the_folder(arguments, capsys, tmp_path):
    assert main(arguments) == 0
    table = capsys.readouterr().out
    assert main(["eval", "work_dir/model", "--data", *arguments[4:6], "--device", "cpu", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    for name, iou in [*scores["iou"].items(), ("mean", scores["miou"])]:
        [line] = [line.split() for line in table.splitlines() if line.split()[:1] == [name]]
        assert line == [name, f"{100 * iou:.2f}"]
    [predict] = [line.strip() for line in table.splitlines() if line.startswith("  segpipe predict ")]
    assert main(predict.split()[1:]) == 0


def test_a_dry_run_tries_everything_and_leaves_nothing(arguments, capsys, tmp_path):
    before = sorted(tmp_path.iterdir())
    assert main([*arguments, "--dry-run", "--set", "train.max_steps=100000"]) == 0
    assert "It works: 2 steps" in capsys.readouterr().out
    assert sorted(path for path in tmp_path.iterdir() if path.name != "home") == before


def test_options_of_the_data_set_name_its_classes(arguments, data_root, capsys):  # noqa: F811
    (data_root / "labels.json").unlink()
    assert main([*arguments, "--dry-run"]) == 1
    assert "Nothing says what the classes" in capsys.readouterr().err
    assert main([*arguments, "--dry-run", "--option", "names=red,blue,white"]) == 0
    assert "3: red, blue, white" in capsys.readouterr().out


def test_a_share_is_held_out_where_there_is_no_val_split(arguments, data_root, capsys, tmp_path):  # noqa: F811
    for kind in ("images", "labels"):
        (data_root / kind / "val").rename(data_root / kind / "others")
    assert main([*arguments, "--work-dir", "run"]) == 1
    assert "some of the training data to evaluate on instead, give --val-share 0.1." in capsys.readouterr().err
    assert main([*arguments, "--work-dir", "run", "--val-share", "0.4"]) == 0
    said = capsys.readouterr().out
    counts = re.search(r"train: (\d) images, val: (\d)\n", said)
    assert int(counts[1]) + int(counts[2]) == 5
    assert f"val is {counts[2]} of the 5 samples of data train, held out by a digest" in said
    assert ModelFolder.open(tmp_path / "run" / "model").configuration.dataset.val_share == 0.4
    data = arguments[arguments.index("--data") : arguments.index("--data") + 3]
    assert main(["eval", "run", *data, "--device", "cpu", "--json"]) == 0
    judged = capsys.readouterr()
    assert "the share of 0.4 is taken that the model's run held out" in judged.err
    assert json.loads(judged.out)["pictures"] == int(counts[2])
    [command] = [line for line in said.splitlines() if line.startswith("  segpipe eval")]
    assert main([*command.split()[1:], "--device", "cpu"]) == 0


def test_options_of_single_splits_reach_them(arguments, data_root, capsys):  # noqa: F811
    (data_root / "few.txt").write_text("0\n1\n")
    (data_root / "one.txt").write_text("1\n")
    options = [part for text in ("train.split_file=few.txt", "valid.split_file=one.txt") for part in ("--option", text)]
    assert main([*arguments, "--dry-run", *options]) == 0
    assert "train: 2 images, val: 1\n" in capsys.readouterr().out


def test_options_change_the_recipe(arguments, tmp_path):
    assert main([*arguments, "--max-epochs", "1", "--work-dir", "run", "--set", "train.optimizer.lr=0.001"]) == 0
    steps = [line for line in read_log(tmp_path / "run" / "log.jsonl") if line["event"] == "step"]
    assert len(steps) == 3  # five pictures in batches of two
    assert ModelFolder.open(tmp_path / "run" / "model").configuration.train.optimizer.lr == 0.001


@pytest.mark.slow
def test_a_run_that_is_told_to_stop_says_how_it_goes_on(arguments, tmp_path):
    endless = [*arguments, "--set", "evaluation.every=100000", "--set", "train.checkpoint.every=100000"]
    process = start([*endless, "--max-steps", "100000"])
    log = tmp_path / "work_dir" / "log.jsonl"
    while process.poll() is None and (not log.exists() or not log.read_text()):
        pass
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 75
    [checkpoint] = list_checkpoints(tmp_path / "work_dir" / "checkpoints")
    stopped = f"Stopped at step {int(checkpoint.name.removeprefix('step-')):,} of 100,000, as told; everything is saved"
    assert error.count(stopped) == 1
    assert "To go on, run the same command again" in error


@pytest.mark.slow
def test_under_torchrun_one_process_speaks(arguments):
    processes = [start(arguments, rank=rank, ranks=2) for rank in range(2)]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "2 processes" in said[0][0]
    assert said[1][0] == ""
    assert "train: 6 of 6 steps" in said[0][1]
    assert not re.search("segpipe:|train:|Step|Looked", said[1][1])


def test_a_preset_from_scratch_downloads_nothing(data_root, capsys, monkeypatch):  # noqa: F811
    monkeypatch.setenv("SEGPIPE_OFFLINE", "1")
    arguments = ["train", "--model", "segformer-b0-ade20k", "--from-scratch", "--data", "folder", str(data_root)]
    small = ["train.batch_size=1", "train.workers=0", "train.transforms=[]", "train.precision=float32"]
    changes = [part for change in small for part in ("--set", change)]
    assert main([*arguments, "--dry-run", "--device", "cpu", *changes]) == 0
    assert "from random weights" in capsys.readouterr().out


def test_without_data_or_a_model_it_asks_for_them(recipe, capsys):  # noqa: F811
    assert main(["train"]) == 2
    assert "Give --model NAME" in capsys.readouterr().err
    assert main(["train", "--config", str(recipe)]) == 1
    assert "Give --data NAME ROOT" in capsys.readouterr().err


def test_a_dry_run_says_that_a_preset_has_no_weights_and_counts_in_epochs(data_root, capsys):  # noqa: F811
    small = [
        "train.batch_size=1",
        "train.workers=0",
        "preprocessor.resize=null",
        'train.transforms=[{"type": "random_crop", "size": [40, 40]}]',
        "evaluation.every_epochs=2",
    ]
    changes = [part for change in small for part in ("--set", change)]
    command = ["train", "--model", "segformer-b0-cityscapes-libai", "--data", "folder", str(data_root), "--dry-run"]
    assert main([*command, *changes]) == 0
    text = " ".join("".join(capsys.readouterr()).split())
    assert "random weights, since there are no public ones of segformer-b0-cityscapes-libai" in text
    assert "scores every 2 epochs and at the end" in text
    assert "cpu, float16" in text


def test_what_is_mixed_in_is_named_in_one_place(arguments, data_root, capsys, tmp_path):  # noqa: F811
    more = str(write_pictures(tmp_path / "more"))
    mixed = ["--set", f'dataset.mixed=[{{"type": "folder", "root": "{more}"}}]']
    assert main([*arguments, "--mix", "folder", more, "--set", "dataset.mixed=[]"]) == 1
    assert "Give --mix or dataset.mixed, not both" in capsys.readouterr().err
    assert main([*arguments, *mixed, "--dry-run"]) == 0
    assert "train: 10 images" in " ".join(capsys.readouterr().out.split())
