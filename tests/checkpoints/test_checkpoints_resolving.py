"""Model folders of other libraries: opened by path and by name."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fault_server import FaultServer

from segpipe.checkpoints import resolve_folder

SHARED = Path(__file__).parents[3] / "shared"
EASYCV = {
    "framework": "pytorch",
    "task": "image-segmentation",
    "model": {
        "type": "Segformer",
        "backbone": {
            "type": "MixVisionTransformer",
            "embed_dims": 32,
            "num_layers": [2, 2, 2, 2],
            "num_heads": [1, 2, 5, 8],
        },
        "decode_head": {
            "type": "SegformerHead",
            "in_channels": [32, 64, 160, 256],
            "channels": 256,
            "num_classes": 2,
        },
    },
    "CLASSES": ["a", "b"],
    "pipeline": {"type": "easycv-segmentation"},
}


def test_easycv_folder_is_opened(tmp_path: Path):
    (tmp_path / "configuration.json").write_text(json.dumps(EASYCV))
    (tmp_path / "pytorch_model.pt").write_bytes(b"pickle")
    folder = resolve_folder(tmp_path)
    assert (folder.dialect, folder.weights) == ("easycv", tmp_path / "pytorch_model.pt")


def test_downloaded_folder_of_another_library_says_where_it_comes_from(
    web_server: FaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", web_server.url)
    web_server.add_model("a/b", {"configuration.json": json.dumps(EASYCV).encode(), "pytorch_model.pt": b"pickle"})
    weights = resolve_folder("modelscope:a/b").configuration.weights
    assert weights is not None
    assert (weights.source, weights.revision, weights.dialect) == ("modelscope:a/b", "master", "easycv")


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the folder of real models beside the checkout")
def test_hugging_face_folder_is_opened():
    folder = resolve_folder(SHARED / "models" / "hf-segformer-b0-camvid")
    assert folder.dialect == "huggingface"
    assert folder.configuration.model.num_classes == 11


def test_a_model_folder_of_hugging_faces_with_checkpoints_beside_its_weights_is_itself(tmp_path):
    document = {"model_type": "segformer", "architectures": ["SegformerForSemanticSegmentation"], "num_labels": 3}
    (tmp_path / "config.json").write_text(json.dumps(document))
    (tmp_path / "checkpoints").mkdir()
    assert resolve_folder(tmp_path).dialect == "huggingface"


def test_settings_of_another_library_are_read_without_torch(tmp_path: Path):
    (tmp_path / "configuration.json").write_text(json.dumps(EASYCV))
    code = (
        f"import sys; from segpipe.checkpoints import resolve_folder; print(resolve_folder({str(tmp_path)!r}).dialect);"
        "print('torch' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert finished.stdout.split() == ["easycv", "False"]
