"""What the command line's tests share: an empty cache of their own, and small pictures."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands write into the current folder and read the environment; both are the test's own."""
    for name in list(os.environ):
        if name.startswith(("SEGPIPE_", "HF_", "MODELSCOPE_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """A drawn street of 64 × 64 pixels."""
    return draw_picture(tmp_path / "street.png", 0)


def draw_picture(path: Path, seed: int) -> Path:
    from segpipe.drawing.writing import write_image
    from segpipe.scenes.street import draw_street_scene

    return write_image(path, draw_street_scene(seed, (64, 64)).image)
