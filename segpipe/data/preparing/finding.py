"""What preparations say about a folder that is not what they expect, and how they find one that may lie deeper."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from segpipe.errors import InputError
from segpipe.names import listing


def shown_content(folder: Path) -> str:
    """The first names in a folder, for messages."""
    names = sorted(f"{path.name}/" if os.path.isdir(path) else path.name for path in folder.iterdir())
    return listing(names, 8) or "nothing"


def first_folder(root: Path, tops: Sequence[str], wanted: str, advice: str) -> Path:
    """The first of `tops` below the root that holds `wanted`; InputError says what lies there and what to do."""
    found = next((root / top for top in tops if os.path.exists(root / top / wanted)), None)
    if found is None:
        places = ", ".join(f"{top}/{wanted}" if top else wanted for top in tops)
        raise InputError(f"{root} has no {wanted}: it holds {shown_content(root)}. Right would be {places}. {advice}")
    return found
