"""ModelScope's `build_trainer`: EasyCV's keys, functions that change the configuration, checkpoints."""

from operator import attrgetter

import pytest
import torch
from compat_material import MODEL, model_files, tiny_segformer
from training_material import data_root, recipe  # noqa: F401

from segpipe import load_dataset, pipeline
from segpipe.compat.modelscope import Config, Trainers, build_trainer, read_config
from segpipe.compat.modelscope.keys import own_changes
from segpipe.compat.modelscope.training_arguments import Evaluation
from segpipe.configuration import load_preset, override
from segpipe.errors import ConfigurationError, InputError

NAMES = ("left", "right", "top")


@pytest.fixture
def arguments(recipe, data_root, tmp_path):  # noqa: F811
    data = {split: load_dataset("folder", data_root, split, names=NAMES) for split in ("train", "val")}
    return {
        "cfg_file": recipe,
        "train_dataset": data["train"],
        "eval_dataset": data["val"],
        "work_dir": str(tmp_path / "run"),
        "device": "cpu",
    }


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"train.max_epochs": 2}, {"train.max_epochs": 2, "train.max_steps": None}),
        ({"train": {"max_epochs": 2}}, {"train.max_epochs": 2, "train.max_steps": None}),
        ({"train.optimizer": {"type": "SGD", "lr": 0.1}}, {"train.optimizer.type": "sgd", "train.optimizer.lr": 0.1}),
        ({"train.dataloader.batch_size_per_gpu": 4}, {"train.batch_size": 4}),
        ({"train.dataloader": {"workers_per_gpu": 2, "shuffle": True}}, {"train.workers": 2}),
        ({"train.lr_scheduler.warmup_ratio": 1e-60}, {"train.schedule.warmup.ratio": 1e-60}),
        ({"train.lr_scheduler.warmup": "exp"}, {"train.schedule.warmup.type": "exponential"}),
        ({"train.lr_scheduler.policy": "poly"}, {"train.schedule.type": "poly"}),
        ({"model.decode_head.norm_cfg.type": "BN"}, {"train.sync_batch_norm": False}),
        ({"train.hooks": [{"type": "TextLoggerHook", "interval": 5}, {"type": "X"}]}, {"train.log_every": 5}),
        ({"evaluation.dataloader.batch_size_per_gpu": 2}, {"evaluation.batch_size": 2}),
        ({"evaluation.metrics.type": "EasyCVMetric", "plugins": []}, {}),
        ({"train.checkpoint": {"every": 7, "period": {"interval": 1}}}, {"train.checkpoint.every": 7}),
        ({"train.transforms": [], "dataset.root": "x"}, {"train.transforms": [], "dataset.root": "x"}),
        ({"model.pretrained": None}, {}),
        (
            {"train.optimizer": {"paramwise_options": {"custom_keys": {"head": {"lr_mult": 10.0}, "pos_block": {}}}}},
            {"train.optimizer.groups": [{"match": "head", "lr_factor": 10.0}]},
        ),
        (
            {"train.optimizer.paramwise_options.custom_keys": {"norm": {"decay_mult": 0.0}}},
            {"train.optimizer.groups": [{"match": "norm", "lr_factor": 1, "weight_decay": 0}]},
        ),
    ],
)
def test_their_keys_are_ours_by_other_names(theirs, ours):
    assert own_changes(theirs) == ours


