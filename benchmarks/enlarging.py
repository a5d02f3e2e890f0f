"""A larger SegFormer that computes what a smaller one computes.

Each channel becomes several equal ones, of which every reader takes the mean, and a block that the small network
does not have adds nothing to what comes to it (Chen, Goodfellow, Shlens: Net2Net, ICLR 2016, arXiv:1511.05641).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

Tensors = dict[str, Tensor]
_BLOCK = re.compile(r"(.*\.blocks\.)(\d+)(\..*)")
_ADDS_TO_THE_BLOCKS_INPUT = ("attention.proj.weight", "attention.proj.bias", "mlp.fc2.weight", "mlp.fc2.bias")
_IS_MULTIPLIED_WITH_KEYS = ("attention.q.weight", "attention.q.bias")


def enlarge(tensors: Tensors, shapes: Mapping[str, torch.Size]) -> Tensors:
    """The same function in tensors of other shapes.

    Args:
        tensors: of the small SegFormer, under segpipe's names.
        shapes: of the large one's; each length a multiple of the small one's, and as many heads.
    """
    return {name: _enlarge_tensor(tensors, name, shape) for name, shape in shapes.items()}


def _enlarge_tensor(tensors: Tensors, name: str, shape: torch.Size) -> Tensor:
    source = _source_of(tensors, name)
    if source != name and name.endswith(_ADDS_TO_THE_BLOCKS_INPUT):
        return torch.zeros(shape)
    tensor = tensors[source]
    copies = [large // small for large, small in zip(shape, tensor.shape, strict=True)]
    assert [count * small for count, small in zip(copies, tensor.shape, strict=True)] == list(shape), name
    for axis, count in enumerate(copies):
        tensor = tensor.repeat_interleave(count, dim=axis)
    if len(copies) > 1:  # axis 1 holds what is read
        tensor = tensor / copies[1]
    if name.endswith(_IS_MULTIPLIED_WITH_KEYS):
        tensor = tensor / copies[0] ** 0.5  # a product of n times as many numbers, which attention divides by √n
    return tensor


def _source_of(tensors: Tensors, name: str) -> str:
    """The tensor's own name, or for a block too many that of the block before."""
    block = _BLOCK.fullmatch(name)
    while block and name not in tensors:
        name = f"{block[1]}{int(block[2]) - 1}{block[3]}"
        block = _BLOCK.fullmatch(name)
    return name
