"""One parser of devices: names of torch, ModelScope's, and devices that are not there."""

import pytest
import torch

from segpipe.devices import find_device, join_processes, parse_device
from segpipe.errors import InputError


@pytest.mark.parametrize(
    ("name", "device"),
    [("cpu", "cpu"), ("CPU", "cpu"), ("gpu", "cuda"), ("GPU:1", "cuda:1"), ("cuda:2", "cuda:2"), ("mps", "mps")],
)
def test_a_device_has_torchs_name_or_modelscopes(name, device):
    assert parse_device(name) == torch.device(device)


def test_a_torch_device_is_a_device():
    assert parse_device(torch.device("cuda", 1)) == torch.device("cuda", 1)


@pytest.mark.parametrize("name", ["toaster", "cuda:x", "gpu:", "", None])
def test_what_is_not_a_device_says_so(name):
    with pytest.raises(InputError, match="There is no device"):
        parse_device(name)


def test_a_device_that_this_machine_does_not_have_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("gpu:1") == torch.device("cuda:1")
    with pytest.raises(InputError, match=r"'gpu:2' is not there: torch sees 2 GPUs\. Give device=\"cpu\""):
        find_device("gpu:2")
    with pytest.raises(InputError, match="'xla' is not there"):
        find_device("xla")


def test_without_a_name_it_is_a_gpu_if_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device() == join_processes() == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert find_device() == torch.device("cuda")
