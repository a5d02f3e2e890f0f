"""`segpipe demo`: a street with known truth, or the user's picture, and all that is made of it."""

import json

from PIL import Image

from segpipe import pipeline
from segpipe.cli.main import main

FILES = ["label-map.png", "legend.png", "overlay.png", "picture.png", "result.json", "side-by-side.png"]


def test_the_demo_needs_no_argument_and_no_network(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGPIPE_OFFLINE", "1")
    assert main(["demo"]) == 0
    text = capsys.readouterr().out
    assert "pixel accuracy" in text
    assert 'segment = pipeline("image-segmentation", "segformer-b0-camvid")' in text
    assert sorted(path.name for path in (tmp_path / "segpipe-demo").iterdir()) == FILES


def test_the_demos_scores_are_those_of_its_own_files(capsys):
    from segpipe.data.scenes import draw_street_scene

    assert main(["demo", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    label_map = pipeline("image-segmentation", "segformer-b0-camvid")("segpipe-demo/picture.png").label_map
    label = draw_street_scene(0).label
    is_known = label != 255
    assert document["truth"]["pixel_accuracy"] == (label_map == label)[is_known].mean()
    assert document["truth"]["pixel_accuracy"] > 0.5
    assert list(document["seconds"])[:2] == ["start PyTorch", "load the model"]


def test_a_picture_of_ones_own_has_no_truth(street, capsys):
    assert main(["demo", str(street), "--output", "out"]) == 0
    text = capsys.readouterr().out
    assert "truth" not in text
    assert f'print(segment("{street}"))' in text
    assert Image.open("out/overlay.png").size == (64, 64)


def test_a_picture_that_cannot_be_read_is_one_sentence(capsys):
    assert main(["demo", "nowhere.jpg"]) == 1
    assert capsys.readouterr().err.startswith("segpipe: There is no picture 'nowhere.jpg'.")
