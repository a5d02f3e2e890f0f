"""Commands that write a model or a network refuse to replace what is there, unless they are told to."""

import json
import shlex

import pytest

from segpipe import convert, export
from segpipe.cli.main import main
from segpipe.errors import InputError

MODEL = "segformer-b0-camvid"


@pytest.mark.parametrize(
    "command",
    [
        f"export {MODEL} precious.onnx",
        f"export {MODEL} precious.xml --format openvino",
        f"convert {MODEL} precious.safetensors --to-dialect libai",
    ],
)
def test_a_file_is_not_replaced_without_a_word(capsys, tmp_path, command):
    path = tmp_path / shlex.split(command)[2]
    path.write_text("precious")
    assert main(shlex.split(command)) == 1
    assert f"{path.name} exists. Name a new one, or replace it: --overwrite." in capsys.readouterr().err
    assert path.read_text() == "precious"


def test_a_companion_of_a_file_counts_as_well(capsys, tmp_path):
    (tmp_path / "street.bin").write_text("precious")
    assert main(["export", MODEL, "street.xml"]) == 1
    assert "street.bin exists" in capsys.readouterr().err


def test_python_says_it_in_its_own_form(tmp_path):
    (tmp_path / "street.onnx").write_text("precious")
    with pytest.raises(InputError, match=r"or replace it: overwrite=True\."):
        export(MODEL, tmp_path / "street.onnx")


def test_a_model_folder_is_replaced_where_it_is_asked_for(capsys, tmp_path):
    assert main(["convert", MODEL, "mine"]) == 0
    assert main(["convert", MODEL, "mine", "--labels", ",".join("abcdefghijk")]) == 1
    assert "mine exists. Name a new one, or replace it: --overwrite." in capsys.readouterr().err
    assert main(["convert", "mine", "mine", "--labels", ",".join("abcdefghijk"), "--overwrite"]) == 0
    assert json.loads((tmp_path / "mine/configuration.json").read_text())["labels"]["names"][0] == "a"
    assert main(["convert", "mine", "theirs.pth", "--to-dialect", "nvlabs"]) == 0
    assert main(["convert", "mine", "theirs.pth", "--to-dialect", "nvlabs", "--overwrite"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir() if "theirs" in path.name) == [
        "theirs.pth",
        "theirs.pth.json",
    ]


def test_another_folder_is_never_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("precious")
    with pytest.raises(InputError, match="not a model folder"):
        convert(MODEL, tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "a.jpg").read_text() == "precious"


@pytest.mark.slow
def test_an_export_is_replaced_where_it_is_asked_for(capsys, tmp_path):
    (tmp_path / "street.pt2").write_text("old")
    assert main(["export", MODEL, "street.pt2", "--overwrite"]) == 0
    assert (tmp_path / "street.pt2").stat().st_size > 10**6


def test_formats_are_named_in_help_and_error(capsys):
    assert main(["help", "export"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert ".onnx, .xml (OpenVINO, with a .bin) or .pt2 (torch)" in text
    assert main(["export", MODEL, "street.pdf"]) == 1
    text = capsys.readouterr().err
    assert "ends in .pdf" in text
    assert "onnx (.onnx), openvino (.xml), torch (.pt2). Write e.g. street.onnx." in text
