"""A network and a data set so small that a run of some steps takes a second, as fixtures for any room."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = ("left", "right", "top")
CONFIGURATION = """{
  "model": {
    "type": "segformer", "num_classes": 3, "head": {"type": "mlp", "channels": 16, "dropout": 0.1},
    "encoder": {"dims": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "heads": [1, 2, 3, 4], "drop_path_rate": 0.1}
  },
  "labels": {"names": ["left", "right", "top"]},
  "pipeline": {"type": "image-segmentation"},
  "train": {
    "max_steps": 6, "batch_size": 2, "workers": 0, "seed": 3, "log_every": 1,
    "transforms": [
      {"type": "random_crop", "size": [32, 32]}, {"type": "random_flip"}, {"type": "pad", "size": [32, 32]}
    ],
    "optimizer": {"type": "adamw", "lr": 0.002, "weight_decay": 0.01},
    "schedule": {"type": "poly", "warmup": {"type": "linear", "steps": 2}},
    "checkpoint": {"every": 2, "keep": 2}
  },
  "evaluation": {"every": 3}
}"""


@pytest.fixture
def recipe(tmp_path) -> Path:
    """The configuration of a tiny run."""
    path = tmp_path / "configuration.json"
    path.write_text(CONFIGURATION)
    return path


@pytest.fixture
def data_root(tmp_path) -> Path:
    """A plain folder of five pictures: reddish on the left, bluish on the right, white at the top."""
    return write_pictures(tmp_path / "data")


def write_pictures(root: Path) -> Path:
    """What `data_root` gives, in any folder."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for number in range(5 if split == "train" else 2):
            image = np.zeros((40, 48, 3), np.uint8)
            label = np.zeros((40, 48), np.uint8)
            image[:, :24], image[:, 24:], image[:10] = (200, 40, 40), (40, 40, 200), (230, 230, 230)
            label[:, 24:], label[:10] = 1, 2
            noisy = np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(root / "images" / split / f"{number}.png")
            Image.fromarray(label).save(root / "labels" / split / f"{number}.png")
    (root / "labels.json").write_text(json.dumps({"names": CLASSES}))
    return root
