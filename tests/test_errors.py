"""The tree of errors: what each carries beside its sentence."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path

import pytest

from segpipe import errors

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.SegpipeError)]


@pytest.mark.parametrize("kind", KINDS)
def test_each_error_carries_what_it_is_about(kind):
    error = kind("A sentence.", path="/a/b", url="https://host/a", status=404, key="train.losses[0]")
    assert str(error) == "A sentence."
    assert (error.path, error.url, error.status, error.key) == (Path("/a/b"), "https://host/a", 404, "train.losses[0]")
    copied = pickle.loads(pickle.dumps(error))
    assert (str(copied), copied.path, copied.status) == ("A sentence.", Path("/a/b"), 404)


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_error_is_not_about_is_none(kind):
    error = kind("A sentence.")
    assert (error.path, error.url, error.status, error.key) == (None, None, None, None)
