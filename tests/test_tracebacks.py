"""What a Python user sees of an error: a short way to one sentence, and no errors of other libraries before it."""

import traceback

import numpy as np
import pytest
from PIL import Image

import segpipe
from segpipe import Hub, build_trainer, convert, export, load_dataset, load_model, pipeline
from segpipe.errors import SegpipeError

MODEL = "segformer-b0-camvid"
FRAMES = 9
"""Of ours, at most; each is three lines."""


@pytest.fixture(scope="module")
def segment():
    return pipeline("image-segmentation", MODEL)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with files that are damaged in the usual ways."""
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        for kind, pixels in (("images", np.zeros((8, 8, 3), np.uint8)), ("labels", np.zeros((8, 8), np.uint8))):
            (tmp_path / kind / split).mkdir(parents=True)
            Image.fromarray(pixels).save(tmp_path / kind / split / "a.png")
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0garbage")
    (tmp_path / "bad.tif").write_bytes(b"II*\0\xff\xff\xff\xff")
    (tmp_path / "bad.pth").write_bytes(b"PK\3\4junk")
    (tmp_path / "code.pth").write_bytes(b"\x80\x02cos\nsystem\n.")
    (tmp_path / "bad.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0junkjunk")
    (tmp_path / "labels.json").write_text('{"names": ["a", 3]}')
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "configuration.json").write_text('{"model": {"type": "segformer", "num_classes": "three"}}')
    return tmp_path


def train(**options):
    data = load_dataset("folder", ".", names=["a", "b"])
    build_trainer(model=MODEL, train_dataset=data, eval_dataset=data, **options).train()


ERRORS = {
    "a model that is not known": lambda segment: pipeline("image-segmentation", "segformer-b0-camvd"),
    "a missing file": lambda segment: segment("nowhere.jpg"),
    "a damaged JPEG": lambda segment: segment("bad.jpg"),
    "a damaged TIFF": lambda segment: segment("bad.tif"),
    "damaged base64": lambda segment: segment("data:image/png;base64,@@@"),
    "an array of another shape": lambda segment: segment(np.zeros((3, 8, 8), np.float32)),
    "one of several": lambda segment: segment(["images/train/a.png", "bad.jpg"]),
    "an address without a server": lambda segment: pipeline(
        "image-segmentation", MODEL, timeout=(1.0, 1.0), deadline=0.1
    )("http://127.0.0.1:9/a.jpg"),
    "a value that is not allowed": lambda segment: pipeline(
        "image-segmentation", MODEL, overrides=["inference.flip=3"]
    ),
    "a key that is not there": lambda segment: pipeline("image-segmentation", MODEL, overrides={"inference.flop": 1}),
    "a value of no JSON type": lambda segment: pipeline("image-segmentation", MODEL, overrides={"inference.flip": {1}}),
    "a device that is not there": lambda segment: pipeline("image-segmentation", MODEL, device="gpux"),
    "labels that are none": lambda segment: load_dataset("folder", "."),
    "names that come twice": lambda segment: load_dataset("folder", ".", names=["a", "a"]),
    "colours that are none": lambda segment: load_dataset("folder", ".", names=["a"], palette=[(1, 2)]),
    "a data set that is not there": lambda segment: load_dataset("camvid", "nowhere"),
    "a setting that is not there": lambda segment: train(cfg_options={"train.max_epoch": 3}),
    "a work directory that is a file": lambda segment: train(work_dir="bad.jpg", max_steps=1),
    "a damaged checkpoint": lambda segment: convert("bad.pth", "out"),
    "a checkpoint with code": lambda segment: convert("code.pth", "out"),
    "damaged safetensors": lambda segment: convert("bad.safetensors", "out"),
    "a damaged configuration": lambda segment: load_model("model"),
    "a format that is not known": lambda segment: export(MODEL, "x.onnx", format="onx"),
    "a model that is not in the cache": lambda segment: Hub(offline=True, cache_dir="home").resolve("owner/name"),
    "a result that is none": lambda segment: segpipe.Segmentation.from_dict({"size": 3}),
}


@pytest.mark.parametrize("what", ERRORS)
def test_a_traceback_is_short_and_ends_in_our_sentence(place, segment, what):
    with pytest.raises(SegpipeError) as caught:
        ERRORS[what](segment)
    text = "".join(traceback.format_exception(caught.value))
    assert text.count("Traceback") == 1, text
    assert len(traceback.extract_tb(caught.tb)) - 2 <= FRAMES, text  # without the two of this file
    assert text.splitlines()[-1].startswith("segpipe.errors.")
