"""The moving average of weights."""

from __future__ import annotations

import contextlib
import io
import math

import pytest
import torch
from torch import nn

from segpipe.errors import InputError
from segpipe.trainers.ema import WeightAverage, decay_at


def _set(model: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


def test_average_equals_its_formula() -> None:
    model = nn.Linear(1, 1)
    _set(model, 1.0)
    average, expected = WeightAverage(model, 0.9999), 1.0
    for update, value in enumerate((2.0, -3.0, 5.0), start=1):
        _set(model, value)
        average.update(model)
        kept = 0.9999 * (1 - math.exp(-update / 2000))
        expected = kept * expected + (1 - kept) * value
    with average.swapped_into(model):
        assert model.weight.item() == pytest.approx(expected, rel=1e-6)


def test_decay_comes_up_to_its_value() -> None:
    assert decay_at(0.9999, 2000) == pytest.approx(0.9999 * (1 - 1 / math.e))
    assert decay_at(0.9999, 10**6) == pytest.approx(0.9999)


def test_model_has_its_own_weights_again_after_an_error() -> None:
    model = nn.Linear(3, 2)
    average = WeightAverage(model, 0.9)
    own = [parameter.detach().clone() + 1 for parameter in model.parameters()]
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), own, strict=True):
            parameter.copy_(value)
    with contextlib.suppress(ZeroDivisionError), average.swapped_into(model):
        assert not torch.equal(model.weight, own[0])
        _ = 1 / 0
    assert all(torch.equal(found, value) for found, value in zip(model.parameters(), own, strict=True))


def test_batch_statistics_are_averaged_and_counters_copied() -> None:
    model = nn.BatchNorm2d(2)
    average = WeightAverage(model, 0.0)  # nothing is kept: the average is the last state
    model(torch.full((1, 2, 2, 2), 7.0))
    average.update(model)
    state = average.state_dict()["average"]
    assert torch.allclose(state["running_mean"], torch.full((2,), 0.7))
    assert state["num_batches_tracked"] == 1


def test_tied_weights_are_averaged_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    _set(model, 0.0)
    average = WeightAverage(model, 0.5)
    _set(model, 1.0)
    with average.swapped_into(model):
        assert model[1].weight.eq(0).all()
    assert model[1].weight.eq(1).all()


def test_average_goes_on_from_a_saved_state() -> None:
    model = nn.Linear(3, 2)
    average = WeightAverage(model, 0.9)
    _set(model, 2.0)
    average.update(model)
    file = io.BytesIO()
    torch.save(average.state_dict(), file)
    file.seek(0)
    resumed = WeightAverage(nn.Linear(3, 2), 0.9)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for each in (average, resumed):
        each.update(model)
    assert resumed.updates == 2
    for name, tensor in average.state_dict()["average"].items():
        assert torch.equal(resumed.state_dict()["average"][name], tensor)


def test_state_of_another_model_is_refused() -> None:
    average = WeightAverage(nn.Linear(3, 2), 0.9)
    with pytest.raises(InputError, match="does not fit"):
        average.load_state_dict(WeightAverage(nn.Linear(3, 3), 0.9).state_dict())
