"""Data loading alone: street scenes as a small ADE20K on disk, through the recipe's transforms, to batches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from PIL import Image

from .results import OURS, Row, spread_of
from .timing import time_in_turn
from .training_steps import IGNORE_INDEX, read_preset, read_recipe

if TYPE_CHECKING:
    from segpipe.data.transforms.building import Chain

SCENES = 16
SCENE_SIZE = (512, 683)
"""(height, width): ADE20K's pictures have a short side of 512 and mostly a ratio of 4 to 3."""
WORKERS = (0, 2)
PICTURES_PER_ROUND = 64
STEP = "training step"


def write_scenes(root: Path) -> None:
    """Drawn scenes in ADE20K's layout: JPEGs, and PNGs whose values are class + 1."""
    from segpipe.scenes.street import draw_street_scene

    images, labels = root / "images" / "training", root / "annotations" / "training"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    for seed in range(SCENES):
        scene = draw_street_scene(seed, SCENE_SIZE)
        Image.fromarray(scene.image).save(images / f"{seed:04}.jpg", quality=92)
        Image.fromarray(ade20k_values(scene.label)).save(labels / f"{seed:04}.png")


def ade20k_values(label: np.ndarray) -> np.ndarray:
    """What ADE20K's files hold for class indices (H, W) uint8: class + 1, and 0 for ignored pixels."""
    return np.where(label == IGNORE_INDEX, 0, label + np.uint8(1)).astype(np.uint8)


def read_chain(size: int) -> Chain:
    """The ADE20K recipe's transforms, cropping to size × size."""
    from segpipe.data.transforms.building import build_transforms

    red, green, blue = (round(value) for value in read_preset().model.pixel_mean)
    steps = [_resized(step, size) for step in read_recipe().transforms]
    return build_transforms(steps, ignore_index=IGNORE_INDEX, fill=(red, green, blue))


def measure_loading(root: Path, step: Row, *, batch: int, size: int) -> list[Row]:
    """Milliseconds per picture for each number of workers, beside the median of training.

    Args:
        root: what `write_scenes` wrote.
        step: of training; the loader is given as many rounds as it had.
        batch: pictures per batch.
        size: of the crops.
    """
    rounds = len(step.runs[OURS])
    return [
        Row(
            table="loading",
            network=step.network,
            size=(size, size),
            what=f"batch size {batch}, {workers} workers",
            unit="ms",
            runs={
                OURS: _time_loader(root, workers, rounds, batch=batch, size=size),
                STEP: (spread_of(step.runs[OURS]).median,) * rounds,  # they were not taken in turn
            },
        )
        for workers in WORKERS
    ]


def _resized(step: Any, size: int) -> Any:
    """A transform's configuration with the recipe's crop and pad brought to another size."""
    if step.__struct_config__.tag not in ("random_crop", "pad"):
        return step
    return msgspec.structs.replace(step, size=(size, size))


def _time_loader(root: Path, workers: int, rounds: int, *, batch: int, size: int) -> tuple[float, ...]:
    """Milliseconds per picture, without pauses between rounds in which workers could get ahead."""
    from segpipe.data import load_dataset
    from segpipe.data.loader import build_loader

    count = -(-PICTURES_PER_ROUND // batch)
    dataset = load_dataset("ade20k", root, split="train")
    with build_loader(dataset, read_chain(size), batch_size=batch, workers=workers) as loader:

        def read() -> None:
            for _ in range(count):
                next(loader)

        times = time_in_turn({OURS: read}, rounds=rounds, seconds=float("inf"))[OURS]
    return tuple(value / (count * batch) for value in times)
