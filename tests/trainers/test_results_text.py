"""`results.txt`: a block for each evaluation, with the log's numbers, once each, also after a resumption."""

import re

import pytest
from runs import build

from segpipe import build_trainer, load_dataset
from segpipe.evaluation.reports import mmseg_tables
from segpipe.trainers import Callback
from segpipe.trainers.callbacks import add_block
from segpipe.trainers.run.run_log import read_log


class Breaking(Callback):
    """Keeps the scores, and breaks a run off in a step, as a kill does: nothing is saved or closed."""

    def __init__(self, step=None):
        self.step, self.scores = step, []

    def on_step(self, trainer, report):
        if trainer.progress.step == self.step:
            raise KeyboardInterrupt

    def on_evaluation(self, trainer, scores):
        self.scores.append(scores)


def test_each_evaluation_adds_its_losses_rate_and_scores(recipe, data_root, tmp_path):
    watching = Breaking()
    build(recipe, data_root, tmp_path / "run", callbacks=[watching]).train()
    text = (tmp_path / "run" / "results.txt").read_text(encoding="utf-8")
    steps = [line for line in read_log(tmp_path / "run" / "log.jsonl") if line["event"] == "step"]
    for number, scores in enumerate(watching.scores):
        lines = steps[3 * number : 3 * number + 3]
        last, loss = lines[-1], sum(line["loss"] for line in lines) / 3
        head = f"step {last['step']}, epoch {last['epoch']:.2f}: train loss {loss:.4f}, learning rate {last['lr']:.4g}"
        assert f"{head}\n{mmseg_tables(scores)}\n\n" in text
    assert re.findall(r"^step (\d+)", text, re.MULTILINE) == ["3", "6"]


@pytest.mark.parametrize("broken", [4, 5])
def test_a_resumed_run_writes_what_the_whole_run_writes(recipe, data_root, tmp_path, broken):
    """Checkpoints are at 2, 4 and 6: broken at 4, the evaluation of step 3 is done again."""
    build(recipe, data_root, tmp_path / "whole").train()
    with pytest.raises(KeyboardInterrupt):
        build(recipe, data_root, tmp_path / "run", callbacks=[Breaking(broken)]).train()
    build(recipe, data_root, tmp_path / "run").train()
    found, expected = ((tmp_path / name / "results.txt").read_text(encoding="utf-8") for name in ("run", "whole"))
    assert found == expected


def test_a_block_takes_the_place_of_its_own_step_and_of_later_ones(tmp_path):
    path = tmp_path / "results.txt"
    for step in (100, 200, 300, 200):
        add_block(path, step, f"step {step}, epoch 1.00: train loss 0\nstep of a table\n\n")
    assert re.findall(r"^step (\d+),", path.read_text(encoding="utf-8"), re.MULTILINE) == ["100", "200"]
    assert [path.name for path in tmp_path.iterdir()] == ["results.txt"]


def test_without_a_logged_step_the_loss_is_a_dash(recipe, data_root, tmp_path):
    build(recipe, data_root, tmp_path / "run", cfg_options={"train.log_every": 6}).train()
    first, second = re.findall(r"train loss (\S+),", (tmp_path / "run" / "results.txt").read_text(encoding="utf-8"))
    assert first == "–"
    assert float(second) > 0


def test_a_classifiers_results_are_its_shares(classifier_recipe, shapes_root, tmp_path):
    data = {split: load_dataset("class-folders", shapes_root, split) for split in ("train", "val")}
    watching = Breaking()
    build_trainer(
        cfg_file=classifier_recipe,
        train_dataset=data["train"],
        eval_dataset=data["val"],
        work_dir=tmp_path / "run",
        device="cpu",
        callbacks=[watching],
    ).train()
    text = (tmp_path / "run" / "results.txt").read_text(encoding="utf-8")
    assert text.count("Acc@1") == len(watching.scores) == 2
    assert all(scores.table() in text for scores in watching.scores)


def test_a_file_that_cannot_be_written_ends_no_run(recipe, data_root, tmp_path, caplog):
    (tmp_path / "run" / "results.txt").mkdir(parents=True)
    build(recipe, data_root, tmp_path / "run").train()
    assert "Training goes on without it" in caplog.text


def test_a_note_in_another_encoding_stays_and_ends_no_run(tmp_path):
    path = tmp_path / "results.txt"
    path.write_bytes(b"caf\xe9\n")
    add_block(path, 100, "step 100, epoch 1.00: train loss 0\n\n")
    assert path.read_bytes().startswith(b"caf\xe9\nstep 100")
