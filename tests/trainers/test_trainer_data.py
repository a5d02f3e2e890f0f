"""What a trainer makes of the data that it is given: names in the configuration, classes, class weights."""

import json
import logging

from runs import NAMES, build

from segpipe import load_dataset
from segpipe.data import repeat


def test_given_data_stands_in_the_configuration_in_place_of_the_recipes(recipe, data_root, tmp_path):
    train = repeat(load_dataset("folder", data_root, "train", names=NAMES), 3)
    dataset = build(recipe, data_root, tmp_path / "run", train_dataset=train).parts.configuration.dataset
    assert (dataset.type, dataset.root) == ("folder", None)
    assert (dataset.train.split, dataset.train.times, dataset.eval.split) == ("train", 3, "val")


def test_given_class_weights_of_another_number_are_left_out_with_a_warning(recipe, data_root, tmp_path, caplog):
    weights = {"labels.names": ["a", "b"], "model.num_classes": 2, "train.loss.class_weights": [1.0, 2.0]}
    caplog.set_level(logging.WARNING, logger="segpipe")
    trainer = build(recipe, data_root, tmp_path / "run", cfg_options=weights)
    assert trainer.config.loss.class_weights is None
    assert "2 class weights are given and the data has 3 classes" in caplog.text


def test_class_weights_for_the_datas_own_classes_are_kept(recipe, data_root, tmp_path):
    weights = {"train.loss.class_weights": [1.0, 2.0, 3.0]}
    trainer = build(recipe, data_root, tmp_path / "run", cfg_options=weights)
    assert trainer.config.loss.class_weights == (1.0, 2.0, 3.0)


def test_class_weights_of_a_recipe_for_as_many_other_classes_are_left_out(recipe, data_root, tmp_path, caplog):
    document = json.loads(recipe.read_text())
    document["labels"]["names"] = ["sky", "road", "tree"]
    document["train"]["loss"] = {"type": "cross_entropy", "class_weights": [1.0, 2.0, 3.0]}
    recipe.write_text(json.dumps(document))
    caplog.set_level(logging.WARNING, logger="segpipe")
    trainer = build(recipe, data_root, tmp_path / "run")
    assert trainer.config.loss.class_weights is None
    assert trainer.parts.adaptations[1].startswith(
        "all classes weigh the same, since the weights are for other classes"
    )
    assert caplog.text == ""
    given = ["train.loss.class_weights=[3, 2, 1]"]
    kept = build(recipe, data_root, tmp_path / "given", cfg_options=iter(given)).config.loss
    assert kept.class_weights == (3.0, 2.0, 1.0)


def test_a_run_far_shorter_than_its_recipe_gets_a_warm_up_and_intervals_that_fit(recipe, data_root, tmp_path):
    long = configured(recipe, tmp_path, warmup=500, log_every=50, checkpoint=250, evaluation=1000)
    trainer = build(long, data_root, tmp_path / "run", max_steps=60)
    config, evaluation = trainer.config, trainer.parts.configuration.evaluation
    assert (config.schedule.warmup.steps, config.log_every, config.checkpoint.every, evaluation.every) == (6, 3, 15, 15)
    fitted = "train.log_every=3, train.checkpoint.every=15, train.schedule.warmup.steps=6, evaluation.every=15"
    assert trainer.parts.adaptations == (f"for 60 steps, {fitted}",)


def test_what_the_user_says_and_what_fits_stays(recipe, data_root, tmp_path):
    long = configured(recipe, tmp_path, warmup=20, log_every=20, checkpoint=250, evaluation=30)
    trainer = build(long, data_root, tmp_path / "run", max_steps=60, cfg_options={"train.checkpoint.every": 100})
    config, evaluation = trainer.config, trainer.parts.configuration.evaluation
    assert (config.schedule.warmup.steps, config.log_every, config.checkpoint.every) == (20, 20, 100)
    assert evaluation.every == 30


def configured(recipe, tmp_path, *, warmup, log_every, checkpoint, evaluation):
    document = json.loads(recipe.read_text())
    document["train"]["schedule"]["warmup"]["steps"] = warmup
    document["train"] |= {"log_every": log_every, "checkpoint": {"every": checkpoint, "keep": 2}}
    document["evaluation"]["every"] = evaluation
    path = tmp_path / "long.json"
    path.write_text(json.dumps(document))
    return path
