"""Training longer: a run that gets a new end, or a new run with its weights; the calls that messages show work."""

import re
import shlex
from dataclasses import replace

import pytest
import torch
from runs import build

from segpipe import advice, build_trainer, load_dataset
from segpipe.cli.main import main
from segpipe.errors import ConfigurationError
from segpipe.trainers import Callback
from segpipe.trainers.run.call_again import write_call
from segpipe.trainers.run.checkpoint import CHECKPOINTS, list_checkpoints
from segpipe.trainers.run.checkpoint_reading import load_newest
from segpipe.trainers.run.run_log import read_log
from segpipe.trainers.schedules import learning_rate

EACH = {"evaluation.every": 1, "evaluation.best": "mean_accuracy"}


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_step(self, trainer, report):
        if trainer.progress.step == self.step:
            trainer._stop()


def rates(work_dir):
    return {line["step"]: line["lr"] for line in read_log(work_dir / "log.jsonl") if line["event"] == "step"}


def is_equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))


def test_an_extended_run_has_the_rates_of_the_old_length_before_and_of_the_new_one_after(
    recipe, data_root, tmp_path, capsys
):
    build(recipe, data_root, tmp_path / "run", max_steps=4).train()
    longer = build(recipe, data_root, tmp_path / "run", max_steps=10, extend=True)
    longer.train()
    schedule, base = longer.config.schedule, longer.config.optimizer.lr
    ends = {step: 4 if step <= 4 else 10 for step in range(1, 11)}
    assert rates(tmp_path / "run") == {
        step: pytest.approx(learning_rate(schedule, base, step - 1, end)) for step, end in ends.items()
    }
    assert rates(tmp_path / "run")[5] > rates(tmp_path / "run")[4]  # it had come down and rises
    rate = f"{rates(tmp_path / 'run')[5]:.3g}"
    assert f"The run had 4 steps and now has 10: the learning rate goes on at {rate}\n" in capsys.readouterr().err
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "It was extended from 4 to 10 steps at step 4; each step has" in card


def test_where_the_schedule_is_constant_an_extended_run_is_one_of_the_new_length(recipe, data_root, tmp_path):
    options = {"train.schedule": {"type": "constant"}, "train.ema_decay": 0.9}
    whole = build(recipe, data_root, tmp_path / "whole", max_steps=9, cfg_options=options)
    whole.train()
    build(recipe, data_root, tmp_path / "run", max_steps=4, cfg_options=options).train()
    longer = build(recipe, data_root, tmp_path / "run", max_steps=9, cfg_options=options, extend=True)
    longer.train()
    assert is_equal(longer, whole)
    assert longer.progress.samples == whole.progress.samples


@pytest.mark.parametrize("again", [{"extend": True}, {}], ids=["the same call", "without extend"])
def test_an_extended_run_that_is_stopped_resumes_to_the_same_weights(recipe, data_root, tmp_path, again):
    for name in ("whole", "run"):
        build(recipe, data_root, tmp_path / name, max_steps=3).train()
    whole = build(recipe, data_root, tmp_path / "whole", max_steps=8, extend=True)
    whole.train()
    with pytest.raises(SystemExit):
        build(recipe, data_root, tmp_path / "run", max_steps=8, extend=True, callbacks=[StopAt(5)]).train()
    resumed = build(recipe, data_root, tmp_path / "run", max_steps=8, **again)
    resumed.train()
    assert is_equal(resumed, whole)


def test_a_run_that_was_stopped_early_can_get_a_nearer_end_but_not_one_that_it_has_passed(recipe, data_root, tmp_path):
    with pytest.raises(SystemExit):
        build(recipe, data_root, tmp_path / "run", max_steps=10, callbacks=[StopAt(5)]).train()
    with pytest.raises(ConfigurationError, match="is now to have 3 steps, but it has done 5 steps already"):
        build(recipe, data_root, tmp_path / "run", max_steps=3, extend=True).train()
    nearer = build(recipe, data_root, tmp_path / "run", max_steps=6, extend=True)
    nearer.train()
    assert nearer.progress.step == 6


def test_extending_counts_evaluations_without_a_better_score_anew(recipe, data_root, tmp_path):
    options = {**EACH, "evaluation.patience": 2}
    first = build(recipe, data_root, tmp_path / "run", max_steps=6, cfg_options=options)
    scored(first, [0.9, 0.1, 0.1])
    first.train()
    assert first.progress.step == 3
    longer = build(recipe, data_root, tmp_path / "run", max_steps=12, cfg_options=options, extend=True)
    scored(longer, [0.1, 0.95, 0.1, 0.1])
    longer.train()
    assert (longer.progress.step, longer.progress.best_step) == (7, 5)


def scored(run, scores):
    original, remaining = run.parts.evaluate, iter(scores)

    def evaluate(should_stop=None):
        found = original(should_stop)
        object.__setattr__(found, "mean_accuracy", next(remaining, found.mean_accuracy))
        return found

    run.parts = replace(run.parts, evaluate=evaluate)


def test_extending_where_no_run_is_begins_one_and_says_so(recipe, data_root, tmp_path, caplog):
    build(recipe, data_root, tmp_path / "run", max_steps=1, extend=True).train()
    assert f"There is no run in {tmp_path / 'run'} to extend" in caplog.text


