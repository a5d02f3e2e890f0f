"""The training circle: train, stop anywhere, go on, open what is left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from segpipe import build_trainer, load_dataset, pipeline
from segpipe.configuration import override
from segpipe.errors import ConfigurationError, InputError, NumericalError
from segpipe.trainers.run.checkpoint import list_checkpoints
from segpipe.trainers.run.checkpoint_reading import load_checkpoint, load_newest
from segpipe.trainers.run.run_log import read_log

NAMES = ("left", "right", "top")
RUN = """
import sys
from segpipe import build_trainer, load_dataset
names = ("left", "right", "top")
data = load_dataset("folder", sys.argv[2], "train", names=names)
options = dict(item.split("=", 1) for item in sys.argv[4:])
build_trainer(cfg_file=sys.argv[1], train_dataset=data, work_dir=sys.argv[3], device="cpu",
              cfg_options={key: __import__("json").loads(value) for key, value in options.items()}).train()
"""


def trainer(recipe, data_root, work_dir, **arguments):
    data = {split: load_dataset("folder", data_root, split, names=NAMES) for split in ("train", "val")}
    defaults = {"train_dataset": data["train"], "eval_dataset": data["val"], "device": "cpu"}
    return build_trainer(cfg_file=recipe, work_dir=work_dir, **{**defaults, **arguments})


def weights_of(folder: Path):
    """Copies, since the file is mapped into memory and may be changed by a test."""
    return {key: tensor.clone() for key, tensor in load_file(folder / "model.safetensors").items()}


def assert_equal_weights(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def start(recipe, data_root, work_dir, *options, ranks=1):
    """The run as separate processes, as torchrun starts them."""
    common = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(29600 + os.getpid() % 300),
    }
    command = [sys.executable, "-c", RUN, str(recipe), str(data_root), str(work_dir), *options]
    root = Path(__file__).parents[2]
    return [
        subprocess.Popen(
            command,
            env={**common, "RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank)},
            cwd=root,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]


def finish(processes):
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), errors
    return errors


def test_what_train_leaves_behind_is_what_pipeline_opens(recipe, data_root, tmp_path):
    folder = trainer(recipe, data_root, tmp_path / "run", max_steps=40).train()
    assert folder.verify() == ()
    card = (folder.path / "README.md").read_text()
    assert "40 steps, 80 samples of 5 images" in card
    assert "| left |" in card
    segment = pipeline("image-segmentation", folder.path)
    label = segment(data_root / "images" / "val" / "0.png").label_map
    truth = load_dataset("folder", data_root, "val", names=NAMES)[0].label
    assert (label == truth).mean() > 0.8


def test_the_loss_goes_down_and_the_log_says_so(recipe, data_root, tmp_path):
    trainer(recipe, data_root, tmp_path / "run", max_steps=40).train()
    steps = [line for line in read_log(tmp_path / "run" / "log.jsonl") if line["event"] == "step"]
    assert [line["step"] for line in steps] == list(range(1, 41))
    assert np.mean([line["loss"] for line in steps[-5:]]) < 0.85 * steps[0]["loss"]


@pytest.mark.parametrize(
    "options", [{}, {"train.ema_decay": 0.9}, {"train.accumulate": 2, "train.precision": "bfloat16"}]
)
def test_an_interrupted_run_ends_with_the_very_same_weights(recipe, data_root, tmp_path, options):
    whole = trainer(recipe, data_root, tmp_path / "whole", cfg_options=options).train()
    first = trainer(recipe, data_root, tmp_path / "parts", cfg_options=options)
    first._stop()  # as SIGTERM does, after the first step
    with pytest.raises(SystemExit) as stopped:
        first.train()
    assert stopped.value.code == 75
    assert [path.name for path in list_checkpoints(tmp_path / "parts" / "checkpoints")] == ["step-00000001"]
    resumed = trainer(recipe, data_root, tmp_path / "parts", cfg_options=options).train()
    assert_equal_weights(weights_of(whole.path), weights_of(resumed.path))


def test_a_damaged_checkpoint_is_passed_over(recipe, data_root, tmp_path, caplog):
    trainer(recipe, data_root, tmp_path / "run").train()
    newest = list_checkpoints(tmp_path / "run" / "checkpoints")[-1]
    expected = weights_of(newest)
    content = bytearray((newest / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (newest / "model.safetensors").write_bytes(content)
    (tmp_path / "run" / "best").rename(tmp_path / "run" / "old-best")
    again = trainer(recipe, data_root, tmp_path / "run")
    again.train()
    assert "Going on from step-00000004, since a newer checkpoint cannot be read" in caplog.text
    assert load_newest(tmp_path / "run" / "checkpoints").progress.step == 6
    assert_equal_weights(expected, again.model.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 20])
def test_killed_processes_lose_nothing(recipe, data_root, tmp_path, kills):
    """kill -9 at random moments, and the weights are those of a run in peace."""
    steps = 4 * kills
    options = (f"train.max_steps={steps}", "train.checkpoint.every=1")
    finish(start(recipe, data_root, tmp_path / "whole", *options))  # with as many threads as the others
    rng = np.random.default_rng(kills)
    for patience in np.sort(rng.integers(1, steps, kills)):
        [process] = start(recipe, data_root, tmp_path / "killed", *options)
        log = tmp_path / "killed" / "log.jsonl"
        while process.poll() is None and (not log.exists() or len(log.read_text().splitlines()) < patience):
            pass
        threading.Event().wait(rng.uniform(0, 0.02))  # anywhere in a step or a save
        process.kill()
        process.communicate()
    finish(start(recipe, data_root, tmp_path / "killed", *options))
    assert_equal_weights(weights_of(tmp_path / "whole" / "model"), weights_of(tmp_path / "killed" / "model"))


def test_sigterm_saves_and_says_that_it_can_go_on(recipe, data_root, tmp_path):
    [process] = start(recipe, data_root, tmp_path / "run", "train.max_steps=100000", "train.checkpoint.every=100000")
    log = tmp_path / "run" / "log.jsonl"
    while process.poll() is None and (not log.exists() or not log.read_text()):
        pass
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 75
    assert load_newest(tmp_path / "run" / "checkpoints").progress.step >= 1


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_two_processes_train_as_one_with_the_whole_batch(recipe, data_root, tmp_path, workers):
    # Without chance; and with SGD, since AdamW makes whole steps of gradients that are zero but for rounding.
    plain = [
        "model.head.dropout=0.0",
        "model.encoder.drop_path_rate=0.0",
        "train.batch_size=4",
        f"train.workers={workers}",
    ]
    plain.append('train.optimizer={"type": "sgd", "lr": 0.05, "weight_decay": 0.01}')
    finish(start(recipe, data_root, tmp_path / "one", *plain))
    finish(start(recipe, data_root, tmp_path / "two", *plain, ranks=2))
    one, two = weights_of(tmp_path / "one" / "model"), weights_of(tmp_path / "two" / "model")
    assert all(torch.allclose(one[key].float(), two[key].float(), rtol=1e-5, atol=1e-6) for key in one)
    logs = [read_log(tmp_path / name / "log.jsonl") for name in ("one", "two")]
    losses = [[line["loss"] for line in log if line["event"] == "step"] for log in logs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(recipe, data_root, tmp_path):
    calm = ["model.head.dropout=0.0", "model.encoder.drop_path_rate=0.0", "train.batch_size=4"]
    calm.append('train.optimizer={"type": "sgd", "lr": 0.05, "weight_decay": 0.01}')
    finish(start(recipe, data_root, tmp_path / "one", *calm))
    finish(start(recipe, data_root, tmp_path / "both", *calm))
    for path in list_checkpoints(tmp_path / "both" / "checkpoints")[-1:]:
        shutil.rmtree(path)  # back to step 4
    finish(start(recipe, data_root, tmp_path / "both", *calm, ranks=2))
    one, both = weights_of(tmp_path / "one" / "model"), weights_of(tmp_path / "both" / "model")
    assert all(torch.allclose(one[key].float(), both[key].float(), rtol=1e-5, atol=1e-6) for key in one)


def test_accumulated_batches_are_divided_by_all_their_pixels(recipe, data_root, tmp_path):
    """With BatchNorm's statistics frozen, two batches of two are one of four."""
    options = {"model.head.dropout": 0.0, "model.encoder.drop_path_rate": 0.0}
    gradients = []
    for name, changes in (("once", {"train.batch_size": 4}), ("twice", {"train.accumulate": 2})):
        run = trainer(recipe, data_root, tmp_path / name, cfg_options={**options, **changes}, max_steps=1)
        run.model.head.norm.momentum = 0.0
        run.model.train = lambda mode=True, model=run.model: type(model).train(model, False)
        run.train()
        gradients.append([parameter.grad.clone() for parameter in run.model.parameters()])
    assert all(torch.allclose(first, second, atol=1e-6) for first, second in zip(*gradients, strict=True))


