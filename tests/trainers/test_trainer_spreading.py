"""A batch in two processes is the same batch in one: gradients by each loss, and the statistics of batch norms."""

import json

import pytest
import torch
from runs import NAMES, build, run_in_processes

from segpipe import load_dataset

CALM = {
    "model.head.dropout": 0.0,
    "model.encoder.drop_path_rate": 0.0,
    "train.batch_size": 4,
    "train.optimizer": {"type": "sgd", "lr": 0.05},
}
LOSSES = (
    {"type": "cross_entropy", "class_weights": [1.0, 2.0, 0.5]},
    {"type": "focal"},
    {"type": "dice"},
)
SPREAD = """
import json, sys
import torch
from segpipe import build_trainer, distributed, load_dataset
from segpipe.trainers.sync_norm import apply_synced_norms

recipe, root, work_dir, options, losses = sys.argv[1:]
train = load_dataset("folder", root, "train", names=("left", "right", "top"))
for loss in json.loads(losses):
    place = f"{work_dir}/{loss['type']}"
    trainer = build_trainer(cfg_file=recipe, train_dataset=train, work_dir=place, device="cpu",
                            cfg_options={**json.loads(options), "train.loss": loss})
    batches = trainer.parts.batches(0)
    for number in range(2):
        trainer.parts.engine.step([next(batches)], number)
    if distributed.is_main():
        torch.save(trainer.model.state_dict(), f"{place}.pt")

for offset in (0.0, 1000.0, 5000.0):
    torch.manual_seed(0)
    whole = (torch.randn(4, 3, 8, 8) + offset).requires_grad_()
    slopes = torch.randn(4, 3, 8, 8)
    alone, synced = (torch.nn.BatchNorm2d(3) for _ in range(2))
    apply_synced_norms(torch.nn.Sequential(synced))
    expected = alone(whole)
    (expected * slopes).sum().backward()
    mine = slice(distributed.rank(), None, 2)
    part = whole.detach()[mine].clone().requires_grad_()
    found = synced(part)
    (found * slopes[mine]).sum().backward()
    errors = (found - expected[mine], part.grad - whole.grad[mine], synced.running_var - alone.running_var)
    print("norm", *(float(error.detach().abs().max()) for error in errors))
"""


@pytest.fixture(scope="module")
def spread(tmp_path_factory):
    """What two processes did with all losses, and what they said."""
    from training_material import CONFIGURATION, write_pictures

    folder = tmp_path_factory.mktemp("spread")
    (folder / "recipe.json").write_text(CONFIGURATION)
    root = write_pictures(folder / "data")
    arguments = [str(folder / "recipe.json"), str(root), str(folder), json.dumps(CALM), json.dumps(LOSSES)]
    return folder, run_in_processes(SPREAD, arguments, ranks=2)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss["type"])
def test_gradients_do_not_depend_on_the_number_of_processes(spread, loss, tmp_path):
    folder, _ = spread
    train = load_dataset("folder", folder / "data", "train", names=NAMES)
    options = {"cfg_options": {**CALM, "train.loss": loss}, "eval_dataset": None}
    trainer = build(folder / "recipe.json", folder / "data", tmp_path / "run", train_dataset=train, **options)
    batches = trainer.parts.batches(0)
    for number in range(2):
        trainer.parts.engine.step([next(batches)], number)
    two = torch.load(folder / f"{loss['type']}.pt", weights_only=True)
    for key, tensor in trainer.model.state_dict().items():
        assert torch.allclose(tensor.float(), two[key].float(), rtol=1e-5, atol=1e-6), key


def test_batch_norms_over_processes_keep_their_precision_far_from_zero(spread):
    for out, _ in spread[1]:
        errors = [list(map(float, line.split()[1:])) for line in out.splitlines() if line.startswith("norm")]
        assert len(errors) == 3
        assert all(error < 0.005 for line in errors for error in line), errors


def test_gradients_lie_as_the_memory_of_ddp_does(spread):
    for _, err in spread[1]:
        assert "strides" not in err