def test_extending_changes_nothing_but_the_length(recipe, data_root, tmp_path):
    build(recipe, data_root, tmp_path / "run", max_steps=3).train()
    other = {"train.optimizer.lr": 0.5}
    with pytest.raises(ConfigurationError, match=r"^train\.optimizer\.lr: .* was 0\.002; now it is 0\.5") as refused:
        build(recipe, data_root, tmp_path / "run", max_steps=6, cfg_options=other, extend=True).train()
    assert 'To go on with that run, give cfg_options={"train.optimizer.lr": 0.002}.' in str(refused.value)
    assert f'choose another work directory: work_dir="{tmp_path / "run-2"}"' in str(refused.value)


@pytest.mark.parametrize("length", [{"max_steps": 8}, {"max_epochs": 4}, {"cfg_options": {"train.max_steps": 8}}])
def test_the_calls_that_a_refusal_shows_train_longer(recipe, data_root, tmp_path, monkeypatch, length):
    monkeypatch.chdir(tmp_path)
    train_dataset, eval_dataset = (load_dataset("folder", data_root, split) for split in ("train", "val"))
    common = {"train_dataset": train_dataset, "eval_dataset": eval_dataset, "work_dir": "runs/a", "device": "cpu"}
    build_trainer(cfg_file=recipe, max_steps=3, **common).train()
    with pytest.raises(ConfigurationError) as refused:
        build_trainer(cfg_file=recipe, **length, **common).train()
    extend, tune = re.findall(r"^  (build_trainer\(.*\)\.train\(\))$", str(refused.value), re.MULTILINE)
    names = {"build_trainer": build_trainer, "train_dataset": train_dataset, "eval_dataset": eval_dataset}
    eval(tune, dict(names))
    assert load_newest(tmp_path / "runs" / "a-2" / CHECKPOINTS).progress.first_score is not None
    eval(extend, dict(names))
    assert load_newest(tmp_path / "runs" / "a" / CHECKPOINTS).progress.step in (8, 10)


@pytest.mark.parametrize("length", [["--max-steps", "8"], ["--max-epochs=4"], ["--set", "train.max_steps=8"]])
def test_the_commands_that_a_refusal_shows_train_longer(recipe, data_root, tmp_path, monkeypatch, capsys, length):
    monkeypatch.chdir(tmp_path)
    common = ["train", "--config", str(recipe), "--data", "folder", str(data_root), "--work-dir=my runs/a"]
    assert main([*common, "--max-steps", "3"]) == 0
    capsys.readouterr()
    assert main([*common, *length]) == 1
    refused = capsys.readouterr().err
    assert "the run in my runs/a was begun for 3 steps and is now to have " in refused
    extend, tune = (shlex.split(line)[1:] for line in refused.splitlines() if line.startswith("    segpipe train "))
    assert main(tune) == 0
    assert load_newest(tmp_path / "my runs" / "a-2" / CHECKPOINTS).progress.first_score is not None
    assert main(extend) == 0
    assert load_newest(tmp_path / "my runs" / "a" / CHECKPOINTS).progress.step in (8, 10)


def test_a_run_that_is_done_says_how_to_train_longer(recipe, data_root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["train", "--config", str(recipe), "--data", "folder", str(data_root)]
    command += ["--from-scratch", "--set", "train.max_steps=2"]
    assert main(command) == 0
    capsys.readouterr()
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "All 2 steps of the run in work_dir are done, so nothing is left to train." in said
    extend, tune = (shlex.split(line)[1:] for line in said.splitlines() if line.startswith("  segpipe train "))
    assert extend[-3:] == ["--max-steps", "4", "--extend"]
    assert "train.max_steps=2" not in extend
    assert tune[-6:] == ["--max-steps", "4", "--model", "work_dir/model", "--work-dir", "work_dir-2"]
    assert "--from-scratch" not in tune
    assert main(extend) == 0
    assert [path.name for path in list_checkpoints(tmp_path / "work_dir" / CHECKPOINTS)][-1] == "step-00000004"


def test_a_run_that_is_not_finished_offers_its_best_weights_so_far(recipe, data_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        build(recipe, data_root, "run", callbacks=[StopAt(2)]).train()
    with pytest.raises(ConfigurationError) as refused:
        build(recipe, data_root, "run", max_steps=9).train()
    assert "extend=True" in str(refused.value)
    assert 'model="run/checkpoints/step-00000002"' in str(refused.value)
    with pytest.raises(SystemExit):
        build(recipe, data_root, "run", callbacks=[StopAt(4)]).train()
    with pytest.raises(ConfigurationError) as refused:
        build(recipe, data_root, "run", max_steps=9).train()
    assert 'model="run/best/step-00000003"' in str(refused.value)
    tuned = build(recipe, data_root, "run-2", model="run/best/step-00000003", max_steps=1)
    assert tuned.parts.has_learnt_classes


def test_a_command_of_several_processes_is_shown_with_its_launcher(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with advice.on_command_line(["--extend"], ["train", "--set", "train.max_steps=5", "--set=train.max_epochs=3"]):
        assert write_call({}, {"max_steps": 9, "extend": True}) == (
            "torchrun --nproc-per-node 2 -m segpipe train --max-steps 9 --extend"
        )


def test_what_has_no_source_stands_by_its_arguments_name():
    given = {"model": "a/b", "train_dataset": object(), "callbacks": [object()], "cfg_options": ["train.max_steps=5"]}
    assert write_call(given, {"max_steps": 9, "extend": True, "pretrained": None}) == (
        'build_trainer(model="a/b", train_dataset=train_dataset, callbacks=callbacks, max_steps=9, extend=True).train()'
    )
