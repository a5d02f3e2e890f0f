"""Frozen parts stay as they are, bit for bit, and the rest learns."""

import numpy as np
import pytest
import torch
from runs import build

from segpipe.errors import ConfigurationError
from segpipe.trainers.freezing import frozen_norms
from segpipe.trainers.run.run_log import read_log


def snapshot(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before, module):
    after = module.state_dict()
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


@pytest.mark.parametrize("average", [None, 0.9])
def test_a_frozen_encoder_stays_as_it_is_and_the_head_learns(recipe, data_root, tmp_path, average):
    options = {"train.freeze": ["encoder."], "train.ema_decay": average}
    run = build(recipe, data_root, tmp_path / "run", cfg_options=options)
    before = snapshot(run.model)
    folder = run.train()
    moved = changed(before, run.model)
    assert moved == {name for name in before if name.startswith("head.")}
    assert folder.verify() == ()


def test_the_optimiser_and_the_log_know_what_is_frozen(recipe, data_root, tmp_path):
    run = build(recipe, data_root, tmp_path / "run", cfg_options={"train.freeze": ["encoder."]}, max_steps=1)
    held = {id(parameter) for group in run.parts.engine.optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in run.model.head.parameters()}
    run.train()
    [start] = [line for line in read_log(tmp_path / "run" / "log.jsonl") if line["event"] == "start"]
    assert start["trainable_parameters"] == sum(parameter.numel() for parameter in run.model.head.parameters())
    assert start["parameters"] == sum(parameter.numel() for parameter in run.model.parameters())
    assert (start["step"], start["max_steps"], start["processes"]) == (0, 1, 1)


@pytest.mark.parametrize(("freeze", "moves"), [((), True), (("head.norm",), False), (("head.norm.weight",), True)])
def test_a_frozen_norm_keeps_its_running_statistics(recipe, data_root, tmp_path, freeze, moves):
    run = build(recipe, data_root, tmp_path / "run", cfg_options={"train.freeze": list(freeze)}, eval_dataset=None)
    before = snapshot(run.model.head.norm)
    run.train()
    statistics = {"running_mean", "running_var", "num_batches_tracked"}
    assert changed(before, run.model.head.norm) & statistics == (statistics if moves else set())


def test_a_norm_without_parameters_is_frozen_by_its_name():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4, affine=False), torch.nn.Identity())
    assert frozen_norms(model, ("1.",)) == [model[1]]
    assert frozen_norms(model, ("0.",)) == []


def test_a_run_with_frozen_parts_is_resumed_exactly(recipe, data_root, tmp_path):
    options = {"train.freeze": ["stages.0", "head.norm"]}
    whole = build(recipe, data_root, tmp_path / "whole", cfg_options=options)
    whole.train()
    first = build(recipe, data_root, tmp_path / "parts", cfg_options=options)
    first._stop()
    with pytest.raises(SystemExit):
        first.train()
    resumed = build(recipe, data_root, tmp_path / "parts", cfg_options=options)
    resumed.train()
    assert changed(snapshot(whole.model), resumed.model) == set()


def test_a_part_that_is_in_no_name_gets_the_near_ones(recipe, data_root, tmp_path):
    with pytest.raises(ConfigurationError, match=r"train.freeze\[1\]: .*'encodr'. Near ones are encoder"):
        build(recipe, data_root, tmp_path / "run", cfg_options={"train.freeze": ["head", "encodr"]})
    with pytest.raises(ConfigurationError, match=r"Names begin with encoder, head"):
        build(recipe, data_root, tmp_path / "run", cfg_options={"train.freeze": ["xyz"]})


def test_freezing_everything_is_refused(recipe, data_root, tmp_path):
    with pytest.raises(ConfigurationError, match=r"train.freeze: .* freezes all \d+ parameters"):
        build(recipe, data_root, tmp_path / "run", cfg_options={"train.freeze": ["encoder", "head"]})


def test_a_prediction_gives_each_module_its_own_mode_back(recipe, data_root, tmp_path):
    run = build(recipe, data_root, tmp_path / "run")
    run.model.train()
    run.model.head.norm.eval()  # as a frozen one is
    run.parts.predict(np.zeros((40, 48, 3), np.uint8))
    assert run.model.training
    assert not run.model.head.norm.training
