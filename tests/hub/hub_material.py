"""A model of a few bytes, and helpers that look into a cache."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from segpipe.hub import Limits, ModelFolder, seal_folder

CONFIGURATION = {"model": {"type": "segformer", "variant": "b0", "num_classes": 2}, "labels": {"names": ["a", "b"]}}
WEIGHTS = b"".join(hashlib.sha256(index.to_bytes(4, "big")).digest() for index in range(3000))  # 96 kB, no pattern
NAME = "team/street"
FAST = Limits(connect_timeout=2, read_timeout=2, attempts=4, first_delay=0, deadline=15)


def make_folder(path: Path, weights: bytes = WEIGHTS) -> ModelFolder:
    from segpipe.configuration import decode_configuration

    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(weights)
    return seal_folder(path, decode_configuration(json.dumps(CONFIGURATION), origin="test"))


def leftovers(home: Path) -> list[str]:
    """Files of unfinished work anywhere in a cache."""
    marks = (".part", ".part.json", ".tmp")
    return sorted(
        p.name for p in home.rglob("*") if p.name.endswith(marks) or p.name.startswith((".incoming", ".removed"))
    )
