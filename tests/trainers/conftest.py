"""What training's tests share: the tiny run of `training_material`, and no launcher's variables."""

import os

import pytest
from classification_material import classifier_recipe, shapes_root  # noqa: F401
from training_material import data_root, recipe  # noqa: F401


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """No variable of a launcher or of the user reaches a test."""
    for name in list(os.environ):
        if name.startswith(("SEGPIPE_", "HF_", "MODELSCOPE_", "SLURM_")) or name in (
            "RANK",
            "WORLD_SIZE",
            "LOCAL_RANK",
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
