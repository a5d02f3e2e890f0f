"""Paths that cannot be looked at, and folders that hold themselves."""

import os

import pytest
from PIL import Image

from segpipe import load_dataset
from segpipe.checkpoints import convert
from segpipe.data.datasets.finding_files import find_files
from segpipe.data.sources import iterate_sources
from segpipe.errors import SegpipeError

LONG = "y" * 3000


@pytest.mark.parametrize("root", [LONG, "/".join(["p" * 200] * 30), "~nobody-of-this-name/x", "a\0b"])
@pytest.mark.parametrize("name", ["folder", "coco-annotations", "cityscapes", "ade20k", "image-folder", "imagenet"])
def test_a_root_that_cannot_be_a_path_is_refused_by_our_error(name, root):
    with pytest.raises(SegpipeError):
        load_dataset(name, root)


@pytest.mark.parametrize("source", [LONG, "a\0b", "~nobody-of-this-name/x"])
def test_a_source_of_weights_that_cannot_be_a_path_is_refused_by_our_error(source, tmp_path):
    with pytest.raises(SegpipeError):
        convert(source, tmp_path / "made")


def test_a_list_of_files_with_a_name_that_is_too_long_is_refused_by_our_error(tmp_path):
    with pytest.raises(SegpipeError):
        load_dataset("folder", tmp_path, split_file=LONG)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_named(tmp_path):
    tmp_path.chmod(0)
    try:
        with pytest.raises(SegpipeError, match="cannot be read"):
            list(iterate_sources(tmp_path))
        with pytest.raises(SegpipeError):
            load_dataset("folder", tmp_path / "below")
    finally:
        tmp_path.chmod(0o700)


def test_links_to_folders_above_end_the_search_and_others_are_followed(tmp_path):
    """Two links to their own folder have 2^40 paths until the system refuses one."""
    (tmp_path / "root/sub").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for name in ("root/a.png", "root/sub/b.png", "elsewhere/c.png"):
        Image.new("L", (2, 2)).save(tmp_path / name)
    for link, target in {"x": ".", "y": "../root", "sub/z": "..", "further": "../elsewhere"}.items():
        (tmp_path / "root" / link).symlink_to(target)
    assert sorted(find_files(tmp_path / "root", (".png",))) == ["a", "further/c", "sub/b"]
