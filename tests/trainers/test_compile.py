"""A compiled network learns what the plain one learns, and its folder is the same."""

import shutil

import pytest
import torch
from runs import build

from segpipe import pipeline

PLAIN = {
    "model.encoder.drop_path_rate": 0.0,
    "model.head.dropout": 0.0,
    "train.optimizer": {"type": "sgd", "lr": 0.01},  # AdamW makes whole steps of rounding errors
}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_a_compiled_run_learns_the_same_weights(recipe, data_root, tmp_path):
    weights = []
    for is_compiled in (False, True):
        run = build(recipe, data_root, tmp_path / str(is_compiled), cfg_options={**PLAIN, "train.compile": is_compiled})
        assert isinstance(run.parts.engine.network, torch._dynamo.OptimizedModule) == is_compiled
        folder = run.train()
        weights.append(run.model.state_dict())
    assert weights[0].keys() == weights[1].keys()
    for name, plain in weights[0].items():
        torch.testing.assert_close(weights[1][name], plain, rtol=1e-3, atol=1e-5, msg=name)
    assert pipeline("image-segmentation", folder.path).model.num_classes == 3
