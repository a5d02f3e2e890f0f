"""A data set outside of the package: what a plug-in registers is prepared, opened and checked like our own."""

from __future__ import annotations

import importlib.metadata

import numpy as np
import pytest

from segpipe import registry
from segpipe.cli.main import main
from segpipe.data import (
    DATASETS,
    PREPARERS,
    FilePlan,
    FileTask,
    Layout,
    Preparer,
    build_from_layouts,
    build_label_set,
    check_splits,
    load_dataset,
    prepare_dataset,
)


def build_toy_town(root, split="train", *, split_file=None):
    """Open rgb/SPLIT and truth/SPLIT, whose labels hold 7 for road and 9 for sky."""
    layouts = [Layout(f"rgb/{split}", f"truth/{split}", build_label_set({7: "road", 9: "sky"}))]
    return build_from_layouts("toy-town", root, split, layouts, split_file=split_file)


def plan_toy_town(root, *, level=90):
    """Plan an image and its label."""
    image, label = np.full((2, 3, 3), level, np.uint8), np.array([[7, 7, 7], [9, 9, 0]], np.uint8)
    files = (root / "rgb" / "train" / "1.png", root / "truth" / "train" / "1.png")
    return FilePlan("A town.", (FileTask(files, lambda: (image, label)),))


def register():
    """Register the data set; the plug-in's entry point names this function."""
    DATASETS.register("toy-town")(build_toy_town)
    PREPARERS.register("toy-town")(Preparer(plan_toy_town, "the town is made up"))


@pytest.fixture
def plugin(monkeypatch):
    """An installed package with the entry point."""
    for known in (DATASETS, PREPARERS):
        monkeypatch.setattr(known, "_entries", dict(known._entries))
    monkeypatch.setattr(registry, "_loaded_plugins", set())
    entry = importlib.metadata.EntryPoint("toy", f"{__name__}:register", registry.PLUGIN_GROUP)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry] if group == entry.group else [])


@pytest.mark.usefixtures("plugin")
def test_a_data_set_of_a_plugin_is_prepared_opened_and_checked(tmp_path, capsys):
    assert prepare_dataset("toy-town", tmp_path, level=50).written == {"rgb/train": 1, "truth/train": 1}
    [sample] = load_dataset("toy-town", tmp_path)
    assert (sample.image.max(), sample.label.tolist()) == (50, [[0, 0, 0], [1, 1, 255]])
    [report] = check_splits("toy-town", tmp_path, ["train"])
    assert [(group.kind, group.total) for group in report.groups] == [("unlisted-value", 1)]
    assert main(["data", "check", "toy-town", str(tmp_path), "--split", "train"]) == 0
    assert "toy-town train: 1 image, 2 classes" in capsys.readouterr().out
