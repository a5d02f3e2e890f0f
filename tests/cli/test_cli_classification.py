"""Classification on the command line: training, scores, and what is for segmentation alone."""

import json

import pytest
from classification_material import CLASSES, classifier_recipe, shapes_root  # noqa: F401
from training_material import data_root, recipe  # noqa: F401

from segpipe import pipeline
from segpipe.cli.main import main


@pytest.fixture
def trained(classifier_recipe, shapes_root, tmp_path, capsys):  # noqa: F811
    """The folder of a short run, and what the run said."""
    command = ["train", "--config", str(classifier_recipe), "--data", "imagenet", str(shapes_root), "--device", "cpu"]
    assert main([*command, "--work-dir", str(tmp_path / "run"), "--max-steps", "2"]) == 0
    return tmp_path / "run/model", capsys.readouterr().out


def test_train_eval_and_the_pipeline_agree(trained, shapes_root, capsys):  # noqa: F811
    folder, said = trained
    assert "Acc@1" in said
    assert 'pipeline("image-classification"' in said
    assert "segpipe predict" in said
    assert main(["eval", str(folder), "--data", "imagenet", str(shapes_root), "--batch-size", "4", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    classify = pipeline("image-classification", folder)
    found = [classify(shapes_root / f"val/{name}/{index}.png").label == name for name in CLASSES for index in range(2)]
    assert document["scores"]["acc1"] == pytest.approx(sum(found) / 6)
    assert document["scores"]["num_pictures"] == document["pictures"] == 6
    assert main(["eval", str(folder), "--data", "imagenet", str(shapes_root)]) == 0
    assert "Acc@5                100.00" in capsys.readouterr().out


def test_what_is_for_segmentation_says_so(trained, shapes_root, capsys, tmp_path):  # noqa: F811
    folder, _ = trained
    command = ["eval", str(folder), "--data", "imagenet", str(shapes_root), "--output", str(tmp_path / "out")]
    assert main([*command, "--overlays"]) == 2
    assert "are for segmentation" in capsys.readouterr().err
    command = ["predict", str(shapes_root / "val/circle/0.png"), "--model", str(folder)]
    assert main([*command, "--label-maps"]) == 2
    assert "is a classifier" in capsys.readouterr().err
    assert main(["data", "check", "imagenet", str(shapes_root)]) != 0
    assert "has no label maps" in capsys.readouterr().err


def test_encoder_weights_of_a_classifier_begin_a_segmentation(trained, recipe, data_root, tmp_path, capsys):  # noqa: F811
    folder, _ = trained
    command = ["train", "--config", str(recipe), "--data", "folder", str(data_root), "--device", "cpu"]
    weights = ["--encoder-weights", str(folder), "--work-dir", str(tmp_path / "segmentation"), "--max-steps", "1"]
    assert main([*command, *weights]) == 0
    assert f"from the encoder of {folder}" in " ".join(capsys.readouterr().out.split())


def test_predict_prints_a_table_or_json_and_skips_bad_pictures(trained, shapes_root, tmp_path, capsys):  # noqa: F811
    folder, _ = trained
    (tmp_path / "bad.png").write_bytes(b"no picture")
    command = ["predict", str(shapes_root / "val/*/*.png"), str(tmp_path / "bad.png"), "--model", str(folder)]
    assert main([*command, "--on-error", "skip", "--json", "--jsonl", str(tmp_path / "lines.jsonl")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["pictures"]) == 6
    assert document["skipped"][0]["source"].endswith("bad.png")
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert lines == document["pictures"]
    assert main([*command[:2], *command[3:]]) == 0
    table = capsys.readouterr().out
    first = document["pictures"][0]["classes"][0]
    assert f"{first['label']}  " in table
    assert f"{first['score']:.3f}" in table
    assert main(command) != 0
    assert "bad.png" in capsys.readouterr().err
