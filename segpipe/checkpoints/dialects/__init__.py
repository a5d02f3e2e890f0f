"""Key maps: how each implementation names a network's tensors, and ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from segpipe.errors import CorruptWeightsError, UnknownDialectError

from .rules import DialectRules, Tensors
from .segformer import SEGFORMER_DIALECTS
from .unept import UNEPT_DIALECTS
from .vit import VIT_DIALECTS
from .writing import WRITTEN_DIALECTS, write_dialect

__all__ = ["DIALECTS", "WRITTEN_DIALECTS", "DialectRules", "detect_dialect", "translate", "write_dialect"]

# The first whose signature a file has is its dialect.
DIALECTS: dict[str, DialectRules] = {
    "segpipe": DialectRules(signature=r"^encoder\.(stages\.0\.embed\.proj|embed|stem\.0\.conv)\.weight$", renamings=()),
    **SEGFORMER_DIALECTS,
    **VIT_DIALECTS,
    **UNEPT_DIALECTS,
}


def detect_dialect(keys: Iterable[str], *, origin: str) -> str:
    """The dialect that a file's keys are written in ("mmseg" stands for EasyCV too)."""
    names = list(keys)
    for dialect, rules in DIALECTS.items():
        if any(re.search(rules.signature, name) for name in names):
            return dialect
    raise UnknownDialectError(
        f"{origin} names its tensors like no implementation that segpipe knows "
        f"(first: {', '.join(names[:3]) or 'none'}). "
        f"Known: {', '.join(DIALECTS)}. Is it a checkpoint of a network that segpipe has?"
    )


def translate(tensors: Mapping[str, Tensor], dialect: str) -> Tensors:
    """A foreign state dict in our names; keys that no rule knows keep theirs and are reported when loading."""
    try:
        return DIALECTS[dialect].apply(tensors)
    except (RuntimeError, IndexError, ValueError, TypeError) as error:  # shapes that cannot be cut or joined
        raise CorruptWeightsError(
            f"The tensors have the names of {dialect} and shapes that it does not have: {str(error).splitlines()[0]}. "
            "Check that the file is whole."
        ) from None
