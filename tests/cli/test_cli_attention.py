"""`segpipe attention`."""

import json

import numpy as np
import pytest
from PIL import Image

from segpipe.analysis import read_token, usual_token
from segpipe.cli.main import main
from segpipe.configuration import load_preset
from segpipe.errors import InputError

MODEL = "segformer-b0-camvid"


def test_a_picture_for_each_head_and_their_mean_is_written(capsys, tmp_path, street):
    assert main(["attention", MODEL, str(street), "heat", "--layer", "3", "--token", "20,30", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert list(files) == ["head-0", "head-1", "mean"]
    for path in files.values():
        with Image.open(tmp_path / path) as page:
            assert page.width > page.height > 64  # the image, a margin and a scale to its right


def test_a_picture_of_12_bits_is_read_as_predict_reads_it(tmp_path, street):
    bright = np.asarray(Image.open(street).convert("L"), np.uint16)
    Image.fromarray(bright << 4).save(tmp_path / "deep.png")
    Image.fromarray(bright.astype(np.uint8)).save(tmp_path / "plain.png")
    options = ["--token", "20,30"]
    assert main(["attention", MODEL, "deep.png", "deep", *options, "--bit-depth", "12"]) == 0
    assert main(["attention", MODEL, (tmp_path / "plain.png").as_uri(), "plain", *options]) == 0
    assert (tmp_path / "deep/mean.png").read_bytes() == (tmp_path / "plain/mean.png").read_bytes()


def test_a_token_that_is_not_there_is_one_sentence(capsys, tmp_path, street):
    assert main(["attention", MODEL, str(street), "heat", "--token", "raod"]) == 1
    assert "road" in capsys.readouterr().err
    assert not (tmp_path / "heat").exists()


def test_without_a_token_a_segformer_looks_from_the_middle_and_says_so(capsys, tmp_path, street):
    assert main(["attention", MODEL, str(street), "heat"]) == 0
    assert capsys.readouterr().out == "heat  1 head, of the token 32,32\n"
    assert main(["attention", MODEL, str(street), "same", "--token", "32,32"]) == 0
    assert (tmp_path / "heat/mean.png").read_bytes() == (tmp_path / "same/mean.png").read_bytes()


def test_only_a_vision_transformers_encoder_is_asked_for_its_class_token():
    image = np.zeros((20, 30, 3), np.uint8)
    assert usual_token(load_preset("segmenter-tiny-ade20k"), "encoder", image) == "cls"
    assert usual_token(load_preset("segmenter-tiny-ade20k"), "decoder", image) == "15,10"
    assert usual_token(load_preset("mit-b0-imagenet"), "encoder", image) == "15,10"


def test_tokens_are_places_classes_and_the_class_token():
    configuration = load_preset(MODEL)
    assert read_token("12, 7", configuration) == (12, 7)
    assert read_token("road", configuration) == configuration.labels.names.index("road")
    assert read_token("4", configuration) == 4
    assert read_token("cls", configuration) == "cls"
    with pytest.raises(InputError, match="road"):
        read_token("raod", configuration)
