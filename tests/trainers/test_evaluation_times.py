"""When a run is evaluated: by steps, by passes over the data, and by the rules of the two Segmenters."""

import json

import pytest
from runs import build

from segpipe.configuration import EvaluationConfig, load_preset
from segpipe.errors import ConfigurationError
from segpipe.trainers.schedules import is_evaluation_step


def evaluation_epochs(config, total):
    """The passes over the data, from 1, after which a run is evaluated; the last one always is."""
    due = [epoch for epoch in range(1, total + 1) if is_evaluation_step(config, epoch, (epoch - 1, epoch), total)]
    return due if total in due else [*due, total]


def test_mindspores_rule_holds_for_all_its_epochs():
    config, save_every, total = load_preset("segmenter-large-cityscapes-mindspore").evaluation, 2, 216
    due = [
        epoch
        for epoch in range(1, total + 1)
        if epoch > 0.9 * total or (epoch - 1) % save_every == 0 or epoch < 10 or epoch == total
    ]
    assert evaluation_epochs(config, total) == due
    assert due[:11] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13]
    assert due[-22:] == list(range(195, 217))


@pytest.mark.parametrize(
    ("name", "total", "every"),
    [
        ("segmenter-tiny-ade20k", 64, 2),
        ("segmenter-large-cityscapes", 216, 4),
        ("segmenter-large-pascal-context", 256, 8),
    ],
)
def test_segmenters_rule_counts_epochs_from_zero(name, total, every):
    due = [epoch + 1 for epoch in range(total) if epoch % every == 0 or epoch == total - 1]
    assert evaluation_epochs(load_preset(name).evaluation, total) == due


def test_without_epochs_steps_decide():
    config = EvaluationConfig(every=3)
    assert [step for step in range(1, 10) if is_evaluation_step(config, step, (0.0, 9.0), 9.0)] == [3, 6, 9]
    assert not is_evaluation_step(None, 3, (0.0, 1.0), 9.0)


def test_an_epoch_ends_with_the_step_that_completes_it():
    config = EvaluationConfig(every_epochs=2)
    passes = [step * 2 / 5 for step in range(11)]  # five pictures by twos: epochs end after steps 3, 5, 8 and 10
    due = [step for step in range(1, 11) if is_evaluation_step(config, step, (passes[step - 1], passes[step]), 4.0)]
    assert due == [3, 8]


def test_a_step_of_several_epochs_is_due_when_one_of_them_is():
    config = EvaluationConfig(every_epochs=3)
    assert [is_evaluation_step(config, 1, (before, before + 2.0), 9.0) for before in (0.0, 1.0, 2.0)] == [
        True,
        False,
        True,
    ]


def test_a_run_is_evaluated_by_epochs(recipe, data_root, tmp_path):
    options = {"evaluation.every": 1, "evaluation.every_epochs": 2}
    build(recipe, data_root, tmp_path / "run", cfg_options=options, max_epochs=4).train()
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["event"] == "evaluation"] == [3, 8, 10]


def test_additions_to_epochs_need_epochs(recipe, data_root, tmp_path):
    with pytest.raises(ConfigurationError, match="every_epochs"):
        build(recipe, data_root, tmp_path / "run", cfg_options={"evaluation.last_share": 0.1})
