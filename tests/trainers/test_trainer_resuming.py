"""Where a run goes on and what it ships, after kills, damaged checkpoints, other configurations and other versions."""

import json
import math
import shutil
import signal

import pytest
import torch
from runs import build
from safetensors.torch import load_file

from segpipe import distributed
from segpipe.errors import ConfigurationError, SegpipeError
from segpipe.evaluation import EvaluationStopped
from segpipe.hub.manifest import build_manifest, write_manifest
from segpipe.trainers import Callback
from segpipe.trainers.run.checkpoint import BEST, CHECKPOINTS, list_checkpoints
from segpipe.trainers.run.checkpoint_reading import load_newest
from segpipe.trainers.run.run_log import LOG, RunLog, read_log

EACH = {"evaluation.every": 1, "evaluation.best": "mean_accuracy"}


class Killed(Exception):
    """Ends a run without a checkpoint, as kill -9 does."""


class KillAfter(Callback):
    """Ends the run at the evaluation of a step."""

    def __init__(self, step):
        self.step = step

    def on_evaluation(self, trainer, scores):
        if trainer.progress.step == self.step:
            raise Killed


class Count(Callback):
    """How often each was called."""

    def __init__(self):
        self.evaluations = self.ends = 0

    def on_evaluation(self, trainer, scores):
        self.evaluations += 1

    def on_end(self, trainer, folder):
        self.ends += 1


class StopOnce(Callback):
    """Tells the run to stop after a step, once, as SIGTERM does."""

    def __init__(self, step):
        self.step = step

    def on_step(self, trainer, report):
        if trainer.progress.step == self.step:
            self.step = None
            trainer._stop()


def scored(run, by_step):
    """Let the evaluation after each step give this mean accuracy; the steps that were evaluated."""
    original, seen = run.parts.evaluate, []

    def evaluate(should_stop=None):
        scores = original(should_stop)
        object.__setattr__(scores, "mean_accuracy", by_step.get(run.progress.step, 0.0))
        seen.append(run.progress.step)
        return scores

    object.__setattr__(run.parts, "evaluate", evaluate)
    return seen


def note_weights(run):
    """The model's weights after each step, by step."""
    step, weights = run.parts.engine.step, {}

    def step_and_note(batches, number):
        report = step(batches, number)
        weights[number + 1] = {key: tensor.clone() for key, tensor in run.model.state_dict().items()}
        return report

    run.parts.engine.step = step_and_note
    return weights


def is_equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def shipped(work_dir):
    return load_file(work_dir / "model" / "model.safetensors")


