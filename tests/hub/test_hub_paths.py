"""Names that a server may list, and file names made from arbitrary text."""

from __future__ import annotations

import json
import time

import fault_server as faults
import pytest
from fault_server import FaultServer
from hub_material import NAME

from segpipe.errors import DownloadError, ModelFolderError, UnsafePathError
from segpipe.hub import Hub
from segpipe.hub.manifest import parse_manifest
from segpipe.hub.references import check_relative_path, check_relative_paths, file_key

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


@pytest.mark.parametrize("path", ["LICENSE\\..\\x", "LICENSE:x", "NOTICE.", "LICENSE?", "license.MD"])
def test_unsafe_name_in_a_listing_of_a_file_that_is_not_needed_is_no_obstacle(hub: Hub, server: FaultServer, path: str):
    server.models[NAME][f"runs/{path}"] = server.models[NAME]["readme.MD"] = b"log"
    folder = hub.resolve(f"modelscope:{NAME}")
    assert {entry.name for entry in folder.path.iterdir()} == NEEDED


@pytest.mark.parametrize("path", ["LICENSE\\..\\x", "LICENSE:x", "NOTICE.", "LICENSE?"])
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


def test_listing_with_half_a_surrogate_pair_is_not_json(hub: Hub, server: FaultServer):  # case 24
    server.models[NAME]["LICENSE\udc80"] = b"evil"
    with pytest.raises(DownloadError, match="no list of files"):
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


def manifest_of(paths: list[str]) -> bytes:
    files = [{"path": path, "size": 1, "sha256": "0" * 64} for path in paths]
    return json.dumps({"format_version": 1, "files": files}).encode()


@pytest.mark.parametrize(
    ("paths", "match"),
    [
        (["a/" * 490 + "x"], "491 parts, more than 32"),
        (["/".join("a" * 30 for _ in range(32)) + "/" + "b" * 30], "bytes long, more than 1000"),
        (["x" * 201], "more than 200 bytes"),
        ([f"{number}" for number in range(100_001)], "100,001 files; at most 100,000"),
    ],
)
def test_a_manifest_is_bounded_in_number_depth_and_length(paths: list[str], match: str):
    with pytest.raises(UnsafePathError, match=match):
        parse_manifest(manifest_of(paths), "here")


@pytest.mark.parametrize("count", [1, 32])
def test_a_path_of_as_many_parts_as_the_limit_is_accepted(count: int):
    path = "/".join(["a"] * count)
    assert check_relative_path(path) == path


def test_the_limits_of_paths_can_be_raised(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEGPIPE_MAX_PATH_DEPTH", "500")
    monkeypatch.setenv("SEGPIPE_MAX_PATH_BYTES", "5000")
    assert parse_manifest(manifest_of(["a/" * 490 + "x"]), "here").entry("a/" * 490 + "x") is not None


def test_the_time_for_paths_grows_with_their_number():
    """100,000 paths of 16 parts: under a second; all prefixes of all prefixes would take hours."""
    paths = [f"{number:06}/" + "folder/" * 14 + "x" for number in range(100_000)]
    started = time.process_time()
    check_relative_paths(paths)
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "files",
    [
        "[{}]",
        '[{"path": "a", "size": -1, "sha256": "%s"}]' % ("0" * 64),
        '[{"path": "a", "size": 1e400, "sha256": "%s"}]' % ("0" * 64),
        '[{"path": "a", "size": true, "sha256": "%s"}]' % ("0" * 64),
        '[{"path": "a", "size": 1, "sha256": "%s"}]' % ("G" * 64),
        '[{"path": "a", "size": 1, "sha256": "%s\\n"}]' % ("0" * 64),
        "{}",
        "null",
        "[" * 100_000,
    ],
)
def test_a_manifest_with_impossible_entries_is_refused(files: str):
    with pytest.raises(ModelFolderError, match="not a manifest"):
        parse_manifest(f'{{"format_version": 1, "files": {files}}}'.encode(), "here")


def test_what_a_manifest_does_not_need_is_ignored():
    document = json.loads(manifest_of(["a"])) | {"more": [[[]]], "x": None}
    assert parse_manifest(json.dumps(document).encode(), "here").size == 1


@pytest.mark.parametrize(
    "listing",
    [
        b"[" * 200_000,
        b'{"sha": "main", "siblings": ' + b"[" * 200_000,
        b'{"sha": "main", "siblings": [' + b"{}," * 200_000 + b"{}]}",
        b'{"sha": "../x", "siblings": []}',
        b'{"sha": "a\\u0007", "siblings": []}',
        b'{"sha": 5, "siblings": []}',
        b"5" * 10_000,
        b"\xff",
        b"",
    ],
    ids=range(9),
)
def test_a_hostile_listing_is_a_download_error(hub: Hub, server: FaultServer, listing: bytes):
    server.fail("/api/models/", faults.status(200, body=listing))
    with pytest.raises(DownloadError, match="no list of files"):
        hub.resolve(f"hf:{NAME}")


def test_a_listing_with_too_many_files_is_refused(hub: Hub, server: FaultServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEGPIPE_MAX_LISTED_FILES", "7")
    with pytest.raises(DownloadError, match="lists 8 files; at most 7"):
        hub.resolve(f"hf:{NAME}")


def test_a_model_that_needs_too_many_files_is_refused(hub: Hub, server: FaultServer):
    server.models[NAME] |= {f"LICENSE{number}": b"x" for number in range(256)}
    with pytest.raises(DownloadError, match="at most 256"):
        hub.resolve(f"hf:{NAME}")
    assert not server.requests_for("/resolve/")


def test_a_file_larger_than_the_limit_is_not_asked_for(hub: Hub, server: FaultServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEGPIPE_MAX_DOWNLOAD_BYTES", "50000")
    with pytest.raises(DownloadError, match="at most 50,000 are taken"):
        hub.resolve(f"hf:{NAME}")
    assert not server.requests_for("/resolve/main/model.safetensors")


def test_file_keys_differ_where_texts_differ_in_case_or_separators():
    texts = ["hf:a--b/c", "hf:a/b--c", "Main", "main", "feature/x", "feature-x", "con", "", "街"]
    keys = [file_key(text) for text in texts]
    assert len({key.casefold() for key in keys}) == len(texts)
    check_relative_paths(keys)
