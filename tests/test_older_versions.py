"""Folders and a run that segpipe 0.1.0 wrote, see `fixtures/0.1.0/make.py`, opened and continued by today's."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from training_material import CLASSES, write_pictures

from segpipe import build_trainer, load_dataset, load_model, pipeline
from segpipe.checkpoints import read_tensors
from segpipe.errors import ConfigurationError

FIXTURES = Path(__file__).parent / "fixtures" / "0.1.0"
FAMILIES = sorted(path.name for path in (FIXTURES / "hub").iterdir())
EPS = 2.0**-24


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_that_0_1_0_published_gives_the_logits_that_it_gave(family):
    image = (torch.arange(3 * 32 * 32, dtype=torch.float32).reshape(1, 3, 32, 32) * 7919) % 256
    model = load_model((FIXTURES / "hub" / family).absolute().as_uri())
    with torch.inference_mode():
        logits = model(image)
    expected = read_tensors(FIXTURES / "outputs.safetensors")[family]
    # Another processor rounds in another order: fewer than 1000 operations stand one after another on the way.
    torch.testing.assert_close(logits, expected, rtol=0, atol=1000 * EPS * float(expected.abs().max()))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pipeline_opens_a_folder_that_0_1_0_published(family):
    task = "image-classification" if family == "mit" else "image-segmentation"
    predict = pipeline(task, (FIXTURES / "hub" / family).absolute().as_uri(), device="cpu")
    result = predict(np.full((40, 48, 3), 128, np.uint8))
    assert task == "image-classification" or result.label_map.shape == (40, 48)


def train(recipe, data_root, work_dir, **options):
    data = {split: load_dataset("folder", data_root, split, names=CLASSES) for split in ("train", "val")}
    return build_trainer(
        cfg_file=recipe,
        train_dataset=data["train"],
        eval_dataset=data["val"],
        work_dir=work_dir,
        device="cpu",
        progress=False,
        check_data=False,
        # 0.1.0 trained without a pad, and today's runs pad: a message says this when a run goes on.
        cfg_options={"model.size_multiple": 1, **options},
    ).train()


def weights_of(work_dir, step):
    return read_tensors(work_dir / "checkpoints" / f"step-{step:08d}" / "model.safetensors")


def test_a_run_of_0_1_0_goes_on_and_ends_with_the_weights_that_0_1_0_ended_with(tmp_path):
    data_root, work_dir = write_pictures(tmp_path / "data"), tmp_path / "run"
    shutil.copytree(FIXTURES / "run", work_dir)
    begun = FIXTURES / "run" / "checkpoints" / "step-00000002"
    folder = train(begun / "configuration.json", data_root, work_dir)
    ours, theirs = weights_of(work_dir, 4), read_tensors(FIXTURES / "resumed.safetensors")
    assert ours.keys() == theirs.keys() == read_tensors(folder.path / "model.safetensors").keys()
    differences = torch.cat([(ours[key] - theirs[key]).abs().flatten().double() for key in theirs])
    # On any processor: a step of AdamW moves a weight by its learning rate at most, and hardly one of them by another
    # way, since gradients differ by roundings alone.
    rate = 0.001 + 0.0005
    assert differences.max() <= 2 * rate
    assert differences.median() <= rate / 1000
    # To the bit where this processor computes what the one that made the fixtures computed.
    train(begun / "configuration.json", data_root, tmp_path / "anew", **{"train.checkpoint.keep": 2})
    anew, before = weights_of(tmp_path / "anew", 2), read_tensors(begun / "model.safetensors")
    if all(torch.equal(anew[key], before[key]) for key in before):
        assert differences.max() == 0


def test_a_run_of_0_1_0_says_how_it_goes_on_where_todays_pads(tmp_path):
    work_dir = tmp_path / "run"
    shutil.copytree(FIXTURES / "run", work_dir)
    begun = FIXTURES / "run" / "checkpoints" / "step-00000002" / "configuration.json"
    with pytest.raises(ConfigurationError, match=r'model\.size_multiple.* cfg_options={"model.size_multiple": 1}'):
        train(begun, write_pictures(tmp_path / "data"), work_dir, **{"model.size_multiple": 32})
