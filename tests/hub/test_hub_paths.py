"""Names that a server may list, and file names made from arbitrary text."""

from __future__ import annotations

import json

import pytest
from fault_server import FaultServer
from hub_material import NAME

from segpipe.errors import ModelFolderError, UnsafePathError
from segpipe.hub import Hub
from segpipe.hub.manifest import parse_manifest
from segpipe.hub.paths import check_relative_path, check_relative_paths, file_key

NEEDED = {"configuration.json", "README.md", "LICENSE", "model.safetensors", "manifest.json"}
UNSAFE = [
    *(
        "../x",
        "/etc/x",
        "C:\\x",
        "D:x",
        "\\\\srv\\s",
        "a/..\\..\\b",
        "a\0b",
        "CON",
        "aux.txt",
        "dir/nul/x",
        "com1.json",
    ),
    *("name.", "name ", "dir./x", "n" * 300, "a/" * 600 + "x", "", ".", "a//b", "a/./b", "a/..", "a\nb", "x:stream"),
    *("what?", "a*", "<x>", 'a"b', "a|b", "\udc80"),
]
TWINS = [
    ("A.json", "a.json"),
    ("caf\u00e9.json", "cafe\u0301.json"),
    ("Dir/x", "dir/y"),
    ("stra\u00dfe", "STRASSE"),
    ("a", "a/b"),
    ("x", "x"),
]


@pytest.mark.parametrize("path", UNSAFE)
def test_unsafe_name_is_refused_on_every_system(path: str):  # case 24
    with pytest.raises(UnsafePathError):
        check_relative_path(path)


@pytest.mark.parametrize("pair", TWINS)
def test_names_that_some_systems_take_for_one_file_are_refused(pair: tuple[str, str]):  # case 24
    with pytest.raises(UnsafePathError):
        check_relative_paths(pair)


@pytest.mark.parametrize("path", ["model.safetensors", ".gitattributes", "a/b/c.txt", "街.jpg", "console.py", "a b.md"])
def test_ordinary_name_is_accepted(path: str):
    assert check_relative_path(path) == path


@pytest.mark.parametrize("path", ["LICENSE\\..\\x", "LICENSE:x", "NOTICE.", "LICENSE?", "license.MD", "\udc80"])
def test_unsafe_name_in_a_listing_of_a_file_that_is_not_needed_is_no_obstacle(hub: Hub, server: FaultServer, path: str):
    server.models[NAME][f"runs/{path}"] = server.models[NAME]["readme.MD"] = b"log"
    folder = hub.resolve(f"modelscope:{NAME}")
    assert {entry.name for entry in folder.path.iterdir()} == NEEDED


@pytest.mark.parametrize("path", ["LICENSE\\..\\x", "LICENSE:x", "NOTICE.", "LICENSE?", "LICENSE\udc80"])
def test_listing_with_an_unsafe_name_writes_nothing(hub: Hub, server: FaultServer, path: str):  # case 24
    server.models[NAME][path] = b"evil"  # it looks like a licence, so it would be fetched
    with pytest.raises(UnsafePathError):
        hub.resolve(f"modelscope:{NAME}")
    assert not list(hub.cache.home.glob("models/*/[!.]*"))


def test_listing_with_twins_writes_nothing(hub: Hub, server: FaultServer):  # case 24
    server.models[NAME].update({"LICENSE.md": b"a", "LICENSE.MD": b"b"})
    with pytest.raises(UnsafePathError):
        hub.resolve(f"modelscope:{NAME}")
    assert not list(hub.cache.home.glob("models/*/[!.]*"))


def test_manifest_with_an_unsafe_name_is_refused():  # case 24
    entry = {"path": "../x", "size": 1, "sha256": "0" * 64}
    with pytest.raises(UnsafePathError):
        parse_manifest(json.dumps({"format_version": 1, "files": [entry]}).encode(), "here")


@pytest.mark.parametrize("text", ["[]", "{}", '{"format_version": 1, "files": [{"path": 3}]}', "{", "[" * 100000])
def test_malformed_manifest_is_a_model_folder_error(text: str):
    with pytest.raises(ModelFolderError):
        parse_manifest(text.encode(), "here")


def test_file_keys_differ_where_texts_differ_in_case_or_separators():
    texts = ["hf:a--b/c", "hf:a/b--c", "Main", "main", "feature/x", "feature-x", "con", "", "街"]
    keys = [file_key(text) for text in texts]
    assert len({key.casefold() for key in keys}) == len(texts)
    check_relative_paths(keys)
