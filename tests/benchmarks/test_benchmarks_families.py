"""Training the families: that each keeps its recipe, and that the command records what happened."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from benchmarks import families
from benchmarks.family_runs import FAMILIES, Family, differences, shrink
from segpipe.configuration import load_preset
from segpipe.data import prepare_dataset


@pytest.fixture
def small_camvid(tmp_path):
    for split, count in (("train", 4), ("val", 1)):
        prepare_dataset("street-scenes", tmp_path / "camvid", count=count, size=(90, 120), split=split)
    return tmp_path / "camvid"


@pytest.mark.slow
def test_the_command_trains_each_family_and_records_it(small_camvid, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(families, "RESULTS", tmp_path)
    before = sorted(small_camvid.rglob("*"))
    families.main(["--data", str(small_camvid), "--steps", "2", "--threads", "1", "--name", "tiny"])
    rows = json.loads((tmp_path / "tiny.json").read_text())["rows"]
    assert [row["family"] for row in rows] == list(FAMILIES)
    assert all(row["steps"] == 2 and row["pictures_per_second"] > 0 for row in rows)
    assert [row["boundary_maps"] for row in rows] == [0, 0, 4]
    assert "train.loss.maps" in capsys.readouterr().out
    assert sorted(small_camvid.rglob("*")) == before


@pytest.mark.parametrize("name", list(FAMILIES))
def test_only_lengths_and_the_run_s_size_leave_the_recipe(name):
    preset = load_preset(FAMILIES[name].preset)
    changed = differences(preset, shrink(preset, family=FAMILIES[name], steps=300))
    of_size = {"batch_size", "max_steps", "max_epochs", "workers", "log_every", "schedule.milestones", "loss.maps"}
    of_recipe = {key.removeprefix("train.") for key in changed if key.startswith("train.")}
    assert {"batch_size", "max_steps"} <= of_recipe
    assert all(key.endswith("].size") for key in of_recipe - of_size)


def test_all_lengths_shrink_by_one_factor():
    preset = load_preset("unept-res50-ade20k")
    run = shrink(preset, family=Family("unept-res50-ade20k", Fraction(1, 3), 100), steps=100)
    changed = differences(preset, run)
    assert changed["train.transforms[1].size"] == ([480, 480], [160, 160])
    assert changed["inference.stride"] == ([160, 160], [53, 53])
    assert changed["model.query_grid"] == ([60, 60], [20, 20])
    assert changed["train.schedule.milestones"] == ([126000], [79])
    assert "train.optimizer.lr" not in changed


def test_a_folder_with_another_run_is_refused(small_camvid, tmp_path):
    (tmp_path / "runs" / "unept").mkdir(parents=True)
    with pytest.raises(SystemExit):
        families.parse_arguments(["--data", str(small_camvid), "--runs", str(tmp_path / "runs")])
