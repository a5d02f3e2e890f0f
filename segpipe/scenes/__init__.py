"""Draw street scenes whose labels are right by construction."""

from typing import TYPE_CHECKING

from segpipe.lazy import lazy_names

if TYPE_CHECKING:
    from .street import SMALLEST_SIDE as SMALLEST_SIDE, Scene as Scene, draw_street_scene as draw_street_scene

__getattr__, __dir__, __all__ = lazy_names(__name__)
