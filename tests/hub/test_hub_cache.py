"""The cache: hits without requests, offline, refresh, planted files, verification."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path

import pytest
from fault_server import FaultServer
from hub_material import CONFIGURATION, FAST, NAME, WEIGHTS

from segpipe.atomic import atomic_folder, check_free_space, write_atomically
from segpipe.configuration import load_preset
from segpipe.errors import CacheError, DownloadError, ModelFolderError, ModelNotFoundError, OfflineError
from segpipe.hub import Hub, ModelFolder, Transport, manifest as manifest_module, snapshots as snapshots_module
from segpipe.hub.manifest import sha256_of
from segpipe.hub.origins import HuggingFaceSource, huggingface_credentials
from segpipe.hub.snapshots import Wanted, fetch_snapshot

SOURCE = f"hf:{NAME}"


def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_cached_model_needs_no_request(hub: Hub, server: FaultServer):
    first = hub.resolve(SOURCE)
    count = len(server.seen)
    assert hub.resolve(SOURCE) == first
    assert len(server.seen) == count


def test_offline_uses_the_cache_without_a_socket(hub: Hub, monkeypatch: pytest.MonkeyPatch):  # case 14
    first = hub.resolve(SOURCE)
    monkeypatch.setenv("SEGPIPE_OFFLINE", "1")
    no_sockets(monkeypatch)
    assert hub.resolve(SOURCE) == first
    assert hub.resolve(SOURCE, refresh=True) == first


def test_offline_without_a_copy_fails_at_once_and_says_what_is_there(hub: Hub, monkeypatch):  # case 14
    hub.resolve(SOURCE)
    no_sockets(monkeypatch)
    with pytest.raises(OfflineError, match=r"@v2.*revisions 0123456789abcdef\w+, main") as caught:
        Hub(offline=True).resolve(f"{SOURCE}@v2")
    assert "SEGPIPE_OFFLINE" in str(caught.value)


def test_hugging_faces_own_offline_variable_counts_for_it_alone(hub: Hub, monkeypatch):  # case 14
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OfflineError, match="HF_HUB_OFFLINE"):
        hub.resolve(SOURCE)
    assert hub.resolve(f"modelscope:{NAME}").weights is not None


def test_refresh_without_a_network_uses_the_cache_and_warns(hub: Hub, without_dns, caplog):  # case 13
    first = hub.resolve(SOURCE)
    without_dns()
    with caplog.at_level("WARNING", "segpipe"):
        assert hub.resolve(SOURCE, refresh=True) == first
    assert "Using the cached" in caplog.records[-1].message


def test_no_network_and_no_copy_says_what_is_missing(hub: Hub, without_dns):  # case 13
    without_dns()
    with pytest.raises(DownloadError, match=r"Name or service not known.*does not have hf:team/street@main"):
        hub.resolve(SOURCE)


def test_refresh_of_an_unchanged_model_reads_each_file_once(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    folder = hub.resolve(f"modelscope:{NAME}")
    read: list[str] = []
    for module in (snapshots_module, manifest_module):
        monkeypatch.setattr(module, "sha256_of", lambda path: read.append(path.name) or sha256_of(path))
    assert hub.resolve(f"modelscope:{NAME}", refresh=True) == folder
    assert sorted(read) == ["LICENSE", "README.md", "configuration.json", "model.safetensors"]


def test_model_that_a_preset_has_fetched_needs_no_request(hub: Hub, server: FaultServer):
    preset = load_preset("segformer-b0-cocostuff")
    name = preset.weights.source.removeprefix("modelscope:")
    server.add_model(name, {"configuration.json": json.dumps(CONFIGURATION).encode(), "pytorch_model.pt": WEIGHTS})
    fetched = hub.resolve("segformer-b0-cocostuff")
    assert Hub(offline=True).resolve(name).weights == fetched.weights


def test_preset_that_names_another_file_than_the_usual_one_leaves_the_plain_name_alone(hub: Hub, server: FaultServer):
    shelf = hub.cache.shelf(SOURCE)
    source = HuggingFaceSource(NAME, server.url, huggingface_credentials(None))
    fetch_snapshot(source, shelf, Transport(FAST), Wanted("main", "pytorch_model.bin"))
    assert shelf.find("main", "pytorch_model.bin") is not None
    assert shelf.find("main") is None


def test_refresh_of_a_deleted_model_is_not_hidden(hub: Hub, server: FaultServer):
    hub.resolve(SOURCE)
    del server.models[NAME]
    with pytest.raises(ModelNotFoundError):
        hub.resolve(SOURCE, refresh=True)


def test_refresh_fetches_what_changed_and_nothing_else(hub: Hub, server: FaultServer):
    first = hub.resolve(f"modelscope:{NAME}")
    server.models[NAME]["README.md"] = b"# a better text\n"
    server.seen.clear()
    second = hub.resolve(f"modelscope:{NAME}", refresh=True)
    assert [seen.query.get("FilePath") for seen in server.seen] == [None, "README.md"]
    assert (second.path / "README.md").read_bytes() == b"# a better text\n"
    assert second.verify() == ()
    assert first.verify() == ()


def test_files_are_copied_where_links_do_not_work(hub: Hub, server: FaultServer, monkeypatch):  # case 26
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "symlink", refuse)
    hub.resolve(SOURCE)
    server.models[NAME]["README.md"] = b"# a better text\n"
    folder = hub.resolve(SOURCE, refresh=True)
    assert folder.verify() == ()
    assert folder.weights is not None
    assert folder.weights.stat().st_nlink == 1


def test_reader_sees_the_old_or_the_new_model(hub: Hub, server: FaultServer):  # case 22
    texts = [b"old", b"new"]
    weights = [WEIGHTS, WEIGHTS[::-1]]
    server.models[NAME].update({"README.md": texts[0], "model.safetensors": weights[0]})
    hub.resolve(SOURCE)
    seen: list[tuple[bytes, bytes]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            path = hub.resolve(SOURCE).path
            seen.append(((path / "README.md").read_bytes(), (path / "model.safetensors").read_bytes()))

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(1, 8):
        server.models[NAME].update({"README.md": texts[turn % 2], "model.safetensors": weights[turn % 2]})
        hub.resolve(SOURCE, refresh=True)
    done.set()
    reader.join()
    assert set(seen) <= set(zip(texts, weights, strict=True))
    assert len(seen) > 1


def test_file_is_replaced_whole(tmp_path: Path):  # case 22
    target = tmp_path / "x"
    target.write_bytes(b"old")
    with open(target, "rb") as reader:
        write_atomically(target, b"newer")
        assert reader.read() == b"old"
    assert target.read_bytes() == b"newer"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def plant(kind: str, final: Path, elsewhere: Path) -> None:
    """Put something where a snapshot will go."""
    final.parent.mkdir(parents=True, exist_ok=True)
    if kind == "link to a folder":
        final.symlink_to(elsewhere)
    elif kind == "dangling link":
        final.symlink_to(elsewhere / "nothing")
    elif kind == "hard link":
        os.link(elsewhere / "precious", final)
    elif kind == "unfinished folder":
        final.mkdir()
        (final / "model.safetensors").write_bytes(b"half")
    else:
        final.mkdir()
        (final / "manifest.json").write_text("{}")


@pytest.mark.parametrize(
    "kind", ["link to a folder", "dangling link", "hard link", "unfinished folder", "another's manifest"]
)
def test_what_was_planted_at_the_final_path_is_not_followed(hub: Hub, tmp_path: Path, kind: str):  # case 23
    final = hub.resolve(SOURCE).path
    hub.remove(SOURCE)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_bytes(b"keep")
    plant(kind, final, elsewhere)
    folder = hub.resolve(SOURCE)
    assert folder.path == final
    assert not final.is_symlink()
    assert folder.verify() == ()
    assert [(path.name, path.read_bytes()) for path in elsewhere.iterdir()] == [("precious", b"keep")]


def test_link_planted_as_a_part_is_not_followed(hub: Hub, server: FaultServer, tmp_path: Path):  # case 23
    parts = hub.cache.shelf(SOURCE).parts
    parts.mkdir(parents=True)
    (tmp_path / "precious").write_bytes(b"keep")
    (parts / "model.safetensors.1-a.part").symlink_to(tmp_path / "precious")
    assert hub.resolve(SOURCE).verify() == ()
    assert (tmp_path / "precious").read_bytes() == b"keep"


def test_link_planted_as_a_file_is_replaced(tmp_path: Path):  # case 23
    (tmp_path / "precious").write_bytes(b"keep")
    (tmp_path / "x").symlink_to(tmp_path / "precious")
    write_atomically(tmp_path / "x", b"mine")
    assert (tmp_path / "precious").read_bytes() == b"keep"
    assert not (tmp_path / "x").is_symlink()


def test_missing_file_of_a_snapshot_is_fetched_again(hub: Hub, server: FaultServer):  # case 25
    folder = hub.resolve(SOURCE)
    (folder.path / "model.safetensors").unlink()
    assert [checked.problems[0].kind for checked in hub.verify()] == ["missing"]
    assert hub.resolve(SOURCE).verify() == ()


def test_changed_byte_is_repaired_by_refresh(hub: Hub):  # case 25
    folder = hub.resolve(SOURCE)
    (folder.path / "model.safetensors").write_bytes(WEIGHTS[::-1])
    assert [problem.kind for problem in folder.verify()] == ["changed"]
    assert hub.resolve(SOURCE, refresh=True).verify() == ()


def test_incomplete_snapshot_is_refused_where_it_cannot_be_fetched(hub: Hub, monkeypatch):  # case 25
    folder = hub.resolve(SOURCE)
    (folder.path / "model.safetensors").unlink()
    with pytest.raises(ModelFolderError, match=r"model\.safetensors"):
        ModelFolder.open(folder.path)
    with pytest.raises(OfflineError):
        Hub(offline=True).resolve(SOURCE)


def test_verify_reports_changed_and_extra_files(hub: Hub):  # case 25
    folder = hub.resolve(SOURCE)
    assert [checked.problems for checked in hub.verify()] == [()]
    (folder.path / "model.safetensors").write_bytes(WEIGHTS[::-1])
    (folder.path / "extra.py").write_text("1")
    (checked,) = hub.verify()
    assert {(problem.kind, problem.path) for problem in checked.problems} == {
        ("changed", "model.safetensors"),
        ("extra", "extra.py"),
    }


def test_cache_is_marked_as_one(hub: Hub):
    hub.resolve(SOURCE)
    assert (hub.cache.home / "CACHEDIR.TAG").read_bytes().startswith(b"Signature: 8a477f597d28d172789f06886806bc55")


def test_atomic_folder_appears_whole(tmp_path: Path):
    final = tmp_path / "converted" / "x"
    with atomic_folder(final) as folder:
        (folder / "manifest.json").write_text("{}")
        assert not final.exists()
    assert [path.name for path in final.iterdir()] == ["manifest.json"]


def test_atomic_folder_leaves_nothing_after_an_error(tmp_path: Path):
    def fail() -> None:
        with atomic_folder(tmp_path / "x") as folder:
            (folder / "manifest.json").write_text("{}")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_atomic_folder_keeps_who_was_first(tmp_path: Path):
    with atomic_folder(tmp_path / "x") as late:
        with atomic_folder(tmp_path / "x") as early:
            (early / "manifest.json").write_text("early")
        (late / "manifest.json").write_text("late")
    assert (tmp_path / "x" / "manifest.json").read_text() == "early"


def test_disk_without_room_is_refused(tmp_path: Path):
    with pytest.raises(CacheError, match="free"):
        check_free_space(tmp_path / "not" / "yet", 2**62)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SEGPIPE_HOME": "/a"}, Path("/a")),
        ({"SEGPIPE_HOME": "~/a"}, Path("/me/a")),
        ({"XDG_CACHE_HOME": "/b"}, Path("/b/segpipe")),
        ({}, Path("/me/.cache/segpipe")),
    ],
)
def test_home_of_the_cache(environment: dict[str, str], expected: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("SEGPIPE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/me", **environment}.items():
        monkeypatch.setenv(name, value)
    assert Hub().cache.home == expected
    assert Hub("/given").cache.home == Path("/given")
    assert Hub("~/given").cache.home == Path("/me/given")


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_folder_whose_name_cannot_be_one_is_a_cache_error(tmp_path, name):
    with pytest.raises(CacheError, match="cannot be a path"), atomic_folder(tmp_path / name):
        pass
