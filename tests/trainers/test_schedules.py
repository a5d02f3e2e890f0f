"""Schedules, held against torch's and against numbers worked out by hand."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    PolynomialLR,
    SequentialLR,
    StepLR,
)

from segpipe.configuration import load_preset
from segpipe.configuration.training import (
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    MultistepSchedule,
    PolySchedule,
    ScheduleConfig,
    StepSchedule,
    Warmup,
)
from segpipe.trainers.schedules import apply_learning_rate, learning_rate

LR = 6e-5


def _torch_rates(build: Callable[[Optimizer], LRScheduler], steps: int) -> list[float]:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    scheduler, rates = build(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SequentialLR calls its parts in a way that torch deprecates.
            scheduler.step()
    return rates


def _sequential(optimizer: Optimizer) -> LRScheduler:
    parts: list[Any] = [
        LinearLR(optimizer, start_factor=1e-3, total_iters=20),
        PolynomialLR(optimizer, total_iters=80, power=0.9),
    ]
    return SequentialLR(optimizer, parts, milestones=[20])


TORCH: list[tuple[ScheduleConfig, Callable[[Optimizer], LRScheduler]]] = [
    (PolySchedule(), lambda optimizer: PolynomialLR(optimizer, total_iters=100)),
    (PolySchedule(power=0.9), lambda optimizer: PolynomialLR(optimizer, total_iters=100, power=0.9)),
    (StepSchedule(every=30, gamma=0.5), lambda optimizer: StepLR(optimizer, step_size=30, gamma=0.5)),
    (MultistepSchedule(milestones=(80, 40)), lambda optimizer: MultiStepLR(optimizer, milestones=[40, 80])),
    (ExponentialSchedule(gamma=0.97), lambda optimizer: ExponentialLR(optimizer, gamma=0.97)),
    (CosineSchedule(min_lr=1e-6), lambda optimizer: CosineAnnealingLR(optimizer, T_max=100, eta_min=1e-6)),
    (
        ConstantSchedule(warmup=Warmup(steps=30, ratio=0.1)),
        lambda optimizer: LinearLR(optimizer, start_factor=0.1, total_iters=30),
    ),
    (PolySchedule(power=0.9, warmup=Warmup(steps=20, ratio=1e-3, join="before")), _sequential),
]


@pytest.mark.parametrize(("schedule", "build"), TORCH, ids=lambda value: type(value).__name__)
def test_schedule_equals_torchs_at_every_step(
    schedule: ScheduleConfig, build: Callable[[Optimizer], LRScheduler]
) -> None:
    rates = [learning_rate(schedule, LR, step, 100) for step in range(100)]
    assert rates == pytest.approx(_torch_rates(build, 100), rel=1e-9)


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        (PolySchedule(min_lr=0.1), 25, 0.9 * 0.75 + 0.1),
        (PolySchedule(power=2.0), 50, 0.25),
        (PolySchedule(every=20), 59, 0.6),
        (PolySchedule(), 100, 0.0),
        (PolySchedule(min_lr=0.1), 1000, 0.1),
        (StepSchedule(every=10), 9, 1.0),
        (StepSchedule(every=10), 20, 0.01),
        (StepSchedule(every=10, min_lr=0.05), 20, 0.05),
        (MultistepSchedule(milestones=(10, 20)), 10, 0.1),
        (MultistepSchedule(milestones=(10, 20)), 99, 0.01),
        (ExponentialSchedule(gamma=0.5), 3, 0.125),
        (CosineSchedule(min_lr=0.2), 50, 0.6),
        (CosineSchedule(min_lr=0.2), 100, 0.2),
        (ConstantSchedule(), 70, 1.0),
    ],
)
def test_schedule_equals_its_formula(schedule: ScheduleConfig, step: int, expected: float) -> None:
    assert learning_rate(schedule, 1.0, step, 100) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("warmup", "step", "expected"),
    [
        (Warmup(steps=20, ratio=0.2), 0, 0.2),
        (Warmup(steps=20, ratio=0.2), 5, 0.95 * (1 - 0.75 * 0.8)),
        (Warmup(steps=20, ratio=0.2), 20, 0.8),
        (Warmup(type="constant", steps=20, ratio=0.2), 5, 0.95 * 0.2),
        (Warmup(type="exponential", steps=20, ratio=0.2), 5, 0.95 * 0.2**0.75),
        (Warmup(type="exponential", steps=20, ratio=0.2), 0, 0.2),
        (Warmup(steps=20, ratio=0.2, join="before"), 10, 0.6),
        (Warmup(steps=20, ratio=0.2, join="before"), 20, 1.0),
        (Warmup(steps=20, ratio=0.2, join="before"), 60, 0.5),
        (Warmup(steps=20, ratio=0.2, join="into"), 10, 0.5),
        (Warmup(steps=20, ratio=0.2, join="into"), 20, 0.8),
        (Warmup(type="constant", steps=20, ratio=0.2, join="into"), 19, 0.2),
        (Warmup(type="exponential", steps=20, ratio=0.2, join="into"), 10, 0.4),
        (Warmup(steps=0, ratio=0.2), 0, 1.0),
    ],
)
def test_warmup_equals_its_formula(warmup: Warmup, step: int, expected: float) -> None:
    assert learning_rate(PolySchedule(warmup=warmup), 1.0, step, 100) == pytest.approx(expected)


def test_published_recipe_starts_and_ends_as_segformers() -> None:
    schedule = PolySchedule(warmup=Warmup(steps=1500, ratio=1e-6))
    assert learning_rate(schedule, 6e-5, 0, 160_000) == pytest.approx(6e-11)
    assert learning_rate(schedule, 6e-5, 1500, 160_000) == pytest.approx(6e-5 * (1 - 1500 / 160_000))
    assert learning_rate(schedule, 6e-5, 159_999, 160_000) == pytest.approx(6e-5 / 160_000)


def test_warmup_longer_than_the_run_is_no_error() -> None:
    schedule = PolySchedule(warmup=Warmup(steps=200, ratio=0.0, join="before"))
    assert learning_rate(schedule, 1.0, 50, 100) == pytest.approx(0.25)


def test_each_group_gets_its_factor() -> None:
    groups = [
        {"params": [torch.nn.Parameter(torch.zeros(1))], "lr_factor": 10.0},
        {"params": [torch.nn.Parameter(torch.zeros(1))]},
    ]
    optimizer = SGD(groups, lr=1.0)
    apply_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [5.0, 0.5]


def test_segmenters_own_warmup_leads_from_the_least_rate_into_the_polynomial() -> None:
    # Its scheduler: (lr - min) · coefficient + min, where the coefficient is (1 - t/T)^0.9 and, for t < W, t/W of that
    # of step W; the published recipes have W = 0.
    lr, least, steps, length = 1e-3, 1e-5, 1000, 100
    warmup = Warmup(type="linear", steps=length, ratio=least / lr, join="into")
    schedule = PolySchedule(power=0.9, min_lr=least, warmup=warmup)

    def theirs(step: int) -> float:
        share = step / length * (1 - length / steps) ** 0.9 if step < length else (1 - step / steps) ** 0.9
        return (lr - least) * share + least

    for step in (0, 1, 50, 99, 100, 101, 500, 999):
        assert learning_rate(schedule, lr, step, steps) == pytest.approx(theirs(step))


def test_libais_recipe_warms_up_into_its_cosine() -> None:
    train = load_preset("segformer-b0-cityscapes-libai").train
    assert train is not None
    steps, length = math.ceil(100 * 2975 / 8), math.ceil(math.ceil(100 * 2975 / 8) * 20 / 300)

    def cosine(step: int) -> float:
        return 6e-5 * ((1 - 0.01) * (1 + math.cos(math.pi * step / steps)) / 2 + 0.01)

    def theirs(step: int) -> float:
        start, share = 6e-5 * 0.001, step / length
        return start + (cosine(length) - start) * share if step < length else cosine(step)

    for step in (0, 1, length // 2, length, length + 1, steps // 2, steps):
        assert learning_rate(train.schedule, train.optimizer.lr, step, steps) == pytest.approx(theirs(step))
    assert learning_rate(train.schedule, train.optimizer.lr, steps, steps) == pytest.approx(6e-7)


def test_the_pytorch_segformers_recipe_warms_up_before_its_polynomial() -> None:
    train = load_preset("segformer-b1-cityscapes-ohem").train
    assert train is not None
    epoch = math.ceil(2975 / 4)
    steps = 2 * epoch

    def theirs(step: int) -> float:
        warm = 1e-3 + (1 - 1e-3) * step / epoch
        return 1e-3 * (warm if step < epoch else (1 - (step - epoch) / (steps - epoch)) ** 0.9)

    for step in (0, 1, epoch // 2, epoch, epoch + 1, steps - 1):
        assert learning_rate(train.schedule, train.optimizer.lr, step, steps) == pytest.approx(theirs(step))
