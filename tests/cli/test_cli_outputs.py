"""The files that `segpipe predict` writes: names that say which image, and the index of them."""

import csv
import errno
import json
import os
import unicodedata
from types import SimpleNamespace

import pytest
from PIL import Image

from segpipe.cli.main import main
from segpipe.errors import InputError
from segpipe.pipelines.outputs.output_naming import output_names
from segpipe.pipelines.outputs.results_index import COLUMNS, ResultsIndex

MODEL = "segformer-b0-camvid"
ENDINGS = ["-overlay.png", "-label-map.png"]


def names(*sources):
    return output_names(sources, ENDINGS)


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["photos/street.jpg", "photos/wide.png"], ["street", "wide"]),
        (["500.jpg", "500.png"], ["500.jpg", "500.png"]),
        (["a/500.jpg", "b/500.jpg"], ["a-500", "b-500"]),
        (["a/500.jpg", "b/500.jpg", "a/500.png"], ["a-500.jpg", "b-500.jpg", "a-500.png"]),
        (["a/left/0.png", "b/left/0.png"], ["a-left-0", "b-left-0"]),
        (["0.png", "sub/0.png"], ["0", "sub-0"]),
        (["x.png", "x.png", "./x.png"], ["x", "x-2", "x-3"]),
        (["x.png", "x.png", "x-2.png"], ["x", "x-3", "x-2"]),
        (["a/x.png", "b/X.png", "c/x-2.png"], ["a-x", "b-X", "x-2"]),
        (["x.jpg", "X.png"], ["x.jpg", "X.png"]),
        (["a/x.png", "b/x.png", "a-x.png"], ["a-x.png", "b-x.png", "a-x"]),
        (["Straße.png", "STRASSE.jpg"], ["Straße.png", "STRASSE.jpg"]),
        (["https://host/my%20street.jpg?key=1", "https://host/"], ["my-street", "host"]),
        (["https://host/image?id=1", "https://host/image?id=2"], ["image", "image-2"]),
        (["नमस्ते.jpg", "🚗.jpg", "***.jpg", ".."], ["नमस्ते", "🚗", "picture-2", "picture-3"]),
        ([r"C:\photos\a.jpg", r"D:\photos\a.jpg"], ["C-photos-a", "D-photos-a"]),
        (["a\x1b]0;x\x07b\n.jpg", "\udcff.png"], ["a-0-x-b", "picture-1"]),
    ],
)
def test_names_say_which_image(sources, expected):
    assert names(*sources) == expected


def test_names_of_earlier_commands_are_not_given_again():
    assert output_names(["b/x.png", "y.png"], ENDINGS, taken=["X"]) == ["x.png", "y"]
    assert output_names(["b/x.png", "b/x.png"], ENDINGS, taken=["x", "x.png"]) == ["b-x", "b-x-2"]
    assert output_names(["x.png"], ENDINGS, taken=["x", "x.png"]) == ["x.png-2"]


def test_names_that_a_mac_takes_for_one_differ():
    one, other = unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.png")
    assert len({unicodedata.normalize("NFC", name) for name in names(one, other)}) == 2


@pytest.mark.parametrize("letter", ["a", "é", "天", "🚗"])
def test_long_names_are_cut_at_a_character_and_never_collide(letter):
    found = names(*(f"{letter * 300}{end}.jpg" for end in ("a", "b", "b")))
    assert len(set(found)) == 3
    for name in found:
        assert 255 - 14 - 4 <= len(name.encode()) + 1 <= 255 - 14 + 1
        assert name.startswith(letter * 20)
    assert names(f"{letter * 300}b.jpg") == [found[1]]  # whatever the others are


def test_as_many_names_as_sources_whatever_they_are():
    parts = ["a", "A", "a.jpg", "a-2", "a/a", "b/a.jpg", "a-a.png", "", "-", "a" * 250, "a" * 250 + "b", "a b", "a-b"]
    sources = [f"{folder}{part}" for folder in ("", "a/", "b/", "../a/") for part in parts] * 2
    found = names(*sources)
    assert len({unicodedata.normalize("NFC", name).casefold() for name in found}) == len(sources)
    assert max(len(name.encode()) for name in found) <= 255 - 14


def test_ten_thousand_equal_names_are_soon_found():
    assert names(*["https://host/image"] * 10_000)[-1] == "image-10000"


def test_long_names_in_another_script_are_written(tmp_path, street):
    for length in (77, 83):
        (tmp_path / f"{'天' * length}.png").write_bytes(street.read_bytes())
    street.unlink()
    assert main(["predict", ".", "--model", MODEL, "--label-maps", "--output", "out"]) == 0
    assert len(list((tmp_path / "out").glob("天*.png"))) == 4


def test_the_index_says_what_became_of_each_image(tmp_path, street):
    (tmp_path / "torn.jpg").write_bytes(b"no picture")
    assert main(["predict", "torn.jpg", "street.png", "--model", MODEL, "--output", "out", "--label-maps"]) == 1
    torn, drawn = rows_of("out/results.csv")
    assert (torn["source"], torn["overlay"], torn["shares"]) == ("torn.jpg", "", "")
    assert torn["error"].startswith("torn.jpg is not an image")
    assert (drawn["source"], drawn["height"], drawn["width"], drawn["error"]) == ("street.png", "64", "64", "")
    assert Image.open(f"out/{drawn['overlay']}").size == Image.open(f"out/{drawn['label_map']}").size == (64, 64)
    shares = json.loads(drawn["shares"])
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-3)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_a_second_command_replaces_its_own_rows_and_keeps_the_others(tmp_path, street):
    (tmp_path / "other.png").write_bytes(street.read_bytes())
    for source in ("street.png", "other.png", "street.png"):
        assert main(["predict", source, "--model", MODEL, "--quiet"]) == 0
    assert [row["source"] for row in rows_of("segpipe-results/results.csv")] == ["other.png", "street.png"]


