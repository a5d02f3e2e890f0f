"""Optimisers and their parameter groups."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from torch import nn

from segpipe.configuration.training import AdamW, OptimizerConfig, ParameterGroup, Sgd
from segpipe.errors import InputError
from segpipe.trainers.optimizers import build_optimizer, summarize_groups
from segpipe.trainers.schedules import apply_learning_rate

PUBLISHED = (ParameterGroup(match="head", lr_factor=10.0), ParameterGroup(match="norm", weight_decay=0.0))


def _network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Module()
    network.encoder = nn.Linear(4, 4)
    network.norm1 = nn.LayerNorm(4)
    network.decode_head = nn.Module()
    network.decode_head.classifier = nn.Linear(4, 2)
    network.decode_head.norm = nn.LayerNorm(2)
    return network


def _step(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    features = network.norm1(network.encoder(torch.linspace(-1, 1, 12).view(3, 4)))
    network.decode_head.norm(network.decode_head.classifier(features)).pow(3).sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_each_parameter_is_in_one_group() -> None:
    network = _network()
    optimizer = build_optimizer(network, AdamW(lr=1e-3, groups=PUBLISHED))
    grouped = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in network.parameters())


def test_groups_follow_names() -> None:
    optimizer = build_optimizer(_network(), AdamW(lr=1e-3, weight_decay=0.01, groups=PUBLISHED))
    found = {(row.name, row.values, row.lr_factor, row.weight_decay) for row in summarize_groups(optimizer)}
    # `head` and `norm` are equally long, so the first of the list has the head's norm.
    assert found == {("default", 20, 1.0, 0.01), ("norm", 8, 1.0, 0.0), ("head", 10 + 4, 10.0, 0.01)}
    assert {group["name"]: group["lr"] for group in optimizer.param_groups}["head"] == pytest.approx(1e-2)


def test_vectors_may_have_a_weight_decay_of_their_own() -> None:
    groups = (ParameterGroup(match="norm1", weight_decay=0.5), ParameterGroup(match="head", lr_factor=10.0))
    optimizer = build_optimizer(_network(), Sgd(lr=0.1, weight_decay=0.01, vector_weight_decay=0.0, groups=groups))
    found = {(row.name, row.values, row.lr_factor, row.weight_decay) for row in summarize_groups(optimizer)}
    assert found == {
        ("default", 16, 1.0, 0.01),
        ("vectors", 4, 1.0, 0.0),
        ("norm1", 8, 1.0, 0.5),
        ("head", 8, 10.0, 0.01),
        ("head", 2 + 4, 10.0, 0.0),
    }


def test_frozen_parameters_are_left_out() -> None:
    network = _network()
    network.encoder.requires_grad_(False)
    optimizer = build_optimizer(network, AdamW(lr=1e-3, groups=PUBLISHED))
    assert sum(row.tensors for row in summarize_groups(optimizer)) == 6
    network.requires_grad_(False)
    with pytest.raises(InputError, match="frozen"):
        build_optimizer(network, AdamW(lr=1e-3))


def test_group_that_matches_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="segpipe"):
        build_optimizer(_network(), AdamW(lr=1e-3, groups=(ParameterGroup(match="pos_block", weight_decay=0.0),)))
    assert "pos_block" in caplog.text


@pytest.mark.parametrize(
    ("config", "reference"),
    [
        (
            AdamW(lr=0.02, weight_decay=0.1, betas=(0.8, 0.9), eps=1e-6),
            lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.1, betas=(0.8, 0.9), eps=1e-6, foreach=False),
        ),
        (
            Sgd(lr=0.02, weight_decay=0.1, nesterov=True),
            lambda p: torch.optim.SGD(p, lr=0.02, weight_decay=0.1, momentum=0.9, nesterov=True, foreach=False),
        ),
    ],
)
def test_steps_equal_torchs(config: OptimizerConfig, reference: object) -> None:
    # The same gradients for both: those of the networks themselves would differ in their last bits from the second
    # step on, and Adam divides a small gradient by its own size.
    ours, theirs = _network(), _network()
    assert callable(reference)
    optimizers = build_optimizer(ours, config), reference(theirs.parameters())
    generator = torch.Generator().manual_seed(0)
    steps = 4
    for _ in range(steps):
        for found, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
            found.grad = torch.rand(found.shape, generator=generator) - 0.5
            found.grad += found.grad.sign() / 2  # 0.5 to 1 in size
            expected.grad = found.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    # A step rounds about ten times, values that are at most 1 in size (weights, gradients, Adam's quotient), or
    # gradients that SGD's momentum has added up, times the rate.
    for found, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert found.abs().max() <= 1.5
        torch.testing.assert_close(found, expected, rtol=0, atol=steps * 10 * torch.finfo(torch.float32).eps)


def test_state_survives_saving_with_the_factors() -> None:
    network = _network()
    optimizer = build_optimizer(network, AdamW(lr=0.1, groups=PUBLISHED))
    _step(network, optimizer)
    resumed_network = copy.deepcopy(network)
    resumed = build_optimizer(resumed_network, AdamW(lr=0.1, groups=PUBLISHED))
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each in (optimizer, resumed):
        apply_learning_rate(each, 0.05)
    _step(network, optimizer)
    _step(resumed_network, resumed)
    for found, expected in zip(resumed_network.parameters(), network.parameters(), strict=True):
        assert torch.equal(found, expected)


def test_summary_is_a_line_of_the_log() -> None:
    rows = summarize_groups(build_optimizer(_network(), AdamW(lr=1e-3, weight_decay=0.01)))
    assert [str(row) for row in rows] == ["default: 42 values in 8 tensors, learning rate × 1, weight decay 0.01"]


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(ValueError, match="momentum"):
        Sgd(lr=0.1, momentum=0.0, nesterov=True)
