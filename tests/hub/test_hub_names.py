"""What a name resolves to, and which names cannot be one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from fault_server import FaultServer
from hub_material import CONFIGURATION, NAME, WEIGHTS, make_folder

from segpipe.configuration import decode_configuration
from segpipe.errors import (
    CacheError,
    InputError,
    ModelFolderError,
    ModelNameError,
    ModelNotFoundError,
    UnknownNameError,
)
from segpipe.hub import Hub, ModelFolder, client as client_module, publish
from segpipe.hub.references import parse_reference

IMPOSSIBLE = [
    *("a/../../b", "%2e%2e/x", "owner/%2e%2e", "owner/na me", "оwner/name", "a" * 500, "a/" + "b" * 200, "", " "),
    *("owner/name@", "owner/name@../x", "owner/name@a b", "modelscope:name", "hf:a/b/c", "hf:../x", "ftp://host/x"),
    *("https://", "https://user:pw@host/x", "https://host/a/../b", "https://host/%2e%2e/b", "https://host/x?y=1"),
    *("https://host/\u0440ath", "file://host/x", "s3:bucket/x", "owner/name\n", "owner//name", "owner/.name", "x..y"),
]


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_name_is_refused_without_a_request(hub: Hub, server: FaultServer, name: str):  # case 27
    with pytest.raises(ValueError) as caught:
        hub.resolve(name)
    assert isinstance(caught.value, ModelNameError)
    assert not server.seen


@pytest.mark.parametrize(
    "name",
    [
        *("https://me:hunter2@host/model", "https://me:hunter2@host", "https://hunter2@host", "HTTPS://hunter2@host/x"),
        *("https://me:hunter2@host:99999999/x", "https://host:99999999/x?sig=hunter2", "https://host/x#hunter2"),
        *(
            "https://me:hunter2@host/x@v1",
            "https://host/x?sig=hunter2@v1",
            "https://host/x?sig=a@hunter2=",
            "a://hunter2@b",
        ),
        *("https:/me:hunter2@host/x", "https:me:hunter2@host", "https://me:hunter2@host/" + "x" * 300),
    ],
)
def test_secret_in_an_address_is_neither_asked_for_nor_shown(hub: Hub, without_dns, name: str):
    without_dns()
    for revision in (None, "v2"):
        with pytest.raises(ModelNameError) as caught:
            hub.resolve(name, revision)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind", "location", "revision"),
    [
        ("segformer-b0-camvid", "bare", "segformer-b0-camvid", None),
        ("damo/cv_segformer-b0@v1.0", "bare", "damo/cv_segformer-b0", "v1.0"),
        ("modelscope:damo/x", "modelscope", "damo/x", None),
        ("hf:nvidia/mit-b0@refs/pr/1", "hf", "nvidia/mit-b0", "refs/pr/1"),
        ("https://host/@me/street", "web", "https://host/@me/street", None),
        ("https://host:8080/hub/team/street@v2", "web", "https://host:8080/hub/team/street", "v2"),
        ("file:///srv/hub/team/street", "directory", "/srv/hub/team/street", None),
        ("package:a.safetensors", "package", "a.safetensors", None),
    ],
)
def test_name_is_taken_apart(name: str, kind: str, location: str, revision: str | None):
    reference = parse_reference(name)
    assert (reference.kind, reference.location, reference.revision) == (kind, location, revision)


def test_directory_with_a_long_name_beyond_ascii_resolves(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = make_folder(tmp_path / "made")
    monkeypatch.setenv("SEGPIPE_HUB", str(tmp_path / ("模型" * 20)))
    name = hub.publish(made.path, "owner/street")
    assert len(name) > 300
    assert hub.resolve(name).verify() == ()


def test_folder_that_hides_a_preset_says_so(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "segformer-b0-camvid").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFolderError, match=r"hides the preset segformer-b0-camvid: rename"):
        hub.resolve("segformer-b0-camvid")


def test_two_different_revisions_are_refused():
    assert parse_reference("hf:a/b@v1", "v1").revision == "v1"
    with pytest.raises(ModelNameError, match="v2"):
        parse_reference("hf:a/b@v1", "v2")


def test_folder_on_disk_comes_before_everything_else(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_folder(tmp_path / "team" / "street")
    monkeypatch.chdir(tmp_path)
    folder = hub.resolve(NAME)
    assert folder.path == Path("team/street")
    assert folder.weights is not None


def test_bare_name_asks_modelscope(hub: Hub, server: FaultServer):
    hub.resolve(NAME)
    assert server.seen[0].path == f"/api/v1/models/{NAME}/repo/files"


@pytest.mark.parametrize(("value", "start"), [("hf:", "/api/models/"), ("modelscope:", "/api/v1/models/")])
def test_default_source_is_a_variable(hub: Hub, server: FaultServer, monkeypatch: pytest.MonkeyPatch, value, start):
    monkeypatch.setenv("SEGPIPE_HUB", value)
    hub.resolve(NAME)
    assert server.seen[0].path.startswith(start)


def test_misspelt_preset_gets_the_nearest_name(hub: Hub, server: FaultServer):
    with pytest.raises(UnknownNameError, match="Did you mean 'segformer-b0-cocostuff'"):
        hub.resolve("segformer-b0-cocostaff")
    assert not server.seen


def test_path_that_is_not_there_is_called_a_path(hub: Hub, tmp_path: Path):
    with pytest.raises(ModelFolderError, match="There is no folder"):
        hub.resolve(str(tmp_path / "nothing"))
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ModelFolderError, match="is a file"):
        hub.resolve(str(tmp_path / "model.safetensors"))


def test_missing_model_is_not_found_and_not_asked_for_twice(hub: Hub, server: FaultServer):
    with pytest.raises(ModelNotFoundError, match="nobody/nothing"):
        hub.resolve("nobody/nothing")
    assert len(server.seen) == 1


def test_weights_url_alone_is_no_model(hub: Hub, server: FaultServer):
    with pytest.raises(ModelNameError, match="needs a configuration"):
        hub.resolve(f"{server.url}/static/model.pth")


def use_preset(monkeypatch: pytest.MonkeyPatch, **weights: object) -> None:
    """Make `tiny` a preset with these weights."""
    document = json.dumps({**CONFIGURATION, "weights": weights})
    monkeypatch.setattr(client_module, "preset_names", lambda: ("tiny",))
    monkeypatch.setattr("segpipe.hub.client.load_preset", lambda name: decode_configuration(document, origin="test"))


def test_preset_takes_its_own_configuration_and_the_named_weights(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    use_preset(monkeypatch, source=f"modelscope:{NAME}", file="pytorch_model.bin", dialect="easycv")
    folder = hub.resolve("tiny")
    assert folder.weights is not None
    assert folder.weights.read_bytes() == b"the same as a pickle"
    assert (folder.dialect, folder.name, folder.revision) == ("easycv", "tiny", "master")
    assert not (folder.path / "model.safetensors").exists()


def test_preset_can_name_a_weights_file_on_the_web(hub: Hub, server: FaultServer, monkeypatch: pytest.MonkeyPatch):
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    server.static[f"b0-{digest[:8]}.pth"] = WEIGHTS
    use_preset(monkeypatch, source=f"{server.url}/static/b0-{digest[:8]}.pth", dialect="mmseg")
    folder = hub.resolve("tiny")
    assert folder.weights is not None
    assert (folder.weights.read_bytes(), folder.dialect) == (WEIGHTS, "mmseg")
    count = len(server.seen)
    assert hub.resolve("tiny") == folder
    assert len(server.seen) == count


def test_preset_inside_the_package_needs_no_download(hub: Hub, server: FaultServer, tmp_path, monkeypatch):
    (tmp_path / "tiny.safetensors").write_bytes(WEIGHTS)
    monkeypatch.setattr(client_module, "BUNDLED", tmp_path)
    use_preset(monkeypatch, source="package:tiny.safetensors", sha256=hashlib.sha256(WEIGHTS).hexdigest())
    folder: ModelFolder = hub.resolve("tiny")
    assert (folder.path, folder.weights) == (tmp_path, tmp_path / "tiny.safetensors")
    assert folder.verify() == ()
    (tmp_path / "tiny.safetensors").write_bytes(b"changed")
    assert [problem.kind for problem in folder.verify()] == ["changed"]
    assert not server.seen


@pytest.mark.parametrize("name", ["file://host/srv/models", "file://127.0.0.1/srv/models", "file://host"])
def test_a_file_url_of_another_host_is_no_model_name(hub: Hub, name: str):
    for use in (hub.resolve, lambda name: publish("anything", name), hub.remove):
        with pytest.raises((ModelNameError, ModelFolderError)):
            use(name)
    with pytest.raises(ModelNameError, match="another host"):
        hub.resolve(name)


@pytest.mark.parametrize("name", [5, None, b"street", ["street"]])
def test_a_name_that_is_no_text_is_a_model_name_error(hub: Hub, name: object):
    with pytest.raises(ModelNameError):
        hub.resolve(name)  # type: ignore[arg-type]


def test_a_deleted_current_folder_is_said(hub: Hub, tmp_path, monkeypatch):
    place = tmp_path / "gone"
    place.mkdir()
    monkeypatch.chdir(place)
    place.rmdir()
    assert hub.resolve(f"hf:{NAME}").weights is not None
    with pytest.raises((ModelFolderError, ModelNameError)):
        hub.resolve("./street")
    monkeypatch.setenv("SEGPIPE_HUB", "models")
    with pytest.raises(InputError, match="current folder was deleted"):
        hub.resolve("team/none")


@pytest.mark.parametrize("folder", ["a\0b", "x" * 5000])
def test_a_cache_that_cannot_be_a_folder_is_said(server, monkeypatch, folder: str):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    with pytest.raises((InputError, CacheError)):
        Hub(folder).resolve(f"hf:{NAME}")
