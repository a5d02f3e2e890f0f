"""The number of a network's parameters, without torch where its family has a formula."""

from __future__ import annotations

from segpipe.configuration import ModelConfig

from .family import family_of


def num_parameters(config: ModelConfig) -> int:
    """Return the learnable numbers of a section's network; torch is imported only where the family cannot count."""
    count = family_of(config).count_parameters
    known = None if count is None else count(config)
    if known is not None:
        return known
    from .building import build_outline

    return sum(parameter.numel() for parameter in build_outline(config).parameters())
