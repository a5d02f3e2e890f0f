"""Training a classifier: the loop, the folder, resuming, processes, and SegFormer from its weights."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from classification_material import CLASSES, CLASSIFIER_CONFIGURATION, write_shapes
from runs import build as build_segmentation
from torch.nn import functional

from segpipe import build_trainer, load_dataset, pipeline
from segpipe.configuration import SoftCrossEntropyLoss
from segpipe.data import Batch
from segpipe.errors import ConfigurationError, InputError
from segpipe.trainers import Callback
from segpipe.trainers.mixing import Mix, cutmix, draw_mix
from segpipe.trainers.objectives import ClassificationObjective, soft_targets
from segpipe.trainers.run.checkpoint_reading import load_newest
from segpipe.trainers.run.run_log import read_log

RUN = """
import sys
from segpipe import build_trainer, load_dataset

recipe, root, work_dir = sys.argv[1:]
train, val = (load_dataset("imagenet", root, split) for split in ("train", "val"))
build_trainer("classification", cfg_file=recipe, train_dataset=train, eval_dataset=val, work_dir=work_dir,
              device="cpu", cfg_options=["train.max_steps=4", "model.encoder.drop_path_rate=0"]).train()
"""


def build(recipe, root, work_dir, name="classification", **arguments):
    data = {
        f"{key}_dataset": load_dataset("imagenet", root, split) for key, split in (("train", "train"), ("eval", "val"))
    }
    return build_trainer(name, cfg_file=recipe, work_dir=work_dir, device="cpu", **{**data, **arguments})


def losses(work_dir):
    return [line["loss"] for line in read_log(Path(work_dir) / "log.jsonl") if line["event"] == "step"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run long enough to learn the shapes by their colours, without mixing."""
    place = tmp_path_factory.mktemp("classifier")
    recipe = place / "recipe.json"
    recipe.write_text(CLASSIFIER_CONFIGURATION)
    options = {
        "train.max_steps": 60,
        "train.batch_size": 6,
        "train.loss": {"type": "soft_cross_entropy"},
        "train.transforms": [{"type": "random_area_crop", "size": [32, 32], "area": [0.5, 1.0]}],
        "evaluation.every": 20,
    }
    trainer = build(recipe, write_shapes(place / "shapes"), place / "run", cfg_options=options)
    return trainer, trainer.train(), place


def test_a_classifier_learns_and_its_folder_opens_as_a_pipeline(finished):
    _, folder, place = finished
    run = losses(place / "run")
    assert np.mean(run[-5:]) < 0.5 * np.mean(run[:5])
    assert folder.configuration.task == "image-classification"
    assert folder.configuration.labels.names == CLASSES
    classify = pipeline("image-classification", folder.path)
    found = [classify(place / "shapes/val" / name / "0.png").label for name in CLASSES]
    assert sum(ours == name for ours, name in zip(found, CLASSES, strict=True)) >= 2


def test_the_best_checkpoint_is_chosen_by_acc1_and_the_log_has_the_scores(finished):
    trainer, _, place = finished
    lines = [line for line in read_log(place / "run/log.jsonl") if line["event"] == "evaluation"]
    assert [line["step"] for line in lines] == [20, 40, 60]
    assert trainer.progress.best_score == max(line["acc1"] for line in lines)
    assert all(line["acc5"] == 1.0 for line in lines)  # of three classes
    card = (place / "run/model/README.md").read_text()
    assert "| step | loss | learning rate | Acc@1 % |" in card
    assert "Acc@5 100.00 %" in card
    assert (place / "run/curves.png").is_file()


def test_trainer_predicts_probabilities_of_a_picture(finished):
    trainer, folder, place = finished
    probabilities = trainer.predict(place / "shapes/val/square/0.png")
    assert probabilities.shape == (3,)
    assert probabilities.sum() == pytest.approx(1.0)
    result = pipeline("image-classification", folder.path)(place / "shapes/val/square/0.png")
    np.testing.assert_allclose(result.probabilities, probabilities, atol=1e-5)


def test_a_resumed_run_ends_with_the_same_weights(classifier_recipe, shapes_root, tmp_path):
    straight = build(classifier_recipe, shapes_root, tmp_path / "straight")
    straight.train()
    broken = build(classifier_recipe, shapes_root, tmp_path / "broken", callbacks=[_Stop(3)])
    with pytest.raises(RuntimeError, match="stop"):
        broken.train()
    resumed = build(classifier_recipe, shapes_root, tmp_path / "broken")
    resumed.train()
    assert losses(tmp_path / "broken")[-4:] == losses(tmp_path / "straight")[-4:]
    ours, theirs = (load_newest(tmp_path / name / "checkpoints").model for name in ("broken", "straight"))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


