"""`segpipe export`: a file, what was checked, and one sentence where it cannot be."""

import json

import pytest

from segpipe.cli.main import main

MODEL = "segformer-b0-camvid"


def test_a_path_with_another_suffix_is_one_sentence(capsys, tmp_path):
    assert main(["export", MODEL, str(tmp_path / "street.onnx"), "--format", "openvino"]) == 1
    assert "Give a path that ends with .xml." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_predict_refuses_a_type_that_the_runtime_does_not_compute_in(capsys, tmp_path):
    arguments = ["predict", str(tmp_path), "--model", MODEL, "--runtime", "onnxruntime", "--dtype", "bfloat16"]
    (tmp_path / "street.jpg").write_bytes(b"")
    assert main(arguments) == 1
    assert "'onnxruntime' computes in float32, not in bfloat16" in capsys.readouterr().err


@pytest.mark.slow
def test_the_report_says_what_was_checked(capsys, tmp_path):
    path = tmp_path / "street.pt2"
    assert main(["export", MODEL, str(path), "--format", "torch", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["size"] == path.stat().st_size
    assert report["largest_difference"] < 1e-4
    assert report["is_dynamic"] is True
    assert len(report["sizes"]) == 2