def test_the_recipe_that_easycv_writes_is_the_published_one():
    """Its sections as they stand in the folder on ModelScope, over a preset with another length and rate."""
    optimizer = {
        "type": "AdamW", "lr": 6e-05, "betas": (0.9, 0.999), "weight_decay": 0.01, "options": {},
        "paramwise_options": {
            "custom_keys": {"pos_block": {"decay_mult": 0.0}, "norm": {"decay_mult": 0.0}, "head": {"lr_mult": 10.0}}
        },
    }  # fmt: skip
    schedule = {
        "policy": "poly", "warmup": "linear", "warmup_iters": 1500, "warmup_ratio": 1e-06, "power": 1.0, "min_lr": 0.0,
        "by_epoch": False,
    }  # fmt: skip
    hooks = [{"type": "CheckpointHook", "interval": 1}, {"type": "TextLoggerHook", "interval": 50}]
    theirs = {
        "work_dir": None, "max_epochs": 30, "dataloader": {"batch_size_per_gpu": 16, "workers_per_gpu": 4},
        "optimizer": optimizer, "lr_scheduler": schedule, "hooks": hooks,
    }  # fmt: skip
    preset = load_preset("segformer-b0-cocostuff")
    other = override(preset, {"train.max_epochs": 1, "train.optimizer.lr": 1.0, "train.optimizer.groups": []})
    made = override(other, own_changes({"train": theirs})).train
    key = attrgetter("match")
    assert sorted(made.optimizer.groups, key=key) == sorted(preset.train.optimizer.groups, key=key)
    assert (made.max_epochs, made.batch_size, made.schedule) == (30, 16, preset.train.schedule)
    assert (made.optimizer.lr, made.optimizer.betas) == (6e-5, (0.9, 0.999))


@pytest.mark.parametrize(
    ("key", "value", "instead"),
    [
        ("dataset.train.data_source.img_root", "x", r"train_dataset=MsDataset.load"),
        ("model.backbone.num_layers", [1], r"model.encoder"),
        ("model.decode_head.norm_cfg.type", "GN", r"BN, SyncBN have one. Set train.sync_batch_norm"),
        ("train.lr_scheduler.gamma", 0.1, r"train.schedule"),
        ("train.optimizer.paramwise_options.custom_keys", {"x": {"lr_mult": 1}}, r"Set train.optimizer.groups"),
        ("train.optimizer.paramwise_options.custom_keys", {"norm": 5}, r"Set train.optimizer.groups"),
        ("model.backbone.pretrained", "mit_b0.pth", r"the argument encoder_weights"),
        ("train.work_dir", "x", r"the argument work_dir"),
    ],
)
def test_keys_without_a_counterpart_say_what_to_use(key, value, instead):
    with pytest.raises(ConfigurationError, match=rf"cfg_options: {key}.*{instead}"):
        own_changes({key: value})


def test_keys_without_an_effect_are_said_once(caplog):
    own_changes({"plugins": ["x"], "CLASSES": [], "train.dataloader.drop_last": True})
    (line,) = [record.getMessage() for record in caplog.records]
    assert "plugins (no code of a model is run); CLASSES" in line
    assert "train.dataloader.drop_last" in line


def test_batches_are_per_process(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert own_changes({"train.dataloader.batch_size_per_gpu": 2}) == {"train.batch_size": 16}


def test_a_run_leaves_a_folder_called_output_and_scores_by_their_names(arguments, tmp_path):
    trainer = build_trainer(Trainers.default, arguments | {"cfg_options": {"train.max_iters": 2}})
    trainer.train()
    assert trainer.progress.step == 2
    scores = trainer.evaluate()
    assert isinstance(scores, Evaluation)
    assert {"mIoU", "mAcc", "aAcc", "IoU.left"} <= set(scores)
    assert scores["mIoU"] == scores.miou
    opened = pipeline("image-segmentation", tmp_path / "run" / "output").model.state_dict()
    assert all(torch.equal(tensor, trainer.model.state_dict()[key]) for key, tensor in opened.items())


def test_a_run_begins_with_a_checkpoint(arguments, tmp_path):
    first = build_trainer(**arguments, max_steps=1)
    folder = first.train()
    other = build_trainer(**arguments | {"work_dir": str(tmp_path / "other")}, max_steps=1, seed=99)
    path = folder.path / "model.safetensors"
    assert other.evaluate(checkpoint_path=path)["mIoU"] == first.evaluate()["mIoU"]


def test_a_checkpoint_may_have_its_networks_name_before_each_tensors(arguments, tmp_path):
    trainer = build_trainer(**arguments, max_steps=1)
    scores = trainer.evaluate()
    tensors = {f"model.{key}": tensor for key, tensor in trainer.model.state_dict().items()}
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "last.ckpt")
    other = build_trainer(**arguments, max_steps=1, seed=99)
    assert other.evaluate(checkpoint_path=tmp_path / "last.ckpt") == scores


