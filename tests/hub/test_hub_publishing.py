"""Publishing to a static hub, and resolving what was published."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from fault_server import FaultServer
from hub_material import CONFIGURATION, NAME, WEIGHTS, make_folder

from segpipe.errors import CacheError, HubError, IntegrityError, ModelFolderError, ModelNameError, ModelNotFoundError
from segpipe.hub import Hub, ModelFolder, publish, publishing as publishing_module


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a static hub, which is the default source."""
    monkeypatch.setenv("SEGPIPE_HUB", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_what_is_published_resolves(sealed: ModelFolder, shelf: Path):
    name = publish(sealed.path, NAME)
    assert name == f"{(shelf / NAME).as_uri()}@main"
    by_name, by_address = Hub(offline=True).resolve(NAME), Hub(offline=True).resolve(name)
    assert by_name.path == by_address.path == shelf / NAME / "main"
    assert by_name.verify() == ()
    assert by_name.weights is not None
    assert by_name.weights.read_bytes() == WEIGHTS
    assert (by_name.name, by_name.revision) == (NAME, "main")


def test_published_folder_can_be_served_by_any_web_server(
    sealed: ModelFolder, shelf: Path, hub: Hub, server, monkeypatch
):
    publish(sealed.path, NAME, revision="v2")
    for path in shelf.rglob("*"):
        if path.is_file():
            server.static[path.relative_to(shelf).as_posix()] = path.read_bytes()
    monkeypatch.setenv("SEGPIPE_HUB", f"{server.url}/static")
    assert hub.resolve(f"{NAME}@v2").verify() == ()


def test_address_names_the_place(sealed: ModelFolder, tmp_path: Path):
    target = tmp_path / "elsewhere" / "street"
    name = publish(sealed.path, target.as_uri(), revision="v1.0")
    assert (target / "v1.0" / "manifest.json").is_file()
    assert Hub().resolve(name).path == target / "v1.0"
    assert Hub().resolve(target, "v1.0").path == target / "v1.0"


def test_a_path_names_a_directory_to_publish_to(sealed: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert publish(sealed.path, "./models/team/street") == f"{(tmp_path / 'models/team/street').as_uri()}@main"
    assert Hub().resolve("./models/team/street").verify() == ()


def test_a_disk_without_room_for_a_revision_is_refused_as_what_it_is(sealed: ModelFolder, shelf: Path, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(CacheError, match=r"The model needs .* 10 free.* publish to a larger disk") as caught:
        publish(sealed.path, NAME)
    assert caught.value.path == shelf / NAME / "main"


def test_publishing_the_same_twice_changes_nothing(sealed: ModelFolder, shelf: Path):
    assert publish(sealed.path, NAME) == publish(sealed.path, NAME)
    assert [path.name for path in (shelf / NAME).iterdir()] == ["main"]


def test_revision_that_is_taken_is_refused(sealed: ModelFolder, shelf: Path, tmp_path: Path):
    publish(sealed.path, NAME)
    other = make_folder(tmp_path / "other" / "made", WEIGHTS[::-1])
    with pytest.raises(HubError, match="the revision 'v2'"):
        publish(other.path, NAME)
    publish(other.path, NAME, revision="v2")
    newer = Hub().resolve(f"{NAME}@v2").weights
    assert newer is not None
    assert newer.read_bytes() == WEIGHTS[::-1]


def test_damaged_folder_is_not_published(sealed: ModelFolder, shelf: Path):
    (sealed.path / "model.safetensors").write_bytes(WEIGHTS[::-1])
    with pytest.raises(IntegrityError, match="sha256"):
        publish(sealed.path, NAME)
    assert not shelf.exists()


def test_file_that_changes_while_it_is_copied_is_noticed(sealed: ModelFolder, shelf: Path, monkeypatch):  # case 38
    copy = publishing_module.copy_regular

    def copy_something_else(source: Path, target: Path, *, error) -> None:
        copy(source, target, error=error)
        if target.name == "model.safetensors":
            target.write_bytes(WEIGHTS[::-1])

    monkeypatch.setattr(publishing_module, "copy_regular", copy_something_else)
    with pytest.raises(IntegrityError, match="changed while it was copied"):
        publish(sealed.path, NAME)
    assert not list(shelf.rglob("*.safetensors"))


def test_secrets_and_code_are_left_out_with_a_warning(sealed: ModelFolder, shelf: Path, caplog):  # case 38
    for name in (".env", "id_rsa", "hf_token.txt", "train.py"):
        (sealed.path / name).write_text("x")
    with caplog.at_level("WARNING", "segpipe"):
        publish(sealed.path, NAME)
    assert {path.name for path in (shelf / NAME / "main").iterdir()} == {
        "configuration.json",
        "model.safetensors",
        "README.md",
        "manifest.json",
    }
    assert "Not publishing .env, hf_token.txt, id_rsa" in caplog.text


def test_secret_that_a_manifest_lists_is_left_out(sealed: ModelFolder, shelf: Path):  # case 38
    from segpipe.hub.manifest import build_manifest, write_manifest

    (sealed.path / ".env").write_text("PASSWORD=x")
    names = [path.name for path in sealed.path.iterdir() if path.name != "manifest.json"]
    write_manifest(sealed.path, build_manifest(sealed.path, names))
    publish(sealed.path, NAME)
    assert not (shelf / NAME / "main" / ".env").exists()


def plant_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def plant_pipe(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def plant_dangling_link(path: Path, outside: Path) -> None:
    path.symlink_to("nowhere")


def plant_folder_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside.parent)


@pytest.mark.skipif(os.name != "posix", reason="links and named pipes of POSIX")
@pytest.mark.parametrize("plant", [plant_link, plant_pipe, plant_dangling_link, plant_folder_link])
@pytest.mark.parametrize("place", ["LICENSE", "README.md", "notes/a/b/x", "model.safetensors", "manifest.json", "x"])
def test_a_folder_with_a_link_or_a_special_file_is_not_published(sealed, shelf: Path, tmp_path: Path, plant, place):
    outside = tmp_path / "outside/secret.txt"
    outside.parent.mkdir()
    outside.write_bytes((sealed.path / place).read_bytes() if (sealed.path / place).is_file() else b"secret")
    path = sealed.path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    plant(path, outside)
    with pytest.raises(ModelFolderError, match=r"is a link|is a special file"):
        publish(sealed.path, NAME)
    assert not shelf.exists()


def test_the_folder_that_is_published_may_be_named_by_a_link(sealed: ModelFolder, shelf: Path, tmp_path: Path):
    (tmp_path / "best").symlink_to(sealed.path)
    publish(tmp_path / "best", NAME)
    assert Hub().resolve(NAME).verify() == ()


def test_a_folder_of_folders_without_end_is_not_published(sealed: ModelFolder, shelf: Path):
    (sealed.path / "/".join(["a"] * 33)).mkdir(parents=True)
    with pytest.raises(ModelFolderError, match="more than 32 deep"):
        publish(sealed.path, NAME)


def test_foreign_folder_has_to_be_converted_first(tmp_path: Path, shelf: Path):
    weights = {"source": "modelscope:damo/x", "dialect": "easycv"}
    (tmp_path / "configuration.json").write_text(json.dumps({**CONFIGURATION, "weights": weights}))
    (tmp_path / "pytorch_model.pt").write_bytes(b"pickle")
    with pytest.raises(ModelFolderError, match="Convert it first"):
        publish(tmp_path, NAME)


def test_folder_that_is_no_model_is_refused(tmp_path: Path, shelf: Path):
    with pytest.raises(ModelFolderError):
        publish(tmp_path, NAME)


@pytest.mark.parametrize("name", ["https://host/hub/street", NAME])
def test_other_places_are_refused_with_what_to_do_instead(sealed: ModelFolder, name: str):
    with pytest.raises(HubError, match="Set SEGPIPE_HUB to that directory"):
        publish(sealed.path, name)


def test_revision_of_a_static_hub_is_one_folder(sealed: ModelFolder, shelf: Path):
    with pytest.raises(ModelNameError, match="static hub"):
        publish(sealed.path, NAME, revision="feature/x")


def test_missing_model_of_a_static_hub_shows_its_neighbours(sealed: ModelFolder, shelf: Path):
    publish(sealed.path, NAME)
    with pytest.raises(ModelNotFoundError, match="street"):
        Hub().resolve("team/streat")
    with pytest.raises(ModelNotFoundError, match="It has main"):
        Hub().resolve(f"{NAME}@v9")


def test_static_hub_directory_needs_no_request(sealed: ModelFolder, shelf: Path, hub: Hub, server: FaultServer):
    publish(sealed.path, NAME)
    hub.resolve(NAME)
    assert not server.seen
    assert hub.cached() == ()
