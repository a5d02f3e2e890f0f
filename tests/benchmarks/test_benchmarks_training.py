"""The training benchmark's own parts: labels, crops, tables. Nothing is timed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

# The benchmarks are not installed; appended, so that an installed segpipe still comes first.
sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.comparison import compare_results
from benchmarks.loading import ade20k_values, read_chain
from benchmarks.results import Machine, Result, Row
from benchmarks.tables import render_rows
from benchmarks.training import fastest_of, parse_arguments
from benchmarks.training_steps import check_losses, crop_batch, make_batch, split_regions
from segpipe.data import Sample


def make_row(table: str, *, network: str = "b0", **runs: tuple[float, ...]) -> Row:
    names = {"step": "training step"}
    return Row(
        table=table,
        network=network,
        size=(512, 512),
        what="batch size 2",
        unit="MiB" if table.endswith("memory") else "ms",
        runs={names.get(name, name): values for name, values in runs.items()},
    )


def make_result(row: Row) -> Result:
    machine = Machine(processor="a processor", cores=2, memory_gib=8, system="Linux x86_64", python="3.11.0")
    return Result(date="2026-01-02", machine=machine, versions={}, threads=2, rows=(row,))


def test_regions_rename_a_scene_s_classes_and_keep_what_is_ignored():
    label = np.full((512, 512), 3, np.uint8)
    label[:, :10] = 255
    split = split_regions(label, 172)
    assert np.array_equal(split == 255, label == 255)
    assert set(np.unique(split[split != 255])) == {3 + 11 * copy for copy in range(15)}
    assert len(np.unique(split[:64, 64:128])) == 1


def test_a_batch_holds_pictures_as_bytes_and_labels_of_known_classes():
    batch = make_batch(2, 128, 172)
    assert (batch.images.shape, batch.images.dtype) == ((2, 3, 128, 128), torch.uint8)
    counted = batch.labels[batch.labels != 255]
    assert 11 < int(counted.max()) < 172


def test_crops_are_the_lower_left_corners():
    batch = make_batch(1, 96, 172)
    crop = crop_batch(batch, (64, 64))
    assert torch.equal(crop.images, batch.images[:, :, 32:, :64])
    assert torch.equal(crop.labels, batch.labels[:, 32:, :64])


def test_losses_must_agree():
    check_losses(5.0, 5.004)
    for ours in (5.1, float("nan")):
        with pytest.raises(SystemExit, match="different things"):
            check_losses(ours, 5.0)


def test_ade20k_stores_classes_plus_one():
    assert ade20k_values(np.array([[0, 10, 255]], np.uint8)).tolist() == [[1, 11, 0]]


@pytest.mark.parametrize("size", [64, 512])
def test_the_recipe_s_transforms_end_at_the_asked_size(size):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 11, (90, 120), np.uint8)
    sample = read_chain(size)(Sample(np.zeros((90, 120, 3), np.uint8), label, "x"), rng)
    assert sample.image.shape == (size, size, 3)


def test_training_is_shown_as_pictures_a_second_and_compared_as_faster():
    text = render_rows("training", [make_row("training", segpipe=(250.0,), transformers=(1000.0,))])
    assert text.splitlines()[-1].split()[-3:] == ["4.00", "1.00", "4.0×"]


def test_less_training_memory_is_said_so():
    text = render_rows("training memory", [make_row("training memory", segpipe=(500.0,), transformers=(1500.0,))])
    assert "less than transformers" in text
    assert text.splitlines()[-1].split()[-3:] == ["500", "1,500", "3.0×"]


def test_a_loader_stands_beside_the_step_and_is_compared_by_its_own_time():
    row = make_row("loading", segpipe=(10.0,), step=(400.0,))
    assert render_rows("loading", [row]).splitlines()[-1].split()[-3:] == ["100", "2.50", "40.0×"]
    slower = make_row("loading", segpipe=(20.0,), step=(400.0,))
    [change] = compare_results(make_result(row), make_result(slower))
    assert (change.unit, change.verdict, change.worse) == ("ms", "worse", pytest.approx(1.0))


def test_the_loader_is_set_beside_the_fastest_network():
    slow = make_row("training", network="b2", segpipe=(900.0,))
    fast = make_row("training", network="b0", segpipe=(300.0,))
    assert fastest_of([slow, fast]) is fast


def test_the_command_line_has_defaults_and_refuses_too_few_steps():
    options = parse_arguments([])
    assert (options.network, options.batch, options.size, options.steps) == (["b0", "b2"], 2, 512, 4)
    with pytest.raises(SystemExit):
        parse_arguments(["--steps", "2"])


@pytest.mark.peer
@pytest.mark.slow
def test_both_contestants_begin_with_one_loss_and_learn(tmp_path):
    pytest.importorskip("transformers")
    from benchmarks.networks import write_untrained
    from benchmarks.training_steps import CONTESTANTS

    write_untrained("b0", tmp_path / "b0")
    batch = make_batch(2, 64, 172)
    contestants = [build(tmp_path / "b0") for build in CONTESTANTS.values()]
    before = [contestant.evaluate(batch) for contestant in contestants]
    check_losses(*before)
    for contestant in contestants:
        for _ in range(3):
            contestant.step(batch)
    after = [contestant.evaluate(batch) for contestant in contestants]
    assert all(new < old - 0.01 for new, old in zip(after, before, strict=True))
