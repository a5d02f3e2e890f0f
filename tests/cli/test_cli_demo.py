"""`segpipe demo`: a street with known truth, or the user's picture, and all that is made of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segpipe import pipeline
from segpipe.cli.main import main
from segpipe.hub import BUNDLED_MODEL
from segpipe.pipelines import SCENE_SIZE, show_demo

FILES = ["label-map.png", "legend.png", "overlay.png", "picture.png", "result.json", "side-by-side.png"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The folder that the demo wrote."""
    folder = tmp_path_factory.mktemp("demo")
    show_demo(None, BUNDLED_MODEL, folder)
    return folder


def test_the_demo_needs_no_argument_and_no_network(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGPIPE_OFFLINE", "1")
    assert main(["demo"]) == 0
    text = capsys.readouterr().out
    assert "pixel accuracy" in text
    assert 'segment = pipeline("image-segmentation", "segformer-b0-camvid")' in text
    assert sorted(path.name for path in (tmp_path / "segpipe-demo").iterdir()) == FILES


def test_the_demos_scores_are_those_of_its_own_files(capsys):
    from segpipe.scenes.street import draw_street_scene

    assert main(["demo", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    label_map = pipeline("image-segmentation", "segformer-b0-camvid")("segpipe-demo/picture.png").label_map
    label = draw_street_scene(0, SCENE_SIZE).label
    is_known = label != 255
    assert document["truth"]["pixel_accuracy"] == (label_map == label)[is_known].mean()
    assert document["truth"]["pixel_accuracy"] > 0.5
    assert list(document["seconds"])[:2] == ["start PyTorch", "load the model"]


def test_a_picture_of_ones_own_has_no_truth(street, capsys):
    assert main(["demo", str(street), "--output", "out"]) == 0
    text = capsys.readouterr().out
    assert "truth" not in text
    assert f'print(segment("{street}"))' in text
    assert Image.open("out/street-overlay.png").size == (64, 64)


def test_a_picture_of_ones_own_leaves_the_drawn_streets_files_alone(street, drawn):
    """Also where it is one of them, or is called like one of their parts."""
    before = {path: path.read_bytes() for path in drawn.iterdir()}
    for path in (street.rename("side-by.png"), street.parent / "label.png", drawn / "picture.png"):
        if not path.exists():
            path.write_bytes(Path("side-by.png").read_bytes())
        assert main(["demo", str(path), "--output", str(drawn)]) == 0
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(drawn.iterdir())) == len(before) + 3 * 5


def test_the_picture_of_the_readme_is_the_demos(drawn):
    """As `segpipe demo --output demo && cp demo/side-by-side.png docs/street.png` writes it."""
    made = np.asarray(Image.open(drawn / "side-by-side.png"), np.int16)
    shown = np.asarray(Image.open(Path(__file__).parents[2] / "docs/street.png").convert("RGB"), np.int16)
    assert made.shape == shown.shape
    assert np.abs(made - shown).mean() < 1  # another build of OpenCV may round a pixel differently


def test_a_picture_that_cannot_be_read_is_one_sentence(capsys):
    assert main(["demo", "nowhere.jpg"]) == 1
    assert capsys.readouterr().err.startswith("segpipe: There is no image 'nowhere.jpg'.")