class _Stop(Callback):
    """Breaks the run after a step that no checkpoint has."""

    def __init__(self, step):
        self.step = step

    def on_step(self, trainer, report):
        if trainer.progress.step == self.step:
            raise RuntimeError("stop")


@pytest.mark.slow
def test_two_processes_mix_and_learn_as_one(classifier_recipe, shapes_root, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-c", RUN, str(classifier_recipe), str(shapes_root), str(tmp_path / "two")]
    common = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(command, env={**common, "RANK": rank, "LOCAL_RANK": rank}, cwd=Path(__file__).parents[2])
        for rank in "01"
    ]
    options = ["train.max_steps=4", "model.encoder.drop_path_rate=0"]
    build(classifier_recipe, shapes_root, tmp_path / "one", cfg_options=options).train()
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-5)
    scores = [
        [line["acc1"] for line in read_log(tmp_path / name / "log.jsonl") if line["event"] == "evaluation"]
        for name in ("one", "two")
    ]
    assert scores[0] == scores[1]


def test_segformer_begins_with_the_encoder_of_a_classifier_in_one_argument(finished, recipe, data_root, tmp_path):
    _, folder, _ = finished
    trainer = build_segmentation(recipe, data_root, tmp_path / "run", encoder_weights=folder.path)
    from safetensors.torch import load_file

    source, own = load_file(folder.path / "model.safetensors"), trainer.model.state_dict()
    loaded = [key for key in source if key.startswith("encoder.")]
    assert len(loaded) == sum(key.startswith("encoder.") for key in own)
    assert all(torch.equal(own[key], source[key]) for key in loaded)
    fresh = build_segmentation(recipe, data_root, tmp_path / "fresh").model.state_dict()
    assert all(torch.equal(own[key], fresh[key]) for key in own if key.startswith("head."))
    trainer.train()


def test_a_preset_begins_with_nvlabs_weights_and_downloads_nothing(data_root, tmp_path, monkeypatch):
    from segpipe.configuration import load_preset
    from segpipe.models import build_model

    monkeypatch.setenv("SEGPIPE_OFFLINE", "1")
    tensors = nvlabs_names(build_model(load_preset("mit-b0-imagenet").model).state_dict())
    torch.save(tensors, tmp_path / "mit_b0.pth")
    data = load_dataset("folder", data_root, "train", names=("left", "right", "top"))
    trainer = build_trainer(
        model="segformer-b0-ade20k",
        encoder_weights=str(tmp_path / "mit_b0.pth"),
        train_dataset=data,
        work_dir=tmp_path / "run",
        device="cpu",
    )
    own = nvlabs_names({key: value for key, value in trainer.model.state_dict().items() if key.startswith("encoder.")})
    assert set(tensors) - set(own) == {"head.weight", "head.bias"}
    assert all(torch.equal(own[key], tensors[key]) for key in own)


def nvlabs_names(tensors):
    """Our names in NVlabs' words, written here for the second time on purpose: each tensor gets values of its own."""
    import re

    generator = torch.Generator().manual_seed(0)
    renamed = {}
    for key, tensor in tensors.items():
        name = re.sub(r"^classifier\.", "head.", key)
        name = re.sub(r"^encoder\.stages\.(\d)\.", lambda match: f"{int(match[1]) + 1}|", name)
        name = re.sub(r"^(\d)\|embed\.", r"patch_embed\1.", name)
        name = re.sub(r"^(\d)\|blocks\.(\d+)\.", r"block\1.\2.", name)
        name = re.sub(r"^(\d)\|norm\.", r"norm\1.", name)
        name = name.replace("attention.reduction.proj", "attn.sr").replace("attention.reduction.norm", "attn.norm")
        name = name.replace("attention.", "attn.").replace("mlp.depthwise", "mlp.dwconv.dwconv")
        is_source = "classifier.weight" in tensors
        renamed[name] = torch.randn(tensor.shape, generator=generator) if is_source else tensor
    return renamed


def test_mixing_by_hand():
    images = torch.tensor([0.0, 100.0, 200.0, 40.0]).view(4, 1, 1, 1).expand(4, 3, 4, 4)
    mixed = Mix(0.75).images(images)
    assert mixed[:, 0, 0, 0].tolist() == [50.0, 85.0, 150.0, 55.0]  # 0.75 of one's own, 0.25 of the one two farther on
    targets = Mix(0.75).targets(torch.eye(4))
    assert targets[0].tolist() == [0.75, 0.0, 0.25, 0.0]
    cut = Mix(0.875, (0, 2, 1, 2)).images(images.to(torch.uint8))
    assert cut[1, 0].tolist() == [[100, 40, 100, 100], [100, 40, 100, 100], [100] * 4, [100] * 4]
    assert cut.dtype == torch.uint8


