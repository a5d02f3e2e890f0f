"""ModelScope, Hugging Face and static hubs as sources: their protocols, and which files are fetched."""

from __future__ import annotations

import json
from pathlib import Path

import fault_server as faults
import pytest
from fault_server import COMMIT, FaultServer
from hub_material import CONFIGURATION, NAME, WEIGHTS, make_folder

from segpipe.errors import AccessDeniedError, DownloadError, IntegrityError, ModelNotFoundError
from segpipe.hub import Hub
from segpipe.hub.manifest import read_manifest
from segpipe.hub.model_files import select_weights_name

FETCHED = {"configuration.json", "README.md", "LICENSE", "model.safetensors", "manifest.json"}


@pytest.mark.parametrize("source", [f"modelscope:{NAME}", f"hf:{NAME}"])
def test_only_needed_files_are_fetched(hub: Hub, source: str):
    folder = hub.resolve(source)
    assert {path.name for path in folder.path.iterdir()} == FETCHED
    assert folder.verify() == ()
    assert folder.dialect == "segpipe"


def test_modelscope_is_asked_as_its_own_client_asks(hub: Hub, server: FaultServer):
    folder = hub.resolve(f"modelscope:{NAME}", "v1")
    assert server.seen[0].query == {"Revision": "v1", "Recursive": "True"}
    queries = [seen.query for seen in server.seen[1:]]
    assert {"Revision": "v1", "FilePath": "model.safetensors"} in queries
    assert folder.revision == "v1"


def test_modelscope_folders_in_the_list_are_skipped(hub: Hub, server: FaultServer):
    entries = [{"Type": "tree", "Path": "examples"}, {"Type": "blob", "Path": "x.txt", "Size": 1}]
    answer = json.dumps({"Code": 200, "Success": True, "Data": {"Files": entries}}).encode()
    server.fail("/repo/files", faults.status(200, body=answer))
    with pytest.raises(ModelNotFoundError, match=r"it offers x\.txt"):
        hub.resolve(f"modelscope:{NAME}")


@pytest.mark.parametrize("body", [b"[]", b'{"Code": 200, "Success": true}', b'{"Code": 500, "Success": false}'])
def test_modelscope_answer_without_files_is_a_download_error(hub: Hub, server: FaultServer, body: bytes):
    server.fail("/repo/files", faults.status(200, body=body))
    with pytest.raises(DownloadError):
        hub.resolve(f"modelscope:{NAME}")


@pytest.mark.parametrize(
    "facts",
    [
        {"lfs": "x"},
        {"lfs": {"size": len(WEIGHTS), "sha256": ""}},
        {"lfs": {"size": len(WEIGHTS), "sha256": None}},
        {"lfs": {"size": len(WEIGHTS), "sha256": "0" * 63}},
        {"lfs": {"size": len(WEIGHTS)}},
        {"size": "12"},
        {"size": -1},
        {"size": True},
        {"size": 12, "blobId": ""},
    ],
)
def test_listing_that_says_what_cannot_be_is_refused(hub: Hub, server: FaultServer, facts: dict):
    siblings = [{"rfilename": "model.safetensors", **facts}]
    answer = json.dumps({"sha": COMMIT, "siblings": siblings}).encode()
    server.fail("/api/models/", faults.status(200, body=answer))
    server.fail_always("model.safetensors", faults.flipped_byte)
    with pytest.raises(DownloadError, match=r"it needs|no list of files"):
        hub.resolve(f"hf:{NAME}")
    assert not server.requests_for("/resolve/")


def test_hugging_face_files_come_from_the_listed_commit(hub: Hub, server: FaultServer):
    folder = hub.resolve(f"hf:{NAME}")
    assert server.seen[0].path == f"/api/models/{NAME}/revision/main"
    assert {seen.path.split("/")[4] for seen in server.seen[1:]} == {COMMIT}
    manifest = read_manifest(folder.path)
    assert manifest is not None
    assert (manifest.commit, manifest.revision, manifest.source) == (COMMIT, "main", f"hf:{NAME}")


def test_commit_that_was_fetched_as_a_branch_is_not_fetched_again(hub: Hub, server: FaultServer):
    by_branch = hub.resolve(f"hf:{NAME}")
    count = len(server.seen)
    assert hub.resolve(f"hf:{NAME}@{COMMIT}").path == by_branch.path
    assert len(server.seen) == count


def test_large_files_of_hugging_face_come_from_another_address(hub: Hub, server: FaultServer):
    server.with_cdn = True
    folder = hub.resolve(f"hf:{NAME}")
    assert folder.weights is not None
    assert folder.weights.read_bytes() == WEIGHTS
    assert server.requests_for("/cdn/")


def test_private_model_needs_the_token(hub: Hub, server: FaultServer, monkeypatch: pytest.MonkeyPatch):
    server.token = "hf_right"
    with pytest.raises(AccessDeniedError, match="set HF_TOKEN"):
        hub.resolve(f"hf:{NAME}")
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert hub.resolve(f"hf:{NAME}").weights is not None


def test_static_hub_on_the_web(hub: Hub, server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = make_folder(tmp_path / "made").path
    for path in made.iterdir():
        server.static[f"hub/{NAME}/main/{path.name}"] = path.read_bytes()
    monkeypatch.setenv("SEGPIPE_HUB", f"{server.url}/static/hub")
    folder = hub.resolve(NAME)
    assert folder.verify() == ()
    assert folder.path == hub.resolve(f"{server.url}/static/hub/{NAME}@main").path


def test_folder_on_a_web_server_needs_no_revisions(hub: Hub, server: FaultServer, tmp_path: Path):
    for path in make_folder(tmp_path / "made").path.iterdir():
        server.static[f"model/{path.name}"] = path.read_bytes()
    assert hub.resolve(f"{server.url}/static/model").weights is not None


def test_static_hub_whose_file_is_not_the_listed_one_is_refused(hub: Hub, server: FaultServer, tmp_path: Path):
    for path in make_folder(tmp_path / "made").path.iterdir():
        server.static[f"model/{path.name}"] = path.read_bytes()
    server.static["model/model.safetensors"] = WEIGHTS[::-1]
    with pytest.raises(IntegrityError):
        hub.resolve(f"{server.url}/static/model")


def test_missing_static_model_is_not_found(hub: Hub, server: FaultServer):
    with pytest.raises(ModelNotFoundError):
        hub.resolve(f"{server.url}/static/nothing")


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["pytorch_model.bin", "model.safetensors", "x.pt"], "model.safetensors"),
        (["pytorch_model.bin", "pytorch_model.pt"], "pytorch_model.pt"),
        (["pytorch_model.bin", "tf_model.h5"], "pytorch_model.bin"),
        (["iter_160000.pth", "README.md"], "iter_160000.pth"),
        (["a.pth", "b.pth"], None),
        (["sub/a.pth"], None),
        ([], None),
    ],
)
def test_weights_file_is_chosen_by_name(names: list[str], chosen: str | None):
    assert select_weights_name(names) == chosen


def test_model_without_weights_says_what_it_offers(hub: Hub, server: FaultServer):
    server.add_model(NAME, {"configuration.json": json.dumps(CONFIGURATION).encode()})
    with pytest.raises(ModelNotFoundError, match=r"it offers configuration\.json"):
        hub.resolve(NAME)
