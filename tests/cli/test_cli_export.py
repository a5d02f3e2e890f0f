"""`segpipe export`: a file, what was checked, and one sentence where it cannot be."""

import json

import numpy as np
import pytest
from PIL import Image

from segpipe.cli.main import main
from segpipe.scenes.street import draw_street_scene

MODEL = "segformer-b0-camvid"


def test_a_path_with_another_suffix_is_one_sentence(capsys, tmp_path):
    assert main(["export", MODEL, str(tmp_path / "street.onnx"), "--format", "openvino"]) == 1
    assert f"Give {tmp_path / 'street.xml'}, or another format: onnx (.onnx)" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_predict_refuses_a_type_that_the_runtime_does_not_compute_in(capsys, tmp_path):
    arguments = ["predict", str(tmp_path), "--model", MODEL, "--runtime", "onnxruntime", "--dtype", "bfloat16"]
    (tmp_path / "street.jpg").write_bytes(b"")
    assert main(arguments) == 1
    assert "'onnxruntime' computes in float32 or int8, not in bfloat16" in capsys.readouterr().err


def test_predict_in_int8_needs_pictures_to_calibrate_with(capsys, street):
    assert main(["predict", str(street), "--model", MODEL, "--runtime", "openvino", "--dtype", "int8"]) == 1
    assert "Give --calibration images, a folder" in capsys.readouterr().err


def test_a_data_set_that_is_not_there_is_told_before_anything_is_made(capsys, tmp_path):
    arguments = ["export", MODEL, str(tmp_path / "street.onnx"), "--int8", str(tmp_path)]
    assert main([*arguments, "--data", "camvid", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_options_for_int8_need_pictures(capsys, tmp_path):
    assert main(["export", MODEL, str(tmp_path / "street.onnx"), "--samples", "8"]) == 2
    assert "Give --int8 FOLDER, or leave them out." in capsys.readouterr().err


def test_a_folder_of_pictures_that_is_not_there_is_told_before_anything_is_made(capsys, tmp_path):
    pytest.importorskip("onnxruntime")
    arguments = ["export", MODEL, str(tmp_path / "new/street.onnx"), "--int8", str(tmp_path / "nowhere")]
    assert main(arguments) == 1
    assert "There is no folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_report_says_what_was_checked(capsys, tmp_path):
    path = tmp_path / "street.pt2"
    assert main(["export", MODEL, str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["size"] == path.stat().st_size
    assert report["largest_difference"] < 1e-4
    assert report["is_dynamic"] is True
    assert len(report["sizes"]) == 2


@pytest.mark.slow
@pytest.mark.peer
def test_predict_runs_the_exported_network(capsys, tmp_path):
    pytest.importorskip("openvino")
    pytest.importorskip("onnxscript")
    street = tmp_path / "pictures/street.png"
    street.parent.mkdir()
    Image.fromarray(draw_street_scene(1, (96, 128)).image).save(street)
    executions = {
        "eager": [],
        "exported": ["--runtime", "openvino"],
        "int8": ["--runtime", "openvino", "--dtype", "int8", "--calibration", str(street.parent)],
    }
    for name, execution in executions.items():
        arguments = ["predict", str(street), "--model", MODEL, "--label-maps", "--output", str(tmp_path / name)]
        assert main([*arguments, *execution]) == 0
    eager, exported, int8 = (
        np.asarray(Image.open(tmp_path / name / "street-label-map.png")) for name in ("eager", "exported", "int8")
    )
    assert (exported == eager).mean() > 0.999
    assert 0.95 < (int8 == eager).mean() < 1
