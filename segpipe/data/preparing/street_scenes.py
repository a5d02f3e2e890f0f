"""Drawn streets as a data set in CamVid's layout, to be mixed with CamVid's own pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from segpipe import advice
from segpipe.errors import InputError
from segpipe.files import open_regular
from segpipe.scenes import SMALLEST_SIDE, draw_street_scene

from ..datasets.scanning import resolve_split
from .camvid import SPLITS, VOID, split_files
from .plans import Plan, Task


def plan_street_scenes(
    root: Path, *, count: int = 150, first_seed: int = 1000, size: tuple[int, int] = (360, 480), split: str = "train"
) -> Plan:
    """images/train/SEED.png and labels/train/SEED.png, one street for each seed from `first_seed` on.

    The same seed and size give the same street, so more of them can be added later.

    Args:
        root: a folder; CamVid's own may be it.
        count: how many streets.
        first_seed: of the first one; 0 or more.
        size: (height, width), each at least 64.
        split: train, val or test.
    """
    split = resolve_split("street-scenes", split, SPLITS)
    if count < 1 or first_seed < 0 or min(size) < SMALLEST_SIDE:
        raise InputError(
            f"{count} streets from seed {first_seed} of size {size} cannot be drawn; 1 or more are needed, a seed of 0 "
            f"or more and sides of at least {SMALLEST_SIDE}. Give such numbers."
        )
    seeds = range(first_seed, first_seed + count)
    tasks = tuple(Task(split_files(root, split, str(seed)), partial(draw_pair, seed, size)) for seed in seeds)
    _check_sizes(tasks, size)
    return Plan(f"Streets of {size[0]} × {size[1]}, seeds {seeds[0]} to {seeds[-1]}, drawn in CamVid's classes.", tasks)


def draw_pair(seed: int, size: tuple[int, int]) -> Sequence[np.ndarray]:
    """The picture (H, W, 3) uint8 and the label (H, W) uint8, with void as CamVid's files have it."""
    scene = draw_street_scene(seed, size)
    return scene.image, mark_void(scene.label)


def mark_void(label: np.ndarray) -> np.ndarray:
    """The label with 11 for 255."""
    return np.where(label == 255, np.uint8(VOID), label)


def _check_sizes(tasks: Sequence[Task], size: tuple[int, int]) -> None:
    """Streets of two sizes in one folder would be an accident."""
    for task in tasks:
        for path in task.files:
            found = _png_size(path)
            if found is not None and found != size:
                raise InputError(
                    f"{path} is {found[0]} × {found[1]} (height × width), and {size[0]} × {size[1]} is to be drawn. "
                    "All streets of a folder have one size. Give another folder, or "
                    + advice.either(python=f"size={found}.", command=f"--size {found[0]}x{found[1]}.")
                )


def _png_size(path: Path) -> tuple[int, int] | None:
    try:
        with open_regular(path, error=OSError) as file:
            header = file.read(24)
    except OSError:
        return None
    if len(header) < 24 or header[12:16] != b"IHDR":
        return None
    return int.from_bytes(header[20:24], "big"), int.from_bytes(header[16:20], "big")
