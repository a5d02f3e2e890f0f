"""The evaluation before the first step, where weights for the same classes are taken over."""

import pytest
import torch
from runs import NAMES, build

from segpipe import build_trainer, load_dataset
from segpipe.evaluation import EvaluationStopped
from segpipe.trainers import Callback
from segpipe.trainers.run.checkpoint import CHECKPOINTS
from segpipe.trainers.run.checkpoint_reading import load_newest
from segpipe.trainers.run.curves import read_curves
from segpipe.trainers.run.run_log import read_log

SCORED = {"evaluation.best": "mean_accuracy", "evaluation.every": 1}


@pytest.fixture
def learnt(recipe, data_root, tmp_path):
    """A model folder of the tiny classes."""
    return build(recipe, data_root, tmp_path / "learnt", max_steps=1).train()


def tune(learnt, data_root, work_dir, scores=(), names=NAMES, **arguments):
    """A trainer that begins with a model's weights, whose evaluations give these mean accuracies in turn."""
    data = {f"{key}_dataset": load_dataset("folder", data_root, split, names=names) for key, split in SPLITS}
    run = build_trainer(model=learnt, work_dir=work_dir, device="cpu", **{**data, "max_steps": 3, **arguments})
    original, remaining = run.parts.evaluate, iter(scores)

    def evaluate(should_stop=None):
        found = original(should_stop)
        object.__setattr__(found, "mean_accuracy", next(remaining, found.mean_accuracy))
        return found

    object.__setattr__(run.parts, "evaluate", evaluate)
    return run


SPLITS = (("train", "train"), ("eval", "val"))


def evaluated(work_dir):
    return [line["step"] for line in read_log(work_dir / "log.jsonl") if line["event"] == "evaluation"]


def test_the_first_score_is_that_of_the_weights_that_were_taken_over(learnt, data_root, tmp_path):
    alone = tune(learnt, data_root, tmp_path / "alone").evaluate()
    tune(learnt, data_root, tmp_path / "run").train()
    [first, *_] = [line for line in read_log(tmp_path / "run" / "log.jsonl") if line["event"] == "evaluation"]
    assert (first["step"], first["miou"]) == (0, alone.miou)


def test_a_fall_is_shown_in_log_curves_results_and_card_with_one_line_of_advice(learnt, data_root, tmp_path, caplog):
    run = tune(learnt, data_root, tmp_path / "run", [0.6298, 0.5, 0.6184, 0.6], cfg_options=SCORED)
    folder = run.train()
    assert evaluated(tmp_path / "run") == [0, 1, 2, 3]
    assert (run.progress.first_score, run.progress.best_score, run.progress.best_step) == (0.6298, 0.6184, 2)
    card = (folder.path / "README.md").read_text()
    assert "It began at mean accuracy 62.98 %, with the weights that were taken over, which no step reached." in card
    assert "the weights are those of step 2." in card
    assert (tmp_path / "run" / "results.txt").read_text().startswith("step 0, epoch 0.00: train loss –")
    assert read_curves(read_log(tmp_path / "run" / "log.jsonl"))[-1].points[0][0] == 0
    advice = [line for line in caplog.messages if "No evaluation reached the 62.98 %" in line]
    assert len(advice) == 1
    assert "the best is 61.84 %" in advice[0]
    assert 'cfg_options={"train.optimizer.lr": 0.0002}, work_dir=' in advice[0]


def test_a_rise_gives_no_advice(learnt, data_root, tmp_path, caplog):
    folder = tune(learnt, data_root, tmp_path / "run", [0.5, 0.6], cfg_options=SCORED).train()
    assert "No evaluation reached" not in caplog.text
    assert (
        "It began at mean accuracy 50.00 %, with the weights that were taken over.\n"
        in (folder.path / "README.md").read_text()
    )


def test_an_early_end_does_not_count_from_the_first_score(learnt, data_root, tmp_path):
    options = {**SCORED, "evaluation.patience": 2}
    run = tune(learnt, data_root, tmp_path / "run", [0.9, 0.1, 0.2, 0.3], cfg_options=options)
    run.train()
    assert run.progress.step == 3


@pytest.mark.parametrize(
    "arguments",
    [
        {"pretrained": False},
        {"cfg_options": {"evaluation.before_training": False}},
        {"names": ("left", "right", "up")},
        {"eval_dataset": None},
    ],
    ids=["from scratch", "switched off", "other classes", "nothing to evaluate on"],
)
def test_there_is_none(learnt, data_root, tmp_path, arguments):
    if "eval_dataset" in arguments:
        data = load_dataset("folder", data_root, "train", names=NAMES)
        build_trainer(model=learnt, train_dataset=data, work_dir=tmp_path / "run", device="cpu", max_steps=1).train()
    else:
        tune(learnt, data_root, tmp_path / "run", **arguments).train()
    assert 0 not in evaluated(tmp_path / "run")


class StopAt(Callback):
    def on_step(self, trainer, report):
        if trainer.progress.step == 2:
            trainer._stop()


def test_a_resumed_run_has_the_first_score_and_makes_it_once(learnt, data_root, tmp_path):
    with pytest.raises(SystemExit):
        tune(learnt, data_root, tmp_path / "run", [0.7], callbacks=[StopAt()], cfg_options=SCORED).train()
    assert load_newest(tmp_path / "run" / CHECKPOINTS).progress.first_score == 0.7
    run = tune(learnt, data_root, tmp_path / "run", [0.1], cfg_options=SCORED)
    run.train()
    assert (evaluated(tmp_path / "run").count(0), run.progress.first_score) == (1, 0.7)


def test_a_run_that_is_stopped_in_it_begins_there(learnt, data_root, tmp_path):
    run = tune(learnt, data_root, tmp_path / "run")

    def stop(should_stop=None):
        raise EvaluationStopped

    object.__setattr__(run.parts, "evaluate", stop)
    with pytest.raises(SystemExit) as stopped:
        run.train()
    assert stopped.value.code == 75
    assert not (tmp_path / "run" / CHECKPOINTS).exists()
    tune(learnt, data_root, tmp_path / "run").train()
    assert evaluated(tmp_path / "run")[0] == 0


def test_it_changes_no_weight(learnt, data_root, tmp_path):
    with_it, without = (
        tune(learnt, data_root, tmp_path / str(choice), cfg_options={"evaluation.before_training": choice})
        for choice in (True, False)
    )
    with_it.train()
    without.train()
    assert all(torch.equal(a, b) for a, b in zip(with_it.model.parameters(), without.model.parameters(), strict=True))
