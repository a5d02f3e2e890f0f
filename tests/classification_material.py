"""A tiny classifier and a folder of drawn shapes for each class, as fixtures for any room."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

CLASSES = ("circle", "cross", "square")
COLORS = {"circle": (210, 60, 60), "cross": (60, 190, 80), "square": (70, 80, 210)}
CLASSIFIER_CONFIGURATION = """{
  "task": "image-classification",
  "model": {
    "type": "mit", "num_classes": 3,
    "encoder": {"dims": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "heads": [1, 2, 3, 4], "drop_path_rate": 0.1}
  },
  "labels": {"names": ["circle", "cross", "square"]},
  "preprocessor": {"resize": {"mode": "center_crop", "size": 36, "crop": [32, 32]}},
  "pipeline": {"type": "image-classification"},
  "train": {
    "trainer": "classification", "max_steps": 6, "batch_size": 4, "workers": 0, "seed": 3, "log_every": 1,
    "transforms": [
      {"type": "random_area_crop", "size": [32, 32]}, {"type": "random_flip"}, {"type": "rand_augment"},
      {"type": "random_erasing"}
    ],
    "loss": {"type": "soft_cross_entropy", "mixup": 0.8, "cutmix": 1.0, "smoothing": 0.1},
    "optimizer": {"type": "adamw", "lr": 0.003, "weight_decay": 0.05, "vector_weight_decay": 0.0},
    "checkpoint": {"every": 2, "keep": 2}
  },
  "evaluation": {"every": 3, "batch_size": 4, "best": "acc1"}
}"""


@pytest.fixture
def classifier_recipe(tmp_path) -> Path:
    """The configuration of a tiny run."""
    path = tmp_path / "classifier.json"
    path.write_text(CLASSIFIER_CONFIGURATION)
    return path


@pytest.fixture
def shapes_root(tmp_path) -> Path:
    """Folders of shapes, each class with its colour: four pictures to train on and two to evaluate on per class."""
    return write_shapes(tmp_path / "shapes")


def write_shapes(root: Path) -> Path:
    """What `shapes_root` gives, in any folder."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                draw_shape(name, rng).save(root / split / name / f"{number}.png")
    return root


def draw_shape(name: str, rng: np.random.Generator) -> Image.Image:
    """A picture of 48 × 40 with one shape, anywhere."""
    noise = rng.normal(128, 10, (40, 48, 3)).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(noise)
    drawing = ImageDraw.Draw(picture)
    x, y, side = (int(rng.integers(low, high)) for low, high in ((4, 18), (4, 12), (16, 24)))
    box = (x, y, x + side, y + side)
    if name == "circle":
        drawing.ellipse(box, fill=COLORS[name])
    elif name == "square":
        drawing.rectangle(box, fill=COLORS[name])
    else:
        drawing.line((x, y, x + side, y + side), fill=COLORS[name], width=7)
        drawing.line((x, y + side, x + side, y), fill=COLORS[name], width=7)
    return picture
