"""Arguments of a wrong type are one sentence of ours, never an error of Python's or of a library."""

import numpy as np
import pytest

from segpipe import build_trainer, evaluate, export, load_dataset, pipeline
from segpipe.configuration import load_preset, override
from segpipe.errors import SegpipeError

MODEL = "segformer-b0-camvid"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load_dataset("folder", None, names="a"), r"root is None; a folder is needed\."),
        (lambda: load_dataset("folder", "here", 3, names="a"), r"split is 3; a name is needed\."),
        (lambda: load_dataset("folder", "here", label_set=3), "names is 3|no folder here"),
        (lambda: load_dataset(None, "here"), "There is no data set None"),
        (lambda: pipeline("image-segmentation", 3), "A model's name is a text or a path"),
        (lambda: pipeline("image-segmentation", MODEL, overrides=3), "3 is not a change"),
        (lambda: pipeline("image-segmentation", MODEL, overrides=["inference.flip=true", 3]), "3 is not a change"),
        (lambda: export(MODEL, None), r"path is None; the name of a file is needed.*model\.onnx"),
        (lambda: evaluate(MODEL, "camvid"), "dataset is 'camvid', which is not a data set"),
        (lambda: build_trainer(model=MODEL, train_dataset="camvid"), "train_dataset is 'camvid', which is not a data"),
        (lambda: build_trainer(model=MODEL, train_datset=1), "Did you mean 'train_dataset'"),
        (lambda: build_trainer(model=MODEL, lr=1e-4), r"Did you mean cfg_options=\{\"train\.optimizer\.lr\""),
        (lambda: build_trainer(model=MODEL), "Give a train_dataset"),
    ],
)
def test_a_wrong_type_is_one_sentence(call, message):
    with pytest.raises(SegpipeError, match=message):
        call()


def test_numbers_of_numpy_are_numbers():
    scales = override(load_preset(MODEL), {"inference.scales": np.array([0.5, 1.0])}).inference.scales
    assert (
        scales == override(load_preset(MODEL), {"inference.scales": (np.float32(0.5), 1)}).inference.scales == (0.5, 1)
    )
