"""The loss scale against a sequence worked out by hand, and what MindSpore's levels of mixed precision are here."""

import pytest
import torch
from runs import build
from torch import nn
from torch.nn import functional

from segpipe.configuration import AdamW, LossScale, TrainConfig
from segpipe.errors import UnknownNameError
from segpipe.trainers.precision import amp_level, apply_layer_norm_precision, build_scaler, warn_of_slow_bfloat16

EPS = torch.finfo(torch.float32).eps


def train_config(**options):
    return TrainConfig(max_steps=1, batch_size=1, optimizer=AdamW(lr=0.1), **options)


def test_the_loss_scale_grows_and_shrinks_as_worked_out_by_hand():
    scale = LossScale(initial=1024.0, growth=2.0, interval=2)
    scaler = build_scaler(train_config(precision="float16", loss_scale=scale), "cpu")
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scales, weights = [], []
    for gradient in (1.0, 1.0, float("inf"), 1.0, 1.0, 1.0):
        weight.grad = None
        scaler.scale(weight.sum() * gradient).backward()
        scaler.step(optimizer)
        scaler.update()
        scales.append(scaler.get_scale())
        weights.append(weight.item())
    # Two good steps double it, an overflow halves it, leaves the weights and begins to count anew.
    assert scales == [1024, 2048, 1024, 1024, 2048, 2048]
    assert weights == [-1, -2, -2, -3, -4, -5]


def test_the_scale_shrinks_by_what_it_grows_by():
    scale = LossScale(initial=64.0, growth=4.0, interval=1)
    scaler = build_scaler(train_config(precision="float16", loss_scale=scale), "cpu")
    assert (scaler.get_growth_factor(), scaler.get_backoff_factor(), scaler.get_growth_interval()) == (4.0, 0.25, 1)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_only_float16_scales_its_loss(precision):
    assert not build_scaler(train_config(precision=precision), "cpu").is_enabled()


def test_a_run_takes_its_scale_from_the_recipe_and_resumes_with_it(recipe, data_root, tmp_path):
    options = {"train.precision": "float16", "train.loss_scale": {"initial": 256.0, "growth": 2.0, "interval": 2}}
    trainer = build(recipe, data_root, tmp_path / "run", cfg_options=options, max_steps=5)
    trainer.train()
    assert trainer.parts.engine.scaler.get_scale() == 1024.0  # doubled after steps 2 and 4
    again = build(recipe, data_root, tmp_path / "run", cfg_options=options, max_steps=5)
    again.train()
    assert again.parts.engine.scaler.get_scale() == 1024.0


def test_a_step_that_overflows_is_left_out_of_a_run(recipe, data_root, tmp_path):
    options = {"train.precision": "float16", "train.loss_scale": {"initial": 1e30, "growth": 2.0, "interval": 2000}}
    trainer = build(recipe, data_root, tmp_path / "run", cfg_options=options, max_steps=1)
    before = {key: tensor.clone() for key, tensor in trainer.model.named_parameters()}
    trainer.train()
    assert trainer.parts.engine.scaler.get_scale() == pytest.approx(5e29)
    assert all(torch.equal(tensor, before[key]) for key, tensor in trainer.model.named_parameters())


def test_levels_are_what_the_configuration_says_of_precision(recipe, data_root, tmp_path):
    found = {
        level: build(recipe, data_root, tmp_path / level, cfg_options=amp_level(level)).config
        for level in ("O0", "O1", "O2", "O3")
    }
    assert [config.precision for config in found.values()] == ["float32", "float16", "float16", "float16"]
    assert [config.layer_norm_precision for config in found.values()] == ["float32"] * 3 + ["same"]
    with pytest.raises(UnknownNameError, match="O1"):
        amp_level("01")


def test_gelu_and_softmax_of_half_values_compute_in_float32():
    # Hence O1, which names both, and O2, which does not, are the same thing in torch.
    values = torch.randn(64, 128, generator=torch.Generator().manual_seed(0)).half()
    gelu, softmax = functional.gelu(values.double()), values.double().softmax(-1)
    # 1 + erf(x / √2) of float32 is off by some of its eps whatever is left of it, so x (1 + erf(x / √2)) by as many x.
    assert is_rounded_once(functional.gelu(values), gelu, slack=4 * EPS * values.double().abs())
    # An exponential and the sum of 128 of them, relative to their quotient.
    assert is_rounded_once(values.softmax(-1), softmax, slack=(128 + 8) * EPS * softmax)
    # Such a bound finds what computes in half precision.
    halves = values * (1 + (values * 0.5**0.5).erf()) * 0.5
    assert not is_rounded_once(halves, gelu, slack=4 * EPS * values.double().abs())
    exponentials = (values - values.amax(-1, keepdim=True)).exp()
    assert not is_rounded_once(exponentials / exponentials.sum(-1, keepdim=True), softmax, slack=136 * EPS * softmax)


def is_rounded_once(found, exact, slack):
    """Whether half-precision values differ from exact ones by what rounding to half precision may do, and `slack`."""
    half = torch.finfo(torch.float16)
    rounding = (exact.abs() * half.eps / 2).clamp(min=half.smallest_normal * half.eps / 2)
    return bool(((found.double() - exact).abs() <= rounding * (1 + half.eps) + slack).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_layer_norms_take_the_precision_of_the_rest_at_o3(dtype):
    precision = str(dtype).removeprefix("torch.")
    network = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))
    nn.init.uniform_(network[1].weight, 0.5, 1.5)
    values = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    parameters = [id(parameter) for parameter in network.parameters()]
    apply_layer_norm_precision(network, train_config(precision=precision, layer_norm_precision="same"))
    assert [id(parameter) for parameter in network.parameters()] == parameters
    norm = network[1]
    with torch.autocast("cpu", dtype=dtype):
        found = norm(values)
    halves = (values.to(dtype), (8,), norm.weight.to(dtype), norm.bias.to(dtype), norm.eps)
    assert found.dtype == dtype
    assert torch.equal(found, functional.layer_norm(*halves))
    found.sum().backward()
    assert norm.weight.grad.dtype == torch.float32
    network.eval()
    assert network(values).dtype == torch.float32


def test_layer_norms_stay_as_they_are_at_the_other_levels():
    network = nn.LayerNorm(8)
    apply_layer_norm_precision(network, train_config(precision="float16"))
    apply_layer_norm_precision(network, train_config(precision="float32", layer_norm_precision="same"))
    assert type(network) is nn.LayerNorm


@pytest.mark.parametrize(
    ("precision", "device", "warns"),
    [("bfloat16", "cpu", True), ("bfloat16", "cuda", False), ("float32", "cpu", False)],
)
def test_a_processor_without_bfloat16_is_told(precision, device, warns, monkeypatch, caplog):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    warn_of_slow_bfloat16(train_config(precision=precision), device)
    assert ("For float32: cfg_options={" in caplog.text) == warns
