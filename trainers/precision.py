"""Mixed precision: the loss scale, layer norms in half precision, and MindSpore's levels O0 to O3 in our words."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from segpipe import advice
from segpipe.configuration import TrainConfig
from segpipe.errors import UnknownNameError
from segpipe.log import get_logger
from segpipe.names import unknown_name_message

logger = get_logger(__name__)

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
AMP_LEVELS: dict[str, dict[str, Any]] = {
    "O0": {"train.precision": "float32", "train.layer_norm_precision": "float32"},
    "O1": {"train.precision": "float16", "train.layer_norm_precision": "float32"},
    "O2": {"train.precision": "float16", "train.layer_norm_precision": "float32"},
    "O3": {"train.precision": "float16", "train.layer_norm_precision": "same"},
}


def amp_level(level: str) -> dict[str, Any]:
    """Return one of MindSpore's levels of mixed precision as `cfg_options` of `build_trainer`.

    Weights and the optimizer stay in float32 at every level, as there. O0 is float32, and O1 is torch's autocast:
    softmax and GELU compute in float32 and only what they read from and hand to matrices is rounded, which at O1 is
    rounded as well. O2 would allow them to compute in float16; torch's kernels never do, so O2 is the same as O1 here.
    Batch norms keep their statistics in float32 even at O3.
    """
    if level not in AMP_LEVELS:
        raise UnknownNameError(unknown_name_message("level of mixed precision", level, tuple(AMP_LEVELS)))
    return dict(AMP_LEVELS[level])


def build_scaler(config: TrainConfig, device_type: str) -> torch.amp.GradScaler:
    """Return the loss scale of a recipe; only in float16 does it do anything."""
    scale = config.loss_scale
    return torch.amp.GradScaler(
        device_type,
        init_scale=scale.initial,
        growth_factor=scale.growth,
        backoff_factor=1 / scale.growth,
        growth_interval=scale.interval,
        enabled=config.precision == "float16",
    )


def apply_layer_norm_precision(model: nn.Module, config: TrainConfig) -> None:
    """Let every LayerNorm compute as the recipe says, in place; parameters stay the same objects."""
    dtype = PRECISIONS[config.precision]
    if config.layer_norm_precision == "float32" or dtype is None:
        return
    for module in model.modules():
        if type(module) is nn.LayerNorm:
            module.__class__ = _HALF_NORMS[dtype]


def warn_of_slow_bfloat16(config: TrainConfig, device_type: str) -> None:
    """Warn where the processor cannot compute in bfloat16, which is many times slower there than float32."""
    if config.precision == "bfloat16" and device_type == "cpu" and not _has_bfloat16():
        logger.warning(
            "This processor cannot compute in bfloat16 itself, and torch is slow in its place. For float32: %s",
            advice.setting("train.precision", "float32"),
        )


def _has_bfloat16() -> bool:
    """Return whether the processor computes in bfloat16, as far as torch knows."""
    name = "_is_mkldnn_bf16_supported"
    return not hasattr(torch.ops.mkldnn, name) or bool(getattr(torch.ops.mkldnn, name)())


class _Float16LayerNorm(nn.LayerNorm):
    """LayerNorm from and to float16 while it is trained, with parameters in float32."""

    dtype = torch.float16

    def forward(self, features: Tensor) -> Tensor:
        """Normalize (…, D) to (…, D)."""
        if not self.training:
            return super().forward(features)
        values, weight, bias = (tensor.to(self.dtype) for tensor in (features, self.weight, self.bias))
        with torch.autocast(features.device.type, enabled=False):
            return functional.layer_norm(values, self.normalized_shape, weight, bias, self.eps)


class _BFloat16LayerNorm(_Float16LayerNorm):
    """The same in bfloat16."""

    dtype = torch.bfloat16


_HALF_NORMS: dict[torch.dtype, type[nn.LayerNorm]] = {
    torch.float16: _Float16LayerNorm,
    torch.bfloat16: _BFloat16LayerNorm,
}
