"""Registries: their order, what they take, and plug-ins that several threads ask for at once."""

import importlib.metadata
import threading
import time

import msgspec
import pytest

from segpipe import MODELS, registry
from segpipe.configuration import json_schema
from segpipe.errors import InputError
from segpipe.models import Family
from segpipe.registry import Registry


class Untagged(msgspec.Struct):
    """A section that no document can name."""

    variant: str = "a"
    num_classes: int = 2
    pixel_mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pixel_std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    size_multiple: int = 1


class Elsewhere(Untagged, tag="mine", tag_field="kind"):
    """A section that names its family by another key than `type`."""


class Other(Untagged, tag="other"):
    """A section of another family."""


def test_names_come_in_alphabetical_order():
    known = Registry("thing")
    for name in "bca":
        known.register(name)(name.upper())
    assert (list(known), repr(known)) == (["a", "b", "c"], "Registry(thing: a, b, c)")


def test_what_stands_as_text_is_the_same_when_it_is_registered_again():
    known = Registry("thing", {"threading": "threading:Thread"})
    assert known.register("threading")(threading.Thread) is known.get("threading")
    with pytest.raises(InputError, match="already registered"):
        known.register("threading")(time.sleep)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (lambda configuration: None, r"'mine' cannot be <function.*Register a segpipe\.models\.Family"),
        (
            Family(config=Untagged, network=str),
            r"Untagged, has no tag\. Write class Untagged\(msgspec.Struct, tag='mine'",
        ),
        (Family(config=Elsewhere, network=str), "Elsewhere, is read where 'kind' is 'mine'"),
        (Family(config=Other, network=str), "Other, is read where 'type' is 'other'"),
    ],
)
def test_what_cannot_be_a_family_is_refused_and_leaves_the_others_as_they_were(entry, message):
    with pytest.raises(InputError, match=message):
        MODELS.register("mine")(entry)
    assert "mine" not in MODELS
    assert "segformer" in str(json_schema())


def test_threads_that_ask_for_a_plug_in_at_once_all_get_it(monkeypatch):
    known = Registry("thing")

    def register():
        time.sleep(0.2)
        known.register("slow")(time.sleep)

    entry = importlib.metadata.EntryPoint("slow", "tests:register", registry.PLUGIN_GROUP)
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda self: register)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry])
    monkeypatch.setattr(registry, "_loaded_plugins", set())
    found = []
    threads = [threading.Thread(target=lambda: found.append(known.get("slow"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [time.sleep] * 3
