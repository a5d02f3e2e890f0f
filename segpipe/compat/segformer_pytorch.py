"""SegFormer-Pytorch's names: `make_SegFormerB0` to `make_SegFormerB5` give segpipe's SegFormer.

    from segpipe.compat.segformer_pytorch import make_SegFormerB1

    model = make_SegFormerB1(num_classes=19)

The weights are random; `load_model("segformer-b1-cityscapes")` gives the same network with published ones. No weights
of SegFormer-Pytorch were ever published, and its encoder differs: it has no norm after patch embeddings and stages, no
biases in its attention, a further convolution in the FFN, no stochastic depth, and one block less in B2 and in B3. Its
head has neither norm nor activation. These functions build the paper's Mix Transformer with the head that NVlabs
published.

Differences: images are (B, 3, H, W) RGB 0–255, which the network normalizes; logits are at a quarter of the image's
size, not at the whole.
"""

from __future__ import annotations

from typing import Any

from segpipe.configuration import build_configuration
from segpipe.models import SegpipeNetwork, build_model

__all__ = [f"make_SegFormerB{number}" for number in range(6)]


def make_SegFormerB0(num_classes: int, **options: Any) -> SegpipeNetwork:
    """Build SegFormer B0, 3.8 million parameters with its head.

    Args:
        num_classes: channels of the logits.
        options: further fields of `model` in a configuration.json, such as `encoder={"drop_path_rate": 0.0}`.

    Raises:
        ConfigurationError: an option is not a field of `model`, or its value is not allowed.
    """
    return _make("b0", num_classes, options)


def make_SegFormerB1(num_classes: int, **options: Any) -> SegpipeNetwork:
    """Build SegFormer B1, 13.7 million parameters; see `make_SegFormerB0`."""
    return _make("b1", num_classes, options)


def make_SegFormerB2(num_classes: int, **options: Any) -> SegpipeNetwork:
    """Build SegFormer B2, 27.4 million parameters; see `make_SegFormerB0`."""
    return _make("b2", num_classes, options)


def make_SegFormerB3(num_classes: int, **options: Any) -> SegpipeNetwork:
    """Build SegFormer B3, 47.2 million parameters; see `make_SegFormerB0`."""
    return _make("b3", num_classes, options)


def make_SegFormerB4(num_classes: int, **options: Any) -> SegpipeNetwork:
    """Build SegFormer B4, 64.0 million parameters; see `make_SegFormerB0`."""
    return _make("b4", num_classes, options)


def make_SegFormerB5(num_classes: int, **options: Any) -> SegpipeNetwork:
    """Build SegFormer B5, 84.6 million parameters; see `make_SegFormerB0`."""
    return _make("b5", num_classes, options)


def _make(variant: str, num_classes: int, options: dict[str, Any]) -> SegpipeNetwork:
    document = {"model": {"type": "segformer", "variant": variant, "num_classes": num_classes, **options}}
    return build_model(build_configuration(document, origin=f"make_SegFormer{variant.upper()}").model)
