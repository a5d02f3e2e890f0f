"""The card of a trained model: how it was made, without the machine it was made on, and the run in a table."""

import re
import shutil

import pytest
from runs import NAMES, build

from segpipe import build_trainer, load_dataset
from segpipe.hub import ModelFolder
from segpipe.trainers.run.card import MOST_ROWS, command, run_table


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["/opt/bin/segpipe", "train", "--work-dir", "/home/me/runs/first"], "segpipe train --work-dir first"),
        (
            ["/x/segpipe/__main__.py", "train", "--data", "camvid", "/data/CamVid/"],
            "segpipe train --data camvid CamVid",
        ),
        (["train.py", "--work-dir=/home/me/my runs/first"], "train.py --work-dir=first"),
        (["train.py", "--model", "file:///home/me/hub/street@v2"], "train.py --model street@v2"),
        (["train.py", "--set", 'dataset={"root": "/home/me/x"}'], 'train.py --set \'dataset={"root": "x"}\''),
        (["-c", r"C:\Users\me\x", "runs/first", "../a"], "python -c x runs/first ../a"),
        (["train.py", "https://me:secret@example.org/a/b"], "train.py https://example.org/a/b"),
        (["train.py", "hf:owner/name", "names=road,sky", "a/b=3"], "train.py hf:owner/name names=road,sky a/b=3"),
        (["train.py", "paths=/a/b,/c/d", "/"], "train.py paths=b,d /"),
    ],
)
def test_the_command_says_nothing_of_the_machines_folders(arguments, expected):
    assert command(arguments) == expected


def step(number, loss, rate=0.01):
    return {"event": "step", "step": number, "loss": loss, "lr": rate}


def evaluation(number, miou):
    return {"event": "evaluation", "step": number, "miou": miou}


def rows_of(table):
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_table_has_the_mean_loss_between_evaluations():
    # Step 2 was done again after a kill; step 3 had no number for a loss.
    lines = [step(1, 4.0), step(2, 9.0), step(2, 2.0, 0.02), evaluation(2, 0.25), step(3, float("nan")), step(4, 1.0)]
    table = run_table([*lines, evaluation(4, float("nan")), evaluation(5, 0.5)])
    assert rows_of(table) == [
        ["2", "3.0000", "0.02", "25.00"],
        ["4", "1.0000", "0.01", "–"],
        ["5", "–", "0.01", "50.00"],
    ]


def test_a_long_run_is_told_in_a_few_rows_with_the_best_and_the_last():
    lines = [line for number in range(1, 1001) for line in (step(number, 1.0), evaluation(number, number == 777))]
    steps = [int(row[0]) for row in rows_of(run_table(lines))]
    assert len(steps) == MOST_ROWS
    assert {1, 777, 1000} <= set(steps)


def test_a_run_without_evaluations_has_its_logged_steps_and_one_without_a_log_no_table():
    assert rows_of(run_table([step(10, 2.0), step(20, 1.0)])) == [
        ["10", "2.0000", "0.01", "–"],
        ["20", "1.0000", "0.01", "–"],
    ]
    assert run_table([]) == ""


def test_the_folder_ships_the_runs_log_and_curves_and_no_folder_of_the_machine(
    recipe, data_root, tmp_path, monkeypatch
):
    monkeypatch.setattr("sys.argv", ["train.py", str(data_root)])
    train, val = (load_dataset("folder", data_root, split) for split in ("train", "val"))
    options = {"dataset": {"type": "folder", "root": str(data_root)}}
    run = {"work_dir": tmp_path / "run", "device": "cpu", "cfg_options": options}
    folder = build_trainer(cfg_file=recipe, train_dataset=train, eval_dataset=val, **run).train()
    assert folder.verify() == ()
    for name in ("log.jsonl", "curves.png"):
        assert (folder.path / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
    card = (folder.path / "README.md").read_text()
    assert "# run\n" in card
    assert "    train.py data\n" in card
    assert [line.split(" | ")[0] for line in card.splitlines() if line.startswith(("| 3 |", "| 6 |"))] == ["| 3", "| 6"]
    texts = [path.read_text() for path in folder.path.iterdir() if path.suffix in (".json", ".jsonl", ".md")]
    assert not any(str(tmp_path) in text for text in texts)
    assert ModelFolder.open(folder.path).configuration.dataset.type == "folder"


@pytest.mark.parametrize("work_dir", ["runs/first", "first", "absolute"])
def test_the_cards_code_runs_where_its_reader_stands(recipe, data_root, tmp_path, monkeypatch, capsys, work_dir):
    """Where the run was started; an absolute path is not shown, and the code is for the folder itself."""
    monkeypatch.chdir(tmp_path)
    folder = build(recipe, data_root, tmp_path / "run" if work_dir == "absolute" else work_dir, max_steps=1).train()
    card = (folder.path / "README.md").read_text()
    if work_dir == "absolute":
        monkeypatch.chdir(folder.path)
    shutil.copyfile(data_root / "images" / "val" / "0.png", "image.jpg")
    [code] = re.findall("```python\n(.*?)```", card, re.DOTALL)
    exec(code, {})
    said = capsys.readouterr().out
    assert any(name in said for name in NAMES)
