"""Scores as other implementations print them."""

import json
import math

import pytest
from PIL import Image

from segpipe.cli.main import main
from segpipe.configuration.strict_yaml import parse_yaml
from segpipe.evaluation import ConfusionMatrix
from segpipe.evaluation.reports import mmseg_tables, segmenter_yaml

MODEL = "segformer-b0-camvid"


@pytest.fixture
def scores():
    """road 1/2 right of 3 labelled and predicted, car 2/3; "tree: old" is nowhere."""
    import numpy as np

    matrix = ConfusionMatrix(num_classes=3, ignore_index=255)
    matrix.update(prediction=np.array([[0, 1, 1, 1]]), label=np.array([[0, 0, 1, 1]]))
    return matrix.scores(("road", "car", "tree: old"))


def test_mmsegmentations_tables(scores):
    assert mmseg_tables(scores) == (
        "per class results:\n"
        "\n"
        "+-----------+-------+--------+\n"
        "|   Class   |  IoU  |  Acc   |\n"
        "+-----------+-------+--------+\n"
        "|   road    | 50.00 | 50.00  |\n"
        "|    car    | 66.67 | 100.00 |\n"
        "| tree: old |  nan  |  nan   |\n"
        "+-----------+-------+--------+\n"
        "Summary:\n"
        "\n"
        "+-------+-------+-------+\n"
        "| aAcc  | mIoU  | mAcc  |\n"
        "+-------+-------+-------+\n"
        "| 75.00 | 58.33 | 75.00 |\n"
        "+-------+-------+-------+"
    )


@pytest.mark.peer
def test_the_yaml_of_segmenter_is_read_back(scores):
    text = segmenter_yaml(scores)
    assert parse_yaml(text.replace(".nan", "null"), origin="these") == {
        "pixel_accuracy": 75.0,
        "mean_accuracy": 75.0,
        "mean_iou": 58.33,
        "cat_iou": {"road": 50.0, "car": 66.67, "tree: old": None},
    }
    yaml = pytest.importorskip("yaml")
    assert math.isnan(yaml.safe_load(text)["cat_iou"]["tree: old"])


def test_the_command_prints_each_format(tmp_path, capsys):
    from segpipe.scenes.street import draw_street_scene

    scene = draw_street_scene(0, (64, 80))
    for kind, pixels in (("val", scene.image), ("valannot", scene.label)):
        (tmp_path / "camvid" / kind).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "camvid" / kind / "street.png")
    command = ["eval", MODEL, "--data", "camvid", str(tmp_path / "camvid"), "--device", "cpu", "--format"]
    said = {}
    for text_format in ("json", "mmseg", "yml"):
        assert main([*command, text_format]) == 0
        said[text_format] = capsys.readouterr().out
    miou = f"{100 * json.loads(said['json'])['scores']['miou']:.2f}"
    assert f"mean_iou: {miou}\n" in said["yml"]
    assert f"| {miou} |" in said["mmseg"]