def test_a_loss_that_is_no_number_stops_and_names_the_pictures(recipe, data_root, tmp_path):
    run = trainer(recipe, data_root, tmp_path / "run")
    with torch.no_grad():
        run.model.head.classifier.bias.fill_(float("nan"))
    with pytest.raises(NumericalError, match=r"Step 0: the loss is nan.*\d\.png"):
        run.train()
    assert not list_checkpoints(tmp_path / "run" / "checkpoints")


def test_another_configuration_in_the_same_directory_is_refused(recipe, data_root, tmp_path):
    trainer(recipe, data_root, tmp_path / "run").train()
    with pytest.raises(ConfigurationError, match="another configuration"):
        trainer(recipe, data_root, tmp_path / "run", cfg_options={"train.optimizer.lr": 1.0}).train()


def test_a_second_run_in_the_same_directory_is_refused(recipe, data_root, tmp_path):
    from filelock import FileLock

    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"), pytest.raises(InputError, match="Another run works in"):
        trainer(recipe, data_root, tmp_path / "run").train()


def test_other_classes_start_the_classifier_afresh_and_keep_the_rest(data_root, tmp_path, caplog):
    run = trainer(None, data_root, tmp_path / "run", model="segformer-b0-camvid", cfg_options={"train.workers": 0})
    assert run.model.num_classes == 3
    classes = "for the classes left, right, top; the model's are sky, building, pole, road … (11)"
    assert run.parts.adaptations[0] == f"the classifier starts afresh {classes}"
    assert not [record for record in caplog.records if "bfloat16" not in record.getMessage()]  # nothing is wrong
    from segpipe import load_model

    original = load_model("segformer-b0-camvid").state_dict()
    own = run.model.state_dict()
    assert all(torch.equal(own[key], original[key]) for key in original if not key.startswith("head.classifier."))


