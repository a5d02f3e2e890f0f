"""`segpipe attention` and the heat that it draws."""

import json

import numpy as np
import pytest
from PIL import Image

from segpipe.analysis import read_token, usual_token
from segpipe.cli.main import main
from segpipe.configuration import load_preset
from segpipe.drawing.heat_maps import COLOR_MAPS, draw_heat, draw_heat_page, draw_scale, mark_place
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


@pytest.mark.parametrize("color_map", COLOR_MAPS)
def test_more_heat_is_another_colour_and_a_single_value_is_drawn_too(color_map):
    heat = np.tile(np.linspace(0.0, 1e-3, 32), (8, 1))
    page = draw_heat(np.full((8, 32, 3), 90, np.uint8), heat, color_map=color_map)
    assert len(np.unique(page[0], axis=0)) > 20
    assert draw_heat(np.zeros((8, 32, 3), np.uint8), np.ones((8, 32)), color_map=color_map).shape == (8, 32, 3)


def test_the_page_marks_the_place_and_says_what_the_colours_mean():
    heat = np.tile(np.linspace(0.0, 0.04, 300), (200, 1))
    image = np.full((200, 300, 3), 90, np.uint8)
    page, plain = draw_heat_page(image, heat, place=(40, 20)), draw_heat_page(image, heat)
    rows, columns = np.nonzero((page != plain).any(axis=2))
    assert (round(rows.mean()), round(columns.mean())) == (28, 48)  # within a margin of 8
    scale = draw_scale(0.0, 0.04, height=200)
    assert np.array_equal(page[8:208, -scale.shape[1] :], scale)
    assert scale[6, 5].tolist() == pytest.approx(draw_heat(image, heat, opacity=1.0)[0, -1].tolist(), abs=12)
    assert (scale == 255).all(axis=2).any(axis=1).all()


def test_the_image_is_seen_where_nothing_is_hot():
    image = np.tile(np.arange(0, 250, 5, dtype=np.uint8)[None, :, None], (50, 1, 3))
    heat = np.zeros((50, 50))
    heat[:5, :5] = 1.0
    cold = draw_heat(image, heat)[10:, :, 0].astype(int)
    assert np.ptp(cold) > 0.6 * np.ptp(image[10:, :, 0].astype(int))


def test_the_place_is_marked_on_a_copy():
    picture = np.full((64, 64, 3), 90, np.uint8)
    marked = mark_place(picture, (40, 20))
    assert (picture == 90).all()
    rows, columns = np.nonzero((marked != 90).any(axis=2))
    assert (round(rows.mean()), round(columns.mean())) == (20, 40)