def damage(path):
    content = bytearray((path / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (path / "model.safetensors").write_bytes(content)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def stop(run):
    with pytest.raises(SystemExit) as stopped:
        run.train()
    assert stopped.value.code == 75


def test_the_weights_of_the_best_step_are_shipped_where_a_kill_left_a_later_one(recipe, data_root, tmp_path):
    options = {**EACH, "train.checkpoint.every": 100}
    killed = build(recipe, data_root, tmp_path / "run", cfg_options=options, callbacks=[KillAfter(3)])
    scored(killed, {1: 0.1, 2: 0.2, 3: 0.9})
    with pytest.raises(Killed):
        killed.train()
    assert "step-00000003" in names(tmp_path / "run" / BEST)
    again = build(recipe, data_root, tmp_path / "run", cfg_options=options)
    scored(again, {1: 0.1, 2: 0.9, 3: 0.2})
    weights = note_weights(again)
    again.train()
    assert again.progress.best_step == 2
    assert is_equal(shipped(tmp_path / "run"), weights[2])
    assert names(tmp_path / "run" / BEST) == ["step-00000002"]


def test_best_weights_of_an_earlier_run_are_not_shipped(recipe, data_root, tmp_path):
    """With another head, so that they would not even fit."""
    first = build(recipe, data_root, tmp_path / "run", cfg_options={**EACH, "model.head.channels": 8})
    scored(first, {5: 0.9})
    first.train()
    shutil.rmtree(tmp_path / "run" / CHECKPOINTS)
    second = build(recipe, data_root, tmp_path / "run", cfg_options=EACH, max_steps=3)
    scored(second, {1: 0.5})
    weights = note_weights(second)
    second.train()
    assert is_equal(shipped(tmp_path / "run"), weights[1])
    assert "the weights are those of step 1." in (tmp_path / "run" / "model" / "README.md").read_text()


def test_best_weights_that_the_last_checkpoint_counts_on_outlive_a_kill(recipe, data_root, tmp_path):
    options = {**EACH, "train.checkpoint.every": 2}
    killed = build(recipe, data_root, tmp_path / "run", cfg_options=options, callbacks=[KillAfter(3)])
    scored(killed, {2: 0.8, 3: 0.9})
    weights = note_weights(killed)
    with pytest.raises(Killed):
        killed.train()
    again = build(recipe, data_root, tmp_path / "run", cfg_options=options)
    scored(again, {3: 0.1})
    again.train()
    assert again.progress.best_step == 2
    assert is_equal(shipped(tmp_path / "run"), weights[2])


def test_the_best_folder_holds_no_optimizer_and_the_averaged_weights(recipe, data_root, tmp_path):
    run = build(recipe, data_root, tmp_path / "run", max_steps=1, cfg_options={"train.ema_decay": 0.9})
    run.train()
    [best] = list_checkpoints(tmp_path / "run" / BEST)
    assert names(best) == ["configuration.json", "manifest.json", "model.safetensors", "progress.json"]
    assert is_equal(load_file(best / "model.safetensors"), shipped(tmp_path / "run"))


def test_good_checkpoints_after_a_damaged_one_are_kept(recipe, data_root, tmp_path):
    build(recipe, data_root, tmp_path / "run").train()
    damage(tmp_path / "run" / CHECKPOINTS / "step-00000006")
    stop(build(recipe, data_root, tmp_path / "run", callbacks=[StopOnce(5)]))
    assert load_newest(tmp_path / "run" / CHECKPOINTS).progress.step == 5
    assert names(tmp_path / "run" / CHECKPOINTS) == ["damaged-step-00000006", "step-00000004", "step-00000005"]


def test_saving_counts_without_damaged_checkpoints_that_cannot_be_renamed(recipe, data_root, tmp_path, monkeypatch):
    build(recipe, data_root, tmp_path / "run").train()
    damage(tmp_path / "run" / CHECKPOINTS / "step-00000006")
    monkeypatch.setattr("segpipe.trainers.run.resume.set_aside_newer", lambda folder, step: None)
    stop(build(recipe, data_root, tmp_path / "run", callbacks=[StopOnce(5)]))
    assert names(tmp_path / "run" / CHECKPOINTS) == ["step-00000004", "step-00000005", "step-00000006"]


def test_processes_that_see_different_checkpoints_are_refused(recipe, data_root, tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "gather_texts", lambda text: [text, "none"])
    monkeypatch.setattr("segpipe.trainers.trainer.take_best", lambda parts, progress: progress)
    stopped = build(recipe, data_root, tmp_path / "run", callbacks=[StopOnce(1)])
    stop(stopped)  # it began where no process saw one
    with pytest.raises(SegpipeError, match=r"process 0 that of step 1 \(\w{20}\), process 1 none\. It must be on a"):
        build(recipe, data_root, tmp_path / "run").train()


def test_a_lost_partner_is_explained_in_its_own_words(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    message = "Another process of the run ended or no longer answers"
    with pytest.raises(SegpipeError, match=message), distributed.lost_processes_explained():
        raise RuntimeError("Application timeout caused pair closure")


def test_train_goes_on_in_the_same_process_after_a_stop(recipe, data_root, tmp_path):
    run = build(recipe, data_root, tmp_path / "run", callbacks=[StopOnce(2)])
    stop(run)
    assert run.train().verify() == ()
    assert run.progress.step == 6


def test_a_resumed_final_evaluation_is_saved_and_not_repeated(recipe, data_root, tmp_path):
    first = build(recipe, data_root, tmp_path / "run", max_steps=3, callbacks=[StopOnce(3)])
    stop(first)
    assert load_newest(tmp_path / "run" / CHECKPOINTS).progress.is_evaluation_due
    counts = []
    for _ in range(3):
        count = Count()
        build(recipe, data_root, tmp_path / "run", max_steps=3, callbacks=[count]).train()
        counts.append((count.evaluations, count.ends))
    assert counts == [(1, 1), (0, 0), (0, 0)]
    progress = load_newest(tmp_path / "run" / CHECKPOINTS).progress
    assert (progress.is_evaluation_due, progress.best_step) == (False, 3)


def test_a_run_that_is_over_evaluates_nothing_and_has_its_best_weights(recipe, data_root, tmp_path):
    run = build(recipe, data_root, tmp_path / "run", cfg_options=EACH)
    scored(run, {2: 0.9})
    run.train()
    lines = (tmp_path / "run" / LOG).read_text()
    again = build(recipe, data_root, tmp_path / "run", cfg_options=EACH)
    seen = scored(again, {})
    assert again.train().path == tmp_path / "run" / "model"
    assert seen == []
    assert (tmp_path / "run" / LOG).read_text() == lines
    assert is_equal(shipped(tmp_path / "run"), again.model.state_dict())


def test_a_stop_before_the_model_folder_is_written_goes_on_there(recipe, data_root, tmp_path):
    """The last step is not the best, so its folder needs an evaluation of the best weights."""
    run = build(recipe, data_root, tmp_path / "run", cfg_options=EACH)
    original, calls = run.parts.evaluate, []

    def evaluate(should_stop=None):
        calls.append(None)
        if len(calls) == 7:
            signal.raise_signal(signal.SIGTERM)
            assert should_stop()
            raise EvaluationStopped
        scores = original(should_stop)
        object.__setattr__(scores, "mean_accuracy", 1.0 / len(calls))
        return scores

    object.__setattr__(run.parts, "evaluate", evaluate)
    stop(run)
    assert not (tmp_path / "run" / "model").exists()
    again = build(recipe, data_root, tmp_path / "run", cfg_options=EACH)
    seen = scored(again, {})
    assert again.train().verify() == ()
    assert seen == [6]


def test_a_third_sigterm_ends_the_run_at_once(recipe, data_root, tmp_path, caplog):
    class Ended(Exception):
        pass

    def end(number, frame):
        raise Ended

    def tell(batches, number):
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        run = build(recipe, data_root, tmp_path / "run")
        run.parts.engine.step = tell
        with pytest.raises(Ended):
            run.train()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "a third SIGTERM stops without saving" in caplog.text


def test_what_changes_no_weight_may_change_between_two_parts_of_a_run(recipe, data_root, tmp_path):
    stop(build(recipe, data_root, tmp_path / "run", callbacks=[StopOnce(2)]))
    options = {"train.workers": 1, "train.log_every": 2, "train.checkpoint.every": 3, "train.checkpoint.keep": 1}
    options |= {"evaluation.batch_size": 2, "evaluation.patience": 9, "dataset.root": str(tmp_path)}
    again = build(recipe, data_root, tmp_path / "run", cfg_options=options)
    again.train()
    whole = build(recipe, data_root, tmp_path / "whole")
    whole.train()
    assert is_equal(shipped(tmp_path / "whole"), shipped(tmp_path / "run"))


def test_the_first_key_that_differs_is_named_with_both_values(recipe, data_root, tmp_path):
    stop(build(recipe, data_root, tmp_path / "run", callbacks=[StopOnce(1)]))
    message = r"^train\.optimizer\.lr: .*another configuration, in which this was 0\.002; now it is 0\.5\. To go on"
    with pytest.raises(ConfigurationError, match=message):
        build(recipe, data_root, tmp_path / "run", cfg_options={"train.optimizer.lr": 0.5}).train()


@pytest.mark.parametrize(("key", "value"), [("mood", 1), ("step", "three")])
def test_a_checkpoint_of_a_newer_version_is_refused_and_not_gone_back_behind(recipe, data_root, tmp_path, key, value):
    build(recipe, data_root, tmp_path / "run").train()
    newest = list_checkpoints(tmp_path / "run" / CHECKPOINTS)[-1]
    progress = json.loads((newest / "progress.json").read_text())
    (newest / "progress.json").write_text(json.dumps({**progress, key: value}))
    files = ["model.safetensors", "optimizer.pt", "progress.json", "configuration.json"]
    write_manifest(newest, build_manifest(newest, files))
    message = rf"progress\.json was written by another version of segpipe: .*{key}.*Upgrade segpipe"
    with pytest.raises(ConfigurationError, match=message):
        build(recipe, data_root, tmp_path / "run").train()
    assert names(tmp_path / "run" / CHECKPOINTS) == ["step-00000004", "step-00000006"]


def test_a_torn_line_of_the_log_does_not_take_the_next_with_it(tmp_path):
    for _ in range(2):
        with RunLog(tmp_path / LOG) as log:
            log.write("step", {"step": 1})
        with open(tmp_path / LOG, "a") as file:
            file.write('{"event": "st')
    assert [line["event"] for line in read_log(tmp_path / LOG)] == ["step", "step"]


def test_the_log_is_json_without_numbers_that_are_none(tmp_path):
    def refuse(word):
        raise AssertionError(word)

    with RunLog(tmp_path / LOG) as log:
        log.write("evaluation", {"step": 1, "miou": math.nan, "grad_norm": math.inf, "iou": {"a": math.nan, "b": 0.5}})
    line = json.loads((tmp_path / LOG).read_text(), parse_constant=refuse)
    assert (line["miou"], line["grad_norm"], line["iou"]) == (None, None, {"a": None, "b": 0.5})
    [read] = read_log(tmp_path / LOG)
    assert math.isnan(read["miou"])
    assert math.isnan(read["iou"]["a"])
