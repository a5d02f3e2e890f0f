"""A run whose scores rise no more ends early, as every run ends, and the same way after a resumption."""

import json

import pytest
import torch
from runs import build, train_in_processes

from segpipe.errors import ConfigurationError
from segpipe.trainers import Callback
from segpipe.trainers.run.checkpoint import list_checkpoints
from segpipe.trainers.run.progress import Progress, with_score
from segpipe.trainers.run.run_log import read_log

# No weight changes, and no running statistics: the first score is the best, and none after it is better.
STILL = {"train.optimizer.lr": 1e-30, "train.optimizer.weight_decay": 0.0, "train.freeze": ["head.norm"]}
EARLY = {**STILL, "evaluation.patience": 2, "evaluation.every": 1, "evaluation.best": "mean_accuracy"}


def constant_scores(run, values):
    """Let evaluations give these mean accuracies in turn."""
    original, remaining = run.parts.evaluate, iter(values)

    def evaluate(*arguments):
        scores = original(*arguments)
        object.__setattr__(scores, "mean_accuracy", next(remaining))
        return scores

    object.__setattr__(run.parts, "evaluate", evaluate)
    return run


def events(work_dir, kind):
    return [line for line in read_log(work_dir / "log.jsonl") if line["event"] == kind]


def test_worse_evaluations_are_counted_in_a_row():
    progress = Progress()
    counts = []
    for score in (0.5, 0.5, float("nan"), 0.6, 0.4):
        progress = with_score(progress, score)
        counts.append(progress.worse_evaluations)
    assert counts == [0, 1, 2, 0, 1]


def test_a_run_ends_after_so_many_evaluations_without_a_better_score(recipe, data_root, tmp_path, caplog):
    caplog.set_level("INFO", "segpipe")
    run = build(recipe, data_root, tmp_path / "run", max_steps=40, cfg_options=EARLY)
    folder = constant_scores(run, [0.3, 0.4, 0.35, 0.4, 0.2, 0.1]).train()
    assert folder.verify() == ()
    assert (run.progress.step, run.progress.best_step) == (4, 2)
    [line] = events(tmp_path / "run", "early_stop")
    assert (line["step"], line["worse_evaluations"], line["best_step"]) == (4, 2, 2)
    assert "Ending early at step 4: 2 evaluations in a row gave no better score than step 2" in caplog.text
    assert list_checkpoints(tmp_path / "run" / "checkpoints")[-1].name == "step-00000004"


def test_a_run_that_ended_early_trains_no_further(recipe, data_root, tmp_path):
    first = build(recipe, data_root, tmp_path / "run", max_steps=40, cfg_options=EARLY).train()
    lines = events(tmp_path / "run", "step")
    again = build(recipe, data_root, tmp_path / "run", max_steps=40, cfg_options=EARLY)
    assert again.train().path == first.path
    assert again.progress.step == 3
    assert events(tmp_path / "run", "step") == lines
    assert len(events(tmp_path / "run", "early_stop")) == 1


def test_without_patience_a_run_goes_to_its_last_step(recipe, data_root, tmp_path):
    run = build(recipe, data_root, tmp_path / "run", cfg_options={**STILL, "evaluation.every": 1})
    run.train()
    assert run.progress.step == 6
    assert run.progress.worse_evaluations == 5
    assert not events(tmp_path / "run", "early_stop")


def test_patience_that_runs_out_at_the_last_step_is_no_early_end(recipe, data_root, tmp_path):
    run = build(recipe, data_root, tmp_path / "run", max_steps=3, cfg_options=EARLY)
    run.train()
    assert run.progress.worse_evaluations == 2
    assert not events(tmp_path / "run", "early_stop")


class StopIn(Callback):
    """Tells the run to stop at the next call of one method, as SIGTERM would."""

    def __init__(self, method):
        setattr(self, method, lambda trainer, what: trainer._stop())


@pytest.mark.parametrize("method", ["on_step", "on_evaluation"])
def test_a_resumed_run_goes_on_counting(recipe, data_root, tmp_path, method):
    options = {**EARLY, "evaluation.patience": 3}
    whole = build(recipe, data_root, tmp_path / "whole", max_steps=40, cfg_options=options)
    whole.train()
    for _ in range(2):  # stopped in step 1 and in step 2: before its evaluation, or after it
        callbacks = [StopIn(method)]
        run = build(recipe, data_root, tmp_path / "run", max_steps=40, cfg_options=options, callbacks=callbacks)
        with pytest.raises(SystemExit):
            run.train()
    last = build(recipe, data_root, tmp_path / "run", max_steps=40, cfg_options=options)
    last.train()
    assert last.progress == whole.progress
    assert (last.progress.step, last.progress.worse_evaluations) == (4, 3)


@pytest.mark.slow
def test_all_processes_end_together(recipe, data_root, tmp_path):
    options = {**EARLY, "train.max_steps": 40, "train.activation_checkpointing": True}
    said = train_in_processes(recipe, data_root, tmp_path / "run", options, ranks=2)
    assert said[0][-1] == said[1][-1] == "end 3"
    assert said[0] == said[1], "callbacks are called in all processes, with the same paths"
    assert said[0][:-1] == ["checkpoint step-00000002", "checkpoint step-00000003"]


def test_patience_without_anything_to_evaluate_on_is_refused(recipe, data_root, tmp_path):
    with pytest.raises(ConfigurationError, match=r"evaluation.patience: 2 .* nothing to evaluate"):
        build(recipe, data_root, tmp_path / "run", eval_dataset=None, cfg_options=EARLY)


def test_a_checkpoint_from_before_these_fields_is_resumed(recipe, data_root, tmp_path):
    """An older version wrote neither the counter nor the new fields of the configuration."""
    from segpipe.hub.manifest import build_manifest, write_manifest

    run = build(recipe, data_root, tmp_path / "run")
    run.train()
    [newest] = list_checkpoints(tmp_path / "run" / "checkpoints")[-1:]
    progress, document = newest / "progress.json", newest / "configuration.json"
    keys = ("step", "samples", "best_score", "best_step")
    progress.write_text(json.dumps({key: json.loads(progress.read_text())[key] for key in keys}))
    old = json.loads(document.read_text())
    for section, key in (("train", "freeze"), ("train", "activation_checkpointing"), ("evaluation", "patience")):
        del old[section][key]
    document.write_text(json.dumps(old))
    files = ["model.safetensors", "optimizer.pt", "progress.json", "configuration.json"]
    write_manifest(newest, build_manifest(newest, files))
    again = build(recipe, data_root, tmp_path / "run")
    again.train()
    assert again.progress.step == 6
    assert all(torch.equal(a, b) for a, b in zip(run.model.parameters(), again.model.parameters(), strict=True))
