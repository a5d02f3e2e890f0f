"""Networks with one output, trained as a sigmoid against a threshold, as networks of two classes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from .rules import Tensors

WEIGHT, BIAS = "head.classifier.weight", "head.classifier.bias"


def binary_as_two_classes(reshape: Callable[[Tensors], Tensors], threshold: float) -> Callable[[Tensors], Tensors]:
    """A dialect's `reshape` that also gives a segmentation head of one output a second one.

    The output z of the one class becomes the logits 0 and z - log(t / (1 - t)): softmax over [0, z] is sigmoid(z), and
    the second class is the larger exactly where sigmoid(z) > t, at whatever size, since interpolation keeps
    constants.

    Args:
        reshape: what the dialect does besides.
        threshold: t, above which a pixel belongs to the class.
    """
    shift = math.log(threshold / (1 - threshold))

    def widened(tensors: Tensors) -> Tensors:
        tensors = reshape(tensors)
        weight, bias = tensors.get(WEIGHT), tensors.get(BIAS)
        if weight is None or bias is None or len(weight) != 1 or bias.shape != (1,):
            return tensors
        return {
            **tensors,
            WEIGHT: torch.cat([torch.zeros_like(weight), weight]),
            BIAS: torch.cat([torch.zeros_like(bias), bias - shift]),
        }

    return widened


def is_binary(tensors: Tensors) -> bool:
    """Whether a head is what `binary_as_two_classes` made."""
    weight, bias = tensors.get(WEIGHT), tensors.get(BIAS)
    return weight is not None and bias is not None and len(weight) == 2 and not (weight[0].any() or bias[0].any())