def wish_16(configuration):
    return override(configuration, ["model.size_multiple=16"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [({}, 32), ({"cfg_options": {"model.size_multiple": 1}}, 1), ({"cfg_modify_fn": wish_16}, 16)],
)
def test_what_is_trained_pads_to_a_multiple_of_32_but_where_the_user_says_otherwise(
    recipe, data_root, tmp_path, arguments, expected
):
    run = trainer(recipe, data_root, tmp_path / "run", **arguments)  # the recipe says 1, as foreign models do
    assert run.model.size_multiple == run.parts.configuration.model.size_multiple == expected
    assert run.model.best_multiple == 32


def test_from_scratch_takes_no_weights(data_root, tmp_path):
    run = trainer(None, data_root, tmp_path / "run", model="segformer-b0-camvid", pretrained=False)
    assert run.model.encoder.stages[0].embed.proj.bias.abs().max() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_steps": 1, "max_epochs": 1}, "both say how long"),
        ({"train_dataset": None}, "nothing to train on"),
        ({"cfg_modify_fn": lambda configuration: None}, "must return the configuration"),
    ],
)
def test_arguments_that_do_not_fit_say_so(recipe, data_root, tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        trainer(recipe, data_root, tmp_path / "run", **arguments)


def test_what_this_version_cannot_spread_is_refused(recipe, data_root, tmp_path):
    with pytest.raises(ConfigurationError, match="spreads data with DDP alone"):
        trainer(recipe, data_root, tmp_path / "run", cfg_options={"parallel": {"tensor": 2}})


def test_epochs_become_steps(recipe, data_root, tmp_path):
    run = trainer(recipe, data_root, tmp_path / "run", max_epochs=3)
    assert run.parts.max_steps == 8  # 15 samples in batches of 2


def test_checkpoints_hold_the_configuration_they_were_begun_with(recipe, data_root, tmp_path):
    trainer(recipe, data_root, tmp_path / "run").train()
    checkpoint = load_checkpoint(list_checkpoints(tmp_path / "run" / "checkpoints")[-1])
    assert json.loads(checkpoint.configuration)["train"]["seed"] == 3
    assert checkpoint.progress.samples == 12
