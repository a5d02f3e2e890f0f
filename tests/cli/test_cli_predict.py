"""`segpipe predict`: files, folders, lists, names that clash, and pictures that cannot be read."""

import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from segpipe import pipeline
from segpipe.cli.main import main
from segpipe.errors import ImageError
from segpipe.pipelines import OutputFolder

MODEL = "segformer-b0-camvid"


@pytest.fixture
def photos(tmp_path, street):
    """Two folders, each with a street.png, and between them a file that is no picture."""
    for name in ("a/street.png", "b/street.png", "b/wide.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(street.read_bytes())
    (tmp_path / "a/torn.jpg").write_bytes(b"no picture")
    return tmp_path


def test_one_picture_gives_its_overlay_and_a_table(street, capsys):
    assert main(["predict", str(street), "--model", MODEL]) == 0
    text = capsys.readouterr().out
    assert text.startswith("1 image in ")
    assert "class" in text
    assert Image.open("segpipe-results/street-overlay.png").size == (64, 64)


def test_label_maps_have_the_pipelines_class_indices(street):
    assert main(["predict", str(street), "--model", MODEL, "--no-overlay", "--label-maps", "--output", "maps"]) == 0
    expected = pipeline("image-segmentation", MODEL)(str(street)).label_map
    assert np.array_equal(np.asarray(Image.open("maps/street-label-map.png")), expected)


@pytest.mark.parametrize("further", [[], ["--jsonl", "results.jsonl"]])
def test_names_stand_on_the_overlay_of_the_pipeline(street, further):
    assert main(["predict", str(street), "--model", MODEL, "--names", "--quiet", *further]) == 0
    expected = pipeline("image-segmentation", MODEL)(str(street)).overlay(names=True)
    written = np.asarray(Image.open("segpipe-results/street-overlay.png"))
    assert np.array_equal(written, expected)
    assert (written == 255).all(axis=-1).any()


def test_names_without_an_overlay_are_wrong_usage(street, capsys):
    assert main(["predict", str(street), "--model", MODEL, "--names", "--no-overlay"]) == 2
    assert "--no-overlay wants none" in capsys.readouterr().err


def test_pictures_of_one_name_do_not_overwrite_one_another(photos):
    assert main(["predict", "a/street.png", "b", "--model", MODEL, "--quiet"]) == 0
    written = sorted(path.name for path in (photos / "segpipe-results").iterdir())
    assert written == ["a-street-overlay.png", "b-street-overlay.png", "results.csv", "wide-overlay.png"]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_bad_picture_stops_the_work_and_loses_nothing_before_it(photos, capsys, batch_size):
    inputs = ["b/street.png", "a/street.png", "a/torn.jpg", "b/wide.png"]
    assert (
        main(
            [
                "predict",
                *inputs,
                "--model",
                MODEL,
                "--jsonl",
                "r.jsonl",
                "--batch-size",
                str(batch_size),
                "--on-error",
                "raise",
            ]
        )
        == 1
    )
    said = capsys.readouterr()
    assert said.err.startswith("segpipe: a/torn.jpg is not an image")
    assert said.err.count("\n") == 1
    assert [json.loads(line)["source"] for line in (photos / "r.jsonl").read_text().splitlines()] == [
        "b/street.png",
        "a/street.png",
    ]


def test_skipping_leaves_bad_pictures_out_and_says_why(photos, capsys):
    assert main(["predict", "a", "b", "--model", MODEL, "--on-error", "skip", "--batch-size", "2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [picture["source"] for picture in document["pictures"]] == ["a/street.png", "b/street.png", "b/wide.png"]
    assert [skipped["source"] for skipped in document["skipped"]] == ["a/torn.jpg"]
    assert sum(each["share"] for each in document["classes"]) == pytest.approx(1.0)


def test_ctrl_c_still_says_what_was_written(photos, capsys, monkeypatch):
    write = OutputFolder.write

    def interrupted(self, outcome, name):
        if name == "wide":
            raise KeyboardInterrupt
        return write(self, outcome, name)

    monkeypatch.setattr(OutputFolder, "write", interrupted)
    arguments = ["predict", "b/street.png", "b/wide.png", "--model", MODEL]
    assert main(arguments) == 130
    assert "Written: 1 file in segpipe-results" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 130
    document = json.loads(capsys.readouterr().out)
    assert [picture["source"] for picture in document["pictures"]] == ["b/street.png"]
    assert document["stopped_at"] == {"source": "b/wide.png", "reason": "interrupted"}


def test_nothing_but_bad_pictures_is_an_error(photos, capsys):
    assert main(["predict", "a/torn.jpg", "--model", MODEL, "--on-error", "skip"]) == 1
    assert "Skipped: 1" in capsys.readouterr().out


def test_a_list_on_stdin_gives_json_lines_alone_on_stdout(photos, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a/street.png\n\nb/wide.png\n"))
    assert main(["predict", "-", "--model", MODEL, "--no-overlay", "--jsonl", "-"]) == 0
    said = capsys.readouterr()
    assert [json.loads(line)["source"] for line in said.out.splitlines()] == ["a/street.png", "b/wide.png"]
    assert "2 images in" in said.err
    assert not (photos / "segpipe-results").exists()


def test_an_overlay_never_replaces_a_picture_that_is_read(photos, capsys):
    (photos / "a/street-overlay.png").write_bytes((photos / "a/street.png").read_bytes())
    assert main(["predict", "a/street.png", "a/street-overlay.png", "--model", MODEL, "--output", "a"]) == 1
    assert "would be written over an image of yours" in capsys.readouterr().err


def test_an_override_changes_what_the_network_sees(street):
    arguments = ["predict", str(street), "--model", MODEL, "--no-overlay", "--label-maps", "--quiet"]
    assert main([*arguments, "--output", "plain"]) == 0
    assert main([*arguments, "--output", "other", "--set", 'preprocessor.resize={"mode":"exact","size":[32,32]}']) == 0
    plain, other = (Image.open(f"{folder}/street-label-map.png") for folder in ("plain", "other"))
    assert plain.size == other.size
    assert not np.array_equal(np.asarray(plain), np.asarray(other))


def test_two_outputs_cannot_share_stdout(street):
    assert main(["predict", str(street), "--model", MODEL, "--json", "--jsonl", "-"]) == 2


def test_a_file_that_is_not_there_is_named(capsys):
    assert main(["predict", "nowhere.jpg", "--model", MODEL]) == 1
    assert "There is no image 'nowhere.jpg'" in capsys.readouterr().err
    with pytest.raises(ImageError):
        pipeline("image-segmentation", MODEL)("nowhere.jpg")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_json_lines_that_cannot_be_written_are_named(street, capsys):
    assert main(["predict", str(street), "--model", MODEL, "--jsonl", "/dev/full"]) == 1
    assert "/dev/full cannot be written: No space left on device." in capsys.readouterr().err


def test_a_list_on_stdin_may_hold_a_nul_character(street, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"a\0b.png\n{street}\n"))
    assert main(["predict", "-", "--model", MODEL, "--on-error", "skip"]) == 0
    assert r"a\x00b.png" in capsys.readouterr().out


def test_a_folder_goes_on_past_a_bad_image_and_says_so_in_the_end(photos, capsys):
    for inputs in (["a"], ["a/*.*"], ["a/street.png", "a/torn.jpg"]):
        assert main(["predict", *inputs, "--model", MODEL]) == 1
        said = capsys.readouterr()
        assert "1 image in" in said.out
        assert "Skipped: 1\n  a/torn.jpg is not an image" in said.out
        assert said.err == ""
    assert main(["predict", "a", "--model", MODEL, "--on-error", "skip"]) == 0
    assert main(["predict", "a", "--model", MODEL, "--on-error", "raise"]) == 1
    assert capsys.readouterr().err.startswith("segpipe: a/torn.jpg is not an image")


def test_a_single_bad_image_is_an_error(photos, capsys):
    assert main(["predict", "a/torn.jpg", "--model", MODEL]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("segpipe: a/torn.jpg is not an image")
    assert said.out == ""


def test_many_bad_images_are_summed_up(tmp_path, capsys):
    for index in range(30):
        (tmp_path / f"{index:02}.jpg").write_bytes(b"no picture")
    assert main(["predict", ".", "--model", MODEL]) == 1
    assert capsys.readouterr().out.count("is not an image") == 20


def test_sub_folders_are_passed_by_aloud_and_read_with_recursive(photos, street, capsys):
    (photos / "empty").mkdir()
    (photos / ".hidden").mkdir()
    (photos / ".hidden/street.png").write_bytes(street.read_bytes())
    assert main(["predict", ".", "--model", MODEL, "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == "segpipe: .: left out its sub-folders a/, b/. To read them, give --recursive.\n"
    assert len(json.loads(said.out)["pictures"]) == 1
    for _ in range(2):  # the second time without what the first one wrote
        assert main(["predict", ".", "--model", MODEL, "--json", "--recursive"]) == 1
        document = json.loads(capsys.readouterr().out)
        sources = [picture["source"] for picture in document["pictures"]]
        assert sources == ["./a/street.png", "./b/street.png", "./b/wide.png", "./street.png"]
        assert [skipped["source"] for skipped in document["skipped"]] == ["./a/torn.jpg"]


def test_without_a_model_the_bundled_one_is_used_and_named_in_one_line(street, capsys):
    assert main(["predict", "street.png", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["model"] == MODEL
    assert said.err.count("\n") == 1
    assert f"it is {MODEL}, which comes with segpipe and knows streets: sky, building," in said.err
    assert main(["predict", "street.png", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_the_look_of_overlays_is_that_of_the_result(street):
    style = {"opacity": 0.7, "borders": False, "names": True, "legend": True, "brighten": True}
    options = ["--opacity", "0.7", "--no-borders", "--names", "--legend", "--brighten"]
    assert main(["predict", "street.png", "--model", MODEL, "--quiet", *options]) == 0
    expected = pipeline("image-segmentation", MODEL)("street.png").overlay(**style)
    assert np.array_equal(np.asarray(Image.open("segpipe-results/street-overlay.png")), expected)


@pytest.mark.parametrize("opacity", ["1.5", "-1", "nan", "50%"])
def test_an_opacity_that_is_no_share_is_wrong_usage(street, capsys, opacity):
    assert main(["predict", "street.png", f"--opacity={opacity}"]) == 2
    assert "--opacity: " in capsys.readouterr().err