def test_cutmix_counts_the_pixels_that_are_left():
    rng = np.random.default_rng(0)
    for _ in range(50):
        mix = cutmix((20, 30), float(rng.random()), rng)
        top, bottom, left, right = mix.box
        assert 0 <= top <= bottom <= 20
        assert 0 <= left <= right <= 30
        mask = np.zeros((20, 30))
        mask[top:bottom, left:right] = 1
        assert mix.share == pytest.approx(1 - mask.mean())


def test_half_of_the_batches_are_cut_and_some_stay_as_they_are():
    rng = np.random.default_rng(0)
    mixes = [draw_mix(SoftCrossEntropyLoss(mixup=0.8, cutmix=1.0), (32, 32), rng) for _ in range(400)]
    assert 160 < sum(mix.box is not None for mix in mixes) < 240
    seldom = SoftCrossEntropyLoss(mixup=0.8, mixing_probability=0.25)
    mixes = [draw_mix(seldom, (32, 32), rng) for _ in range(400)]
    assert 60 < sum(mix is not None for mix in mixes) < 140
    assert all(mix.box is None for mix in mixes if mix is not None)
    assert draw_mix(SoftCrossEntropyLoss(), (32, 32), rng) is None


def test_pairs_do_not_depend_on_the_number_of_processes():
    values = torch.arange(8.0)
    together = Mix(0.5).targets(values)
    for ranks in (2, 4):
        shares = [Mix(0.5).targets(values[rank::ranks]) for rank in range(ranks)]
        assert all(torch.equal(share, together[rank::ranks]) for rank, share in enumerate(shares))


def test_the_objective_is_torchs_smoothed_cross_entropy_summed_over_pictures():
    logits, classes = torch.randn(5, 4), torch.tensor([0, 3, 1, 1, 2])
    batch = Batch(torch.zeros(5, 3, 8, 8, dtype=torch.uint8), classes, ("",) * 5)
    config = SoftCrossEntropyLoss(smoothing=0.1)
    loss = ClassificationObjective(config, 4)(lambda images: logits, batch, np.random.default_rng(0))
    expected = functional.cross_entropy(logits, classes, label_smoothing=0.1)
    assert float(loss.mean()) == pytest.approx(float(expected), rel=1e-5)
    assert float(loss.weight) == 5.0
    assert soft_targets(classes, 4, 0.1)[0].tolist() == pytest.approx([0.925, 0.025, 0.025, 0.025])


def test_hard_targets_take_class_weights_as_torch_does(classifier_recipe, shapes_root, tmp_path):
    options = {"train.loss": {"type": "cross_entropy", "class_weights": [1.0, 2.0, 0.5]}}
    objective = build(classifier_recipe, shapes_root, tmp_path / "run", cfg_options=options).parts.engine.objective
    logits, classes = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    batch = Batch(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), classes, ("",) * 4)
    loss = objective(lambda images: logits, batch, np.random.default_rng(0))
    expected = functional.cross_entropy(logits, classes, torch.tensor([1.0, 2.0, 0.5]))
    assert float(loss.mean()) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ('train.loss={"type": "dice"}', "'dice' is a loss over pixels"),
        ("train.batch_size=3", "gives each of 1 processes 3 images"),
        ("evaluation.best=miou", r"has no score 'miou'; it has acc1, acc5, mean_accuracy\. Set"),
        ('train.loss={"type": "cross_entropy", "class_weights": [1.0]}', "there are 1 for 3 classes"),
    ],
)
def test_what_classification_does_not_have_is_refused(classifier_recipe, shapes_root, tmp_path, option, message):
    with pytest.raises(ConfigurationError, match=message):
        build(classifier_recipe, shapes_root, tmp_path / "run", cfg_options=[option])


def test_trainers_by_name_refuse_models_for_another_task(classifier_recipe, shapes_root, tmp_path):
    with pytest.raises(InputError, match=r"for image-classification, not for image-segmentation\. .*'classification'"):
        build(classifier_recipe, shapes_root, tmp_path / "run", name="segmentation")
    assert build(classifier_recipe, shapes_root, tmp_path / "run", name="trainer").config.trainer == "classification"


def test_segmentation_refuses_soft_targets(recipe, data_root, tmp_path):
    with pytest.raises(ConfigurationError, match="'soft_cross_entropy' is for image-classification"):
        build_segmentation(
            recipe, data_root, tmp_path / "run", cfg_options={"train.loss": {"type": "soft_cross_entropy"}}
        )


def test_configurations_are_kept_whole(finished):
    _, folder, _ = finished
    document = json.loads((folder.path / "configuration.json").read_text())
    assert document["preprocessor"]["resize"] == {
        "mode": "center_crop", "size": 36, "crop": [32, 32], "filter": "bicubic"
    }  # fmt: skip
