"""The runtimes behind `pipeline(..., runtime=...)`: the same label maps, exported once."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from segpipe import pipeline
from segpipe.errors import InputError, MissingExtraError
from segpipe.inference.runtimes import openvino_session
from segpipe.scenes.street import draw_street_scene

TASK, MODEL = "image-segmentation", "segformer-b0-camvid"


def picture(size):
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runtime": "onnxruntime", "dtype": "bfloat16"}, "computes in float32 or int8, not in bfloat16"),
        ({"runtime": "openvino", "dtype": "float16"}, "computes in float32 or bfloat16 or int8, not in float16"),
        ({"runtime": "open-vino"}, "Did you mean 'openvino'"),
        ({"dtype": "int8", "calibration": "pictures"}, "computes in float32 or bfloat16 or float16, not in int8"),
        ({"runtime": "openvino", "dtype": "int8"}, 'int8 needs images.*Give calibration="images"'),
        ({"runtime": "openvino", "calibration": "pictures"}, "for the dtype 'int8', not for torch.float32"),
    ],
)
def test_what_a_runtime_cannot_do_is_refused_before_a_model_is_looked_for(arguments, message):
    with pytest.raises(InputError, match=message):
        pipeline(TASK, "no-such-model", **arguments)


def test_what_the_processor_does_not_compute_in_is_refused_before_a_file_is_made_for_it(monkeypatch):
    core = SimpleNamespace(get_property=lambda device, name: ["FP32", "INT8"])
    monkeypatch.setattr(openvino_session, "_shared_core", lambda: core)
    with pytest.raises(InputError, match=r"does not compute in bfloat16.*Leave the dtype out"):
        pipeline(TASK, "no-such-model", runtime="openvino", dtype="bfloat16")


def test_a_runtime_that_is_not_installed_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    for module in ("onnx", "openvino"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r'pip install "segpipe\[openvino\]"'):
        pipeline(TASK, MODEL, runtime="openvino")


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_label_maps_are_those_of_the_network_and_the_file_is_made_once(runtime, monkeypatch, tmp_path):
    for package in ("onnxscript", runtime):
        pytest.importorskip(package)
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    eager, segment = pipeline(TASK, MODEL), pipeline(TASK, MODEL, runtime=runtime)
    for size in [(48, 64), (37, 53)]:
        expected, found = eager(picture(size)), segment(picture(size))
        assert (found.label_map != expected.label_map).mean() < 0.001
        for ours, theirs in zip(found["scores"], expected["scores"], strict=True):
            assert ours == pytest.approx(theirs, abs=1e-4)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "home").rglob("network.*")}
    pipeline(TASK, MODEL, runtime=runtime)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "home").rglob("network.*")} == files


@pytest.mark.slow
@pytest.mark.peer
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_label_maps_in_int8_are_nearly_those_of_the_network(runtime, monkeypatch, tmp_path):
    for package in ("onnxscript", "onnxruntime", runtime):
        pytest.importorskip(package)
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    scenes = [draw_street_scene(seed=seed, size=(96, 128)).image for seed in range(4)]
    segment = pipeline(TASK, MODEL, runtime=runtime, dtype="int8", calibration=scenes)
    assert repr(segment).endswith(f"cpu, int8, {runtime})")
    eager, other = pipeline(TASK, MODEL), draw_street_scene(seed=9, size=(96, 128)).image
    assert (segment(other).label_map == eager(other).label_map).mean() > 0.9
    assert len(list((tmp_path / "home").rglob("network.*"))) == (2 if runtime == "openvino" else 1)