def test_an_index_without_its_end_is_taken_up(tmp_path):
    with ResultsIndex(tmp_path, []) as index:
        index.add("a.png", size=(1, 2), shares={"road": 1.0})
    with open(index.path, "a") as file:
        file.write('b.png,"half of a ro')
    with ResultsIndex(tmp_path, ["c.png"]) as index:
        index.add("c.png", error="why")
    assert [row["source"] for row in rows_of(index.path)] == ["a.png", "c.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]


def test_a_file_cannot_be_the_output_folder(tmp_path, street, capsys):
    for output in ("street.png", "street.png/below"):
        assert main(["predict", "street.png", "--model", MODEL, "--output", output]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert "--output street.png is not a folder" in first
    assert "street.png/below/results.csv cannot be written: Not a directory" in second


def test_commands_that_write_into_one_folder_at_once_lose_no_row(tmp_path):
    with ResultsIndex(tmp_path, ["a.png", "b.png"]) as one:
        one.add("a.png")
        with ResultsIndex(tmp_path, ["c.png", "d.png"]) as other:
            other.add("c.png")
            one.add("b.png")
            other.add("d.png")
    assert [row["source"] for row in rows_of(one.path)] == ["a.png", "c.png", "b.png", "d.png"]


@pytest.mark.parametrize("content", ["name,score\nI,3\n", "", "\0", "source\n" * 3])
def test_a_file_of_the_users_is_not_replaced(tmp_path, street, capsys, content):
    (tmp_path / "results.csv").write_text(content)
    assert main(["predict", "street.png", "--model", MODEL, "--output", "."]) == 1
    assert "results.csv is there and is not an index of segpipe predict" in capsys.readouterr().err
    assert (tmp_path / "results.csv").read_text() == content
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix) == ["results.csv", "street.png"]


@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", "+1", "-1", "a\nb", 'a"b,c', "\x1b[2J", "\udcff", "＝1"])
def test_hostile_names_are_text_in_the_index(tmp_path, name):
    with ResultsIndex(tmp_path, []) as index:
        index.add(name, shares={name: 1.0}, error=name)
    [row] = rows_of(index.path)
    assert len(index.path.read_text().splitlines()) == 2
    for cell in (row["source"], row["error"]):
        assert cell.isprintable()
        assert not cell.startswith(("=", "+", "-", "@", "＝"))
    assert json.loads(row["shares"]) == {name: 1.0}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_an_index_that_cannot_be_written_is_one_sentence(tmp_path):
    index = ResultsIndex(tmp_path, [])
    index._file.close()
    index._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    with pytest.raises(InputError, match="cannot be written: No space left"):
        index.add("a.png")


def test_half_of_a_row_is_an_error(tmp_path):
    index = ResultsIndex(tmp_path, [])
    index._file.close()
    index._file = SimpleNamespace(write=lambda data: len(data) // 2)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        index.add("a.png")


def test_skipping_covers_writing(tmp_path, street, capsys, monkeypatch):
    from segpipe.drawing import writing

    write = writing.write_bytes

    def fails_once(path, data):
        if path.name == "bad-overlay.png":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return write(path, data)

    monkeypatch.setattr(writing, "write_bytes", fails_once)
    (tmp_path / "bad.png").write_bytes(street.read_bytes())
    assert main(["predict", "bad.png", "street.png", "--model", MODEL, "--output", "out"]) == 1
    assert "bad-overlay.png cannot be written: Input/output error." in capsys.readouterr().out
    bad, drawn = rows_of("out/results.csv")
    assert "cannot be written" in bad["error"]
    assert drawn["overlay"] == "street-overlay.png"
    assert tuple(drawn) == COLUMNS
    assert main(["predict", "bad.png", "--model", MODEL, "--output", "out"]) == 1
    assert capsys.readouterr().err.startswith("segpipe: out/bad-overlay.png cannot be written")


def test_a_later_command_writes_over_no_other_images_files(street, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "street.png").write_bytes(street.read_bytes())
    for image in ("street.png", "a/street.png", "street.png"):
        assert main(["predict", image, "--model", MODEL, "--quiet"]) == 0
    assert main(["predict", "street.png", "--model", MODEL, "--quiet", "--label-maps", "--no-overlay"]) == 0
    rows = {row["source"]: (row["overlay"], row["label_map"]) for row in rows_of("segpipe-results/results.csv")}
    assert rows == {
        "a/street.png": ("street.png-overlay.png", ""),
        "street.png": ("street-overlay.png", "street-label-map.png"),
    }
    written = {path.name for path in (tmp_path / "segpipe-results").iterdir()}
    assert written == {"results.csv", *(name for row in rows.values() for name in row if name)}


def test_what_is_no_image_at_all_has_no_row(street):
    assert main(["predict", "stret.png", "--model", MODEL]) == 1
    assert rows_of("segpipe-results/results.csv") == []
