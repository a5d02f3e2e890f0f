"""Training UN-EPT with its boundary loss on the tiny data set: from maps to a folder that answers as the trainer."""

import json

import numpy as np
import pytest
import torch
from runs import NAMES, build, train_in_processes

from segpipe import build_trainer, load_dataset, pipeline
from segpipe.data import prepare_dataset, with_boundaries
from segpipe.errors import ConfigurationError, InputError
from segpipe.trainers import Callback

MODEL = {
    "type": "unept", "num_classes": 3, "dim": 16, "heads": 4, "points": 2, "hidden": 24, "depth": 1,
    "query_grid": [4, 4], "dropout": 0.1,
    "encoder": {"type": "deit", "variant": "tiny", "dim": 128, "depth": 3, "image_size": [32, 32]},
}  # fmt: skip


@pytest.fixture
def unept(recipe):
    """The configuration of a tiny run of UN-EPT."""
    document = json.loads(recipe.read_text())
    document["model"] = MODEL
    document["train"] |= {"loss": {"type": "boundary"}, "optimizer": {"type": "adamw", "lr": 0.002}}
    document["train"]["schedule"] = {"type": "constant"}
    path = recipe.with_name("unept.json")
    path.write_text(json.dumps(document))
    return path


class StopAfterTwo(Callback):
    """What SIGTERM does, after the second step."""

    def on_step(self, trainer, report):
        if trainer.progress.step == 2:
            trainer._stop()


def losses(work_dir):
    lines = [json.loads(line) for line in (work_dir / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["event"] == "step"]


def test_the_loss_falls_and_the_folder_answers_as_the_trainer(unept, data_root, tmp_path):
    trainer = build(unept, data_root, tmp_path / "run", max_steps=16, cfg_options={"train.optimizer.lr": 0.004})
    folder = trainer.train()
    fallen = losses(tmp_path / "run")
    assert np.mean(fallen[-3:]) < 0.8 * np.mean(fallen[:3])
    picture = data_root / "images/val/0.png"
    answer = pipeline("image-segmentation", folder.path, device="cpu")(picture)
    np.testing.assert_array_equal(answer.label_map, trainer.predict(picture))


def test_an_interrupted_run_goes_on_exactly(unept, data_root, tmp_path):
    whole = build(unept, data_root, tmp_path / "whole", max_steps=4)
    whole.train()

    interrupted = build(unept, data_root, tmp_path / "parts", max_steps=4, callbacks=[StopAfterTwo()])
    with pytest.raises(SystemExit):
        interrupted.train()
    resumed = build(unept, data_root, tmp_path / "parts", max_steps=4)
    resumed.train()
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    for key, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[key]), key


def test_prepared_maps_train_as_computed_ones_do(unept, data_root, tmp_path):
    build(unept, data_root, tmp_path / "computed", max_steps=2, cfg_options={"train.loss.maps": "computed"}).train()
    prepare_dataset("boundaries", data_root, data="folder", options={"names": NAMES})
    prepared = {"train.loss.maps": "prepared"}
    build(unept, data_root, tmp_path / "prepared", max_steps=2, cfg_options=prepared).train()
    assert losses(tmp_path / "computed") == losses(tmp_path / "prepared")


def test_every_part_of_the_network_learns_with_a_loader_process_too(unept, data_root, tmp_path):
    trainer = build(unept, data_root, tmp_path / "run", max_steps=2, cfg_options={"train.workers": 1})
    before = {key: value.clone() for key, value in trainer.model.named_parameters()}
    trainer.train()
    after = dict(trainer.model.named_parameters())
    moved = {key.partition(".")[0] for key, value in after.items() if not torch.equal(value, before[key])}
    assert {"mask_head", "direction_head", "classifier", "encoder", "spatial", "context"} <= moved


def test_plain_cross_entropy_trains_the_same_network(unept, data_root, tmp_path):
    options = {"train.loss": {"type": "cross_entropy"}}
    build(unept, data_root, tmp_path / "run", max_steps=8, cfg_options=options).train()
    fallen = losses(tmp_path / "run")
    assert fallen[-1] < fallen[0]


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["boundary", "cross_entropy"])
def test_two_processes_train_together(unept, data_root, tmp_path, loss):
    said = train_in_processes(unept, data_root, tmp_path / "run", {"train.loss": {"type": loss}}, ranks=2)
    assert [lines[-1] for lines in said] == ["end 6"] * 2


def test_a_network_without_boundaries_is_refused(recipe, data_root, tmp_path):
    with pytest.raises(ConfigurationError, match=r"'boundary' needs a network .* Segformer gives class logits alone"):
        build(recipe, data_root, tmp_path / "run", cfg_options={"train.loss": {"type": "boundary"}})


def test_prepared_maps_that_are_missing_are_told_before_the_first_step(unept, data_root, tmp_path):
    with pytest.raises(InputError, match="have no boundary maps for its 3 classes"):
        build(unept, data_root, tmp_path / "run", cfg_options={"train.loss.maps": "prepared"})


def test_data_of_other_classes_begins_with_a_new_classifier(unept, data_root, tmp_path):
    first = build(unept, data_root, tmp_path / "first", max_steps=1)
    folder = first.train()
    others = load_dataset("folder", data_root, names=("a", "b", "c", "d"))
    second = build_trainer(model=folder.path, train_dataset=others, work_dir=tmp_path / "second", device="cpu")
    assert second.model.classifier.weight.shape[0] == 4
    assert torch.equal(second.model.queries, first.model.queries)
    assert torch.equal(second.model.mask_head[2].weight, first.model.mask_head[2].weight)


def test_a_data_set_that_carries_maps_already_is_taken_as_it_is(unept, data_root, tmp_path):
    data = with_boundaries(load_dataset("folder", data_root, names=NAMES), "computed")
    trainer = build(unept, data_root, tmp_path / "run", train_dataset=data, max_steps=1)
    trainer.train()
    assert trainer.progress.step == 1
