"""The greatest norm of all gradients together: what is left after it, and what the log says."""

import pytest
import torch
from runs import build

from segpipe.trainers.run.run_log import read_log

PLAIN = {"model.head.dropout": 0.0, "model.encoder.drop_path_rate": 0.0}


def trained(recipe, data_root, work_dir, limit):
    run = build(recipe, data_root, work_dir, cfg_options={**PLAIN, "train.clip_grad_norm": limit}, max_steps=1)
    run.train()
    gradients = [parameter.grad.clone() for parameter in run.model.parameters() if parameter.grad is not None]
    [line] = [line for line in read_log(work_dir / "log.jsonl") if line["event"] == "step"]
    return gradients, line["grad_norm"]


def norm_of(gradients):
    return float(torch.cat([gradient.flatten() for gradient in gradients]).norm())


def test_longer_gradients_are_shortened_and_keep_their_direction(recipe, data_root, tmp_path):
    free, norm = trained(recipe, data_root, tmp_path / "free", None)
    clipped, logged = trained(recipe, data_root, tmp_path / "clipped", norm / 10)
    assert norm_of(free) == pytest.approx(norm, rel=1e-5)
    assert logged == pytest.approx(norm, rel=1e-5)  # before it is clipped
    assert norm_of(clipped) == pytest.approx(norm / 10, rel=1e-4)
    assert all(torch.allclose(one / 10, two, atol=1e-7) for one, two in zip(free, clipped, strict=True))


def test_shorter_gradients_stay_as_they_are(recipe, data_root, tmp_path):
    free, norm = trained(recipe, data_root, tmp_path / "free", None)
    limited, _ = trained(recipe, data_root, tmp_path / "limited", 2 * norm)
    assert all(torch.equal(one, two) for one, two in zip(free, limited, strict=True))
