"""What a dialect is: how one implementation names its tensors, and how those names become ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

Tensors = dict[str, Tensor]


def keep(tensors: Tensors) -> Tensors:
    """Nothing is stored in other pieces than ours."""
    return tensors


@dataclass(frozen=True)
class DialectRules:
    """How one implementation names things.

    Attributes:
        signature: a key that only this dialect has, as a regular expression.
        renamings: (pattern, replacement) pairs, applied in order to the whole key.
        ignored: keys that hold nothing a model needs.
        reshape: what is done to the renamed tensors where they are cut into other pieces than ours.
    """

    signature: str
    renamings: tuple[tuple[str, str], ...]
    ignored: str = r"$^"
    reshape: Callable[[Tensors], Tensors] = keep

    def apply(self, tensors: Mapping[str, Tensor]) -> Tensors:
        """The tensors in our names; keys that no rule knows keep theirs."""
        return self.reshape(
            {
                _rename(key, self.renamings): tensor
                for key, tensor in tensors.items()
                if not re.search(self.ignored, key)
            }
        )


# Stages count from 1 in some keys; these stand for i-1 in a replacement.
_STAGE_FROM_ONE = {str(number): str(number - 1) for number in range(1, 5)}


def _rename(key: str, renamings: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in renamings:
        if "<stage>" not in pattern:
            key = re.sub(pattern, replacement, key)
            continue
        for theirs, ours in _STAGE_FROM_ONE.items():
            key = re.sub(pattern.replace("<stage>", theirs), replacement.replace("<stage>", ours), key)
    return key
