"""Files of weights on a disk without space."""

import resource
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from segpipe import convert, publish
from segpipe.checkpoints.weight_files import write_pickle, write_tensors
from segpipe.errors import CacheError


@contextmanager
def files_of_at_most(size: int):
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize(("write", "name"), [(write_tensors, "w.safetensors"), (write_pickle, "w.pth")])
@pytest.mark.parametrize("size", [0, 1000, 30_000])
def test_weights_that_do_not_fit_the_disk_are_our_error_and_leave_nothing(tmp_path, write, name, size):
    with files_of_at_most(size), pytest.raises(CacheError, match=rf"{name} cannot be written: .*Free some space"):
        write({"a": torch.zeros(100_000)}, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("write", "suffix"), [(write_tensors, "safetensors"), (write_pickle, "pth")])
@pytest.mark.parametrize("stem", ["a\0b", "\ud800", "not/there", "x" * 300])
def test_weights_that_have_no_place_are_our_error(tmp_path, write, suffix, stem):
    with pytest.raises(CacheError, match="cannot be written"):
        write({"a": torch.zeros(3)}, tmp_path / f"{stem}.{suffix}")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_does_not_fit_the_disk_is_named_as_the_caller_does(tmp_path, monkeypatch, overwrite):
    monkeypatch.chdir(tmp_path)
    convert("segformer-b0-camvid", "model")
    target = "model" if overwrite else "other"
    with files_of_at_most(20_000), pytest.raises(CacheError, match=rf"^{target}/model\.safetensors cannot") as caught:
        convert("segformer-b0-camvid", target, overwrite=overwrite)
    assert caught.value.path == Path(target, "model.safetensors")
    with files_of_at_most(20_000), pytest.raises(CacheError, match=r"/hub/a/b/main: File too large") as refused:
        publish("model", "./hub/a/b")
    assert refused.value.path == tmp_path / "hub/a/b/main"