def test_a_function_changes_the_configuration(arguments):
    def modify(config):
        assert isinstance(config, Config)
        config.train.max_steps = 3
        config.train.optimizer.lr = 0.5
        config.train.dataloader = {"batch_size_per_gpu": 1}
        return config

    trainer = build_trainer(default_args=arguments | {"cfg_modify_fn": modify})
    config = trainer.parts.configuration.train
    assert (config.max_steps, config.optimizer.lr, config.batch_size) == (3, 0.5, 1)
    with pytest.raises(InputError, match="must return the configuration"):
        build_trainer(default_args=arguments | {"cfg_modify_fn": lambda config: None})


def test_arguments_without_effect_are_said_and_others_refused(arguments, caplog):
    build_trainer(**arguments, data_collator=len, preprocessor=len, trust_remote_code=None, optimizers=(None, None))
    assert "build_trainer: data_collator, preprocessor has no effect in segpipe" in caplog.text
    with pytest.raises(InputError, match=r"optimizers cannot be given.*train\.optimizer"):
        build_trainer(**arguments, optimizers=(object(), None))


def test_fp16_is_a_precision(arguments):
    assert build_trainer(**arguments, use_fp16=True).parts.configuration.train.precision == "float16"


def test_models_of_damo_have_their_recipe_under_their_new_owner_too(web_server, monkeypatch, tmp_path, arguments):
    web_server.add_model(MODEL.replace("damo", "iic"), model_files(tiny_segformer()))
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", web_server.url)
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    del arguments["cfg_file"]
    trainer = build_trainer(**arguments, model=MODEL.replace("damo", "iic"))
    assert trainer.parts.configuration.train.max_epochs == 30


def test_a_folder_that_no_preset_is_of_brings_its_own_recipe(tmp_path, arguments):
    (tmp_path / "mine").mkdir()
    for name, data in model_files(tiny_segformer()).items():
        (tmp_path / "mine" / name).write_bytes(data)
    del arguments["cfg_file"]
    trainer = build_trainer(**arguments, model=str(tmp_path / "mine"), cfg_options={"train.optimizer.lr": 0.5})
    train = trainer.parts.configuration.train
    assert (train.max_epochs, train.batch_size, train.optimizer.lr) == (30, 2, 0.5)
    assert train.transforms == load_preset("segformer-b0-cocostuff").train.transforms


def test_a_file_in_easycvs_words_is_what_it_has_other_than_the_model(web_server, monkeypatch, tmp_path, arguments):
    web_server.add_model(MODEL, model_files(tiny_segformer()))
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", web_server.url)
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    config = read_config(MODEL)
    config.train.max_epochs = 2
    config.train.optimizer.lr = 0.5
    config.dump(tmp_path / "theirs.json")
    trainer = build_trainer(Trainers.easycv, arguments | {"model": MODEL, "cfg_file": str(tmp_path / "theirs.json")})
    train = trainer.parts.configuration.train
    assert (train.max_epochs, train.optimizer.lr, train.batch_size) == (2, 0.5, 16)


def test_a_checkpoint_of_modelscopes_names_is_said_to_be_elsewhere(arguments, tmp_path):
    with pytest.raises(InputError, match=r"no checkpoint .*epoch_1.pth.*run/model, the best weights"):
        build_trainer(**arguments).evaluate(checkpoint_path=str(tmp_path / "run" / "epoch_1.pth"))
