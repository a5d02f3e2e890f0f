"""`segpipe data`: reports for people and machines, exit codes, and the page of labels."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from segpipe.cli.main import main
from segpipe.cli.shared_options import parse_options
from segpipe.configuration import LabelSet
from segpipe.data import Sample
from segpipe.errors import InputError
from segpipe.pipelines.sample_page import draw_label_grid

RAW = np.array([[0, 0, 1, 1]] * 4, np.uint8)


@pytest.fixture
def toy(tmp_path):
    """A folder with two training pictures and one for validation, two classes."""
    for name, level in (("train/a", 10), ("train/b", 20), ("val/c", 30)):
        put_pair(tmp_path / "toy", name, RAW, level)
    (tmp_path / "toy" / "labels.json").write_text('{"names": ["sky", "road"], "palette": [[0, 0, 250], [250, 0, 0]]}')
    return tmp_path / "toy"


def put_pair(root, name, raw, level):
    for folder, picture in (
        ("images", Image.new("RGB", raw.shape[::-1], (level,) * 3)),
        ("labels", Image.fromarray(raw)),
    ):
        path = root / folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)


def test_a_sound_data_set_is_ready_for_training(toy, capsys):
    assert main(["data", "check", "folder", str(toy)]) == 0
    text = capsys.readouterr().out
    assert "toy train: 2 images, 2 classes" in text
    assert "toy val: 1 image, 2 classes" in text
    assert "sky        50.00%       2" in text
    assert text.endswith("Ready for training.\n")


def test_a_wrong_value_and_a_leak_are_printed_with_fixes_and_exit_code_1(toy, capsys):
    put_pair(toy, "train/a", RAW * 5, 10)
    put_pair(toy, "val/d", RAW, 20)
    assert main(["data", "check", "folder", str(toy)]) == 1
    text = capsys.readouterr().out
    assert "error: labels with values that are not a class (1)" in text
    assert f"{toy}/labels/train/a.png: value 5 on 8 pixels, first at row 0, column 2" in text
    assert "→ Name all classes" in text
    assert f"{toy}/images/val/d.png: the same image is in toy train: {toy}/images/train/b.png" in text
    assert text.endswith("Not ready for training: 2 errors, 0 warnings.\n")


def test_json_has_counts_and_findings(toy, capsys):
    put_pair(toy, "train/b", RAW * 5, 20)
    assert main(["data", "check", "folder", str(toy), "--split", "train", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    (train,) = said["splits"]
    assert (said["ok"], train["ok"], train["pictures"], train["ignored_pixels"]) == (False, False, 2, 8)
    assert train["classes"][1] == {"name": "road", "pixels": 8, "pictures": 1}
    assert [(each["kind"], each["severity"], each["total"]) for each in train["findings"]] == [
        ("out-of-range", "error", 1)
    ]
    assert set(train["findings"][0]["shown"][0]) == {"file", "what", "fix"}


def test_a_split_without_all_labels_is_an_error_and_the_other_is_checked(toy, capsys):
    (toy / "labels" / "val" / "c.png").unlink()
    put_pair(toy, "val/d", RAW, 40)
    assert main(["data", "check", "folder", str(toy)]) == 1
    text = capsys.readouterr().out
    assert "toy train: 2 images" in text
    assert "toy val: 1 image, 2 classes" in text
    assert "error: images without a label (1)\n" in text
    assert f"{toy}/images/val/c.png: there is no {toy}/labels/val/c.png" in text


def test_a_folder_without_data_is_one_sentence(tmp_path, capsys):
    assert main(["data", "check", "camvid", str(tmp_path / "nowhere")]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "There is no folder" in said.err


def test_options_are_json_or_text():
    assert parse_options(["names=sky, road", "palette=[(1, 2, 3)]", "split-file=train.txt", "x=null", "y=True"]) == {
        "names": "sky, road",
        "palette": [[1, 2, 3]],
        "split_file": "train.txt",
        "x": None,
        "y": True,
    }


def test_the_last_option_of_a_key_counts():
    assert parse_options(["names=a", "names=b"]) == {"names": "b"}


@pytest.mark.parametrize("pairs", [["names"], ["=a"]])
def test_options_that_cannot_be_are_refused(pairs):
    with pytest.raises(InputError, match="--option"):
        parse_options(pairs)


def test_options_reach_the_data_set(toy, capsys):
    assert main(["data", "check", "folder", str(toy), "--option", "classes=road,sky", "--json"]) == 0
    train = json.loads(capsys.readouterr().out)["splits"][0]
    assert train["classes"][0] == {"name": "road", "pixels": 16, "pictures": 2}


def test_a_single_class_is_an_error(toy, capsys):
    assert main(["data", "check", "folder", str(toy), "--option", "classes=road"]) == 1
    assert "'road' is the only class" in capsys.readouterr().out


def test_show_writes_the_same_page_for_the_same_seed(toy, capsys, tmp_path):
    pages = []
    for output in ("a.png", "b.png"):
        arguments = ["data", "show", "folder", str(toy), "--count", "1", "--seed", "3", "--output", output]
        assert main(arguments) == 0
        pages.append(np.asarray(Image.open(tmp_path / output)))
    assert capsys.readouterr().out.startswith("a.png  1 of 2 images, ")
    assert np.array_equal(*pages)


def test_show_draws_what_a_recipe_makes_of_the_pictures(toy, tmp_path, capsys):
    plain = ["data", "show", "folder", str(toy), "--output"]
    assert main([*plain, "plain.png"]) == 0
    assert "train has 2 images; all are shown" in capsys.readouterr().err
    assert main([*plain, "recipe.png", "--recipe", "segformer-b0-camvid"]) == 0
    widths = [Image.open(tmp_path / name).width for name in ("plain.png", "recipe.png")]
    assert widths[1] > widths[0] + 2 * 200  # the recipe's crops are square


def test_a_recipe_without_transforms_is_refused(toy, tmp_path, capsys):
    from segpipe.configuration import load_preset, to_document

    document = {**to_document(load_preset("segformer-b0-camvid")), "train": None}
    (tmp_path / "bare.json").write_text(json.dumps(document))
    assert main(["data", "show", "folder", str(toy), "--output", "a.png", "--recipe", "bare.json"]) == 1
    assert "bare.json has no train.transforms" in capsys.readouterr().err


def test_the_grid_shows_the_picture_the_blended_label_and_a_dark_place_where_ignored():
    labels = LabelSet(names=("sky", "road"), palette=((0, 0, 250), (250, 0, 0)))
    label = np.repeat(np.array([[0, 1, 255]], np.uint8), 3, axis=0)
    page = draw_label_grid([[Sample(np.full((3, 3, 3), 100, np.uint8), label, "a.png")]], labels, height=90)
    left, top = 14, 14 + 22
    assert page[top + 45, left + 45].tolist() == [100, 100, 100]
    second = left + 90 + 7
    near_top = [page[top + 4, second + x].tolist() for x in (10, 45, 80)]
    assert near_top == [[50, 50, 175], [175, 50, 50], [50, 50, 50]]  # half of the image and half of the colour
    assert (page[top + 35 : top + 55, second : second + 28] == 255).all(axis=-1).any()  # a name in white


def test_a_grid_without_samples_or_with_uneven_rows_is_refused():
    sample = Sample(np.zeros((2, 2, 3), np.uint8), None, "a.png")
    for rows in ([], [[]], [[sample], [sample, sample]]):
        with pytest.raises(InputError, match="at least one row"):
            draw_label_grid(rows, LabelSet(names=("sky",)))


def test_prepare_draws_streets_says_what_it_wrote_and_makes_nothing_twice(tmp_path, capsys):
    arguments = ["data", "prepare", "street-scenes", "streets", "--count", "2", "--first-seed", "7", "--size", "64x80"]
    assert main([*arguments, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["dataset"], said["written"], said["kept"]) == (
        "street-scenes",
        {"images/train": 2, "labels/train": 2},
        0,
    )
    assert Image.open(tmp_path / "streets/images/train/7.png").size == (80, 64)
    assert main(arguments) == 0
    assert capsys.readouterr().out == (
        "street-scenes in streets\n  Streets of 64 × 80, seeds 7 to 8, drawn in CamVid's classes.\n"
        "  4 files were there already\n"
    )
    assert main(["data", "check", "street-scenes", "streets", "--split", "train"]) == 0


def test_prepare_says_in_one_sentence_what_a_folder_lacks(tmp_path, capsys):
    assert main(["data", "prepare", "cityscapes", str(tmp_path), "--jobs", "2"]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "Right would be gtFine/train/aachen/" in said.err
    assert main(["data", "prepare", "cityscapes", str(tmp_path), "--download"]) == 1
    assert "asks for a login of your own" in capsys.readouterr().err


def test_prepare_refuses_sizes_and_options_that_cannot_be(tmp_path, capsys):
    assert main(["data", "prepare", "street-scenes", "streets", "--size", "large"]) == 2
    assert "not a size; height and width such as 360x480" in capsys.readouterr().err
    assert main(["data", "prepare", "ade20k", str(tmp_path), "--count", "3"]) == 1
    assert "The preparation of ade20k has no options" in capsys.readouterr().err


def test_prepare_fetches_unpacks_and_says_from_where(web_server, tmp_path, capsys, monkeypatch):
    import dataclasses
    import hashlib
    import io
    import zipfile

    from segpipe.data import PREPARERS, Archive

    put_pair(tmp_path / "ade", "validation/a", RAW, 10)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.write(tmp_path / "ade/images/validation/a.png", "ADE/images/validation/a.png")
        zipped.write(tmp_path / "ade/labels/validation/a.png", "ADE/annotations/validation/a.png")
    web_server.static["ade.zip"] = buffer.getvalue()
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    folder = "ADEChallengeData2016"
    archive = Archive(f"{web_server.url}/static/ade.zip", f"sha256:{digest}", "ADE", folder, (folder,))
    preparer = dataclasses.replace(PREPARERS.get("ade20k"), archives=(archive,))
    monkeypatch.setitem(PREPARERS._entries, "ade20k", preparer)
    assert main(["data", "prepare", "ade20k", "new", "--download", "--keep-archive"]) == 0
    assert f"fetched {archive.url}" in capsys.readouterr().out
    assert (tmp_path / "new/ade.zip").is_file()
    assert main(["data", "prepare", "ade20k", "new", "--download", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fetched"] == []


def test_prepare_makes_boundary_maps_of_a_named_data_set(tmp_path, capsys):
    for kind, mode in (("images", "RGB"), ("labels", "L")):
        (tmp_path / kind / "train").mkdir(parents=True)
        Image.new(mode, (16, 12), 1).save(tmp_path / kind / "train" / "0.png")
    arguments = ["data", "prepare", "boundaries", str(tmp_path), "--data", "folder", "--option", "names=a,b"]
    assert main([*arguments, "--metric", "taxicab"]) == 0
    assert re.search(r"boundaries/2-classes-\w{8}/images/train/: 1 written", capsys.readouterr().out)
    assert main(["data", "prepare", "boundaries", str(tmp_path)]) == 1
    assert "Give --data camvid." in capsys.readouterr().err
