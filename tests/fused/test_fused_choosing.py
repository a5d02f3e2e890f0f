"""When kernels are taken, what happens where Triton cannot run, and that every kernel compiles for a GPU."""

import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fused_material import DEVICE, import_kernels, on_device

from segpipe.models.fast import choosing
from segpipe.models.fast.choosing import can_fuse

ROOT = Path(__file__).parents[2]
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")


def on_gpu(dtype=torch.float32):
    """What is asked of a tensor on a GPU, for machines without one."""
    return SimpleNamespace(device=SimpleNamespace(type="cuda", index=0), dtype=dtype)


def test_a_working_gpu_is_used_in_32_bits_or_fewer(monkeypatch):
    monkeypatch.setattr(choosing, "_is_working", lambda index: index == 0)
    assert can_fuse(on_gpu())
    assert can_fuse(on_gpu(torch.bfloat16))
    assert not can_fuse(on_gpu(torch.float64))
    assert not can_fuse(torch.zeros(1))


def test_the_switch_leaves_everything_to_torch(monkeypatch):
    monkeypatch.setattr(choosing, "_is_working", lambda index: True)
    monkeypatch.setenv("SEGPIPE_FUSED", "0")
    assert not can_fuse(on_gpu())


def test_without_triton_the_answer_is_no_and_silent(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "triton", None)
    assert not choosing._is_working.__wrapped__(0)
    assert not caplog.records


@needs_triton
@pytest.mark.peer
def test_where_triton_fails_a_warning_says_so(monkeypatch, caplog):
    monkeypatch.setattr(import_kernels("segpipe.models.fast.triton_probe"), "is_right_on", lambda index: 1 / 0)
    monkeypatch.setattr(logging.getLogger("segpipe"), "propagate", True)
    assert not choosing._is_working.__wrapped__(0)
    assert "cannot run on GPU 0" in caplog.text
    assert "division by zero" in caplog.text


@needs_triton
@pytest.mark.peer
def test_the_probe_runs():
    probe = import_kernels("segpipe.models.fast.triton_probe")
    assert probe.is_right(*on_device(torch.arange(float(probe.LENGTH))))


def test_networks_and_losses_import_no_triton():
    code = "import sys, segpipe.models, segpipe.inference, segpipe.trainers.losses; print('triton' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.strip() == "False"


def compiled_kernels(folder, *options):
    """Names of the kernels that were compiled, in order."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TRITON_CACHE_DIR": str(folder), "TRITON_INTERPRET": "0"}
    command = [sys.executable, str(Path(__file__).with_name("kernel_compiling.py")), *options]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 0, run.stderr
    return [line.split()[0] for line in run.stdout.splitlines()]


OPERATIONS = ["_label_pixels", "_compute_losses", "_compute_gradient", "_sum_points", "_spread_points"]


@needs_triton
@pytest.mark.peer
def test_every_kernel_compiles_for_a_gpu(tmp_path):
    assert compiled_kernels(tmp_path) == ["_double", *OPERATIONS]


@needs_triton
@pytest.mark.peer
@pytest.mark.slow
def test_every_kernel_compiles_for_other_types_and_sizes(tmp_path):
    assert compiled_kernels(tmp_path, "--all") == ["_double", *OPERATIONS * 3]


@needs_triton
@pytest.mark.gpu
@pytest.mark.skipif(DEVICE.type != "cuda", reason="needs a GPU")
def test_a_gpu_takes_the_kernels():
    assert can_fuse(torch.zeros(1, device=DEVICE))
