"""Street scenes that the package draws itself, with a label that is right by construction."""

from __future__ import annotations

from .street import Scene, draw_street_scene

__all__ = ["Scene", "draw_street_scene"]
