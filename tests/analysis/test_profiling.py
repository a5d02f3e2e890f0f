"""Timing a network: what is timed, how often, what comes back."""

import pytest
import torch

from segpipe.analysis.profiling import WARM_UP_ROUNDS, measure_speed
from segpipe.errors import InputError
from segpipe.models import SegformerConfig, build_model


def test_warm_up_is_not_timed_and_the_batch_counts():
    network = build_model(SegformerConfig(num_classes=3)).eval()
    shapes = []
    network.register_forward_hook(lambda _module, inputs, _output: shapes.append(tuple(inputs[0].shape)))
    speed = measure_speed(network, (32, 64), batch_size=2, rounds=4)
    assert shapes == [(2, 3, 32, 64)] * (WARM_UP_ROUNDS + 4)
    assert (speed.batch_size, speed.rounds, speed.peak_memory) == (2, 4, None)
    assert 0.0 < speed.fastest <= speed.latency
    assert speed.throughput == pytest.approx(2 / speed.latency)


def test_time_is_limited_but_one_call_is_always_timed():
    network = build_model(SegformerConfig(num_classes=3)).eval()
    assert measure_speed(network, (32, 32), rounds=1000, seconds=0.0).rounds == 1


def test_nothing_cannot_be_timed():
    with pytest.raises(InputError, match="at least 1"):
        measure_speed(build_model(SegformerConfig(num_classes=3)), (32, 32), rounds=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_runs_in_the_networks_own_type(dtype):
    network = build_model(SegformerConfig(num_classes=3)).eval().to(dtype)
    assert measure_speed(network, (32, 32), rounds=1).latency > 0.0
