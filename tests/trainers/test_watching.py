"""What a person sees of a run in Python: a bar or lines, a line for each evaluation, nothing twice."""

import io
import logging
import re
import sys
from types import SimpleNamespace

import pytest
from runs import build

from segpipe.trainers.run.messages import evaluation_line
from segpipe.trainers.run.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_without_a_terminal_there_is_a_line_for_the_data_each_evaluation_and_the_end(
    recipe, data_root, tmp_path, capsys
):
    build(recipe, data_root, tmp_path / "run").train()
    lines = capsys.readouterr().err.splitlines()
    patterns = [
        r"Looked at 5 of 5 labels of data train and 2 of 2 labels of data val: no errors",
        r"Step 3/6, epoch 1\.2: mIoU \d+\.\d\d %, best so far, \S+ s",
        r"Step 6/6, epoch 2\.4: mIoU \d+\.\d\d %, best .*, \S+ s",
        r"train: 6 of 6 steps in 0:00:\d\d, loss \d\.\d+, lr 0\.000333",
    ]
    assert [bool(re.fullmatch(pattern, line)) for pattern, line in zip(patterns, lines, strict=True)] == [True] * 4


def test_a_terminal_has_bars_for_the_look_at_the_labels_the_steps_and_the_evaluations(
    recipe, data_root, tmp_path, monkeypatch
):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    build(recipe, data_root, tmp_path / "run").train()
    shown = terminal.getvalue()
    for bar in (
        r"check labels:",
        r"evaluate:",
        r"train: 100%.* 6/6 steps \[00:0\d<00:00, loss \d\.\d+, lr 0\.000333\]",
    ):
        assert re.search(bar, shown), bar
    assert len(re.findall("^.*Step 3/6, epoch 1.2: mIoU", shown, re.MULTILINE)) == 1


def test_with_progress_off_nothing_is_shown_and_the_log_is_the_same(recipe, data_root, tmp_path, capsys):
    run = build(recipe, data_root, tmp_path / "run", progress=False)
    run.train()
    run.evaluate()
    assert "".join(capsys.readouterr()) == ""
    assert (tmp_path / "run" / "log.jsonl").read_text().count('"step"') > 6


def test_lines_that_the_log_shows_are_not_written_again(recipe, data_root, tmp_path, capsys, caplog):
    caplog.set_level(logging.INFO, logger="segpipe")
    build(recipe, data_root, tmp_path / "run").train()
    assert capsys.readouterr().err == ""
    assert [line for line in caplog.messages if line.startswith("Step 3/6, epoch 1.2: mIoU ")]


def test_a_run_that_goes_on_says_from_where(recipe, data_root, tmp_path, capsys):
    run = build(recipe, data_root, tmp_path / "run")
    step = run.parts.engine.step
    run.parts.engine.step = lambda batches, number: (number == 3 and run._stop(), step(batches, number))[1]
    with pytest.raises(SystemExit):
        run.train()
    capsys.readouterr()
    build(recipe, data_root, tmp_path / "run").train()
    assert capsys.readouterr().err.splitlines()[0] == f"Going on from step 4 of 6 in {tmp_path / 'run'}"


@pytest.mark.parametrize(
    ("progress", "seconds", "line"),
    [
        (Progress(), 12.3, "Before the first step: mIoU 50.00 %, 12 s"),
        (Progress(4, 8, 0.5, 4), 0.25, "Step 4/6, epoch 1.6: mIoU 50.00 %, best so far, 0.25 s"),
        (
            Progress(6, 12, 0.6, 4, 1),
            700.0,
            "Step 6/6, epoch 2.4: mIoU 50.00 %, best 60.00 % at step 4, 0:11:40",
        ),
        (
            Progress(4, 8, 0.5, 4, first_score=0.75),
            2.0,
            "Step 4/6, epoch 1.6: mIoU 50.00 %, best so far (began at 75.00 %), 2 s",
        ),
        (Progress(4, 8, 0.5, 4, first_score=0.25), 2.0, "Step 4/6, epoch 1.6: mIoU 50.00 %, best so far, 2 s"),
    ],
)
def test_the_line_of_an_evaluation_fits_into_a_terminal(progress, seconds, line):
    parts = SimpleNamespace(max_steps=6, num_samples=5)
    assert evaluation_line(parts, progress, ("miou", 0.5), seconds) == line
    assert len(line) < 80
