"""Publishing to Hugging Face and ModelScope by their own clients, to hubs on loopback that speak their protocols."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_material import FAST, NAME, WEIGHTS, make_folder
from upload_server import UploadServer

from segpipe.cli.main import main
from segpipe.errors import AccessDeniedError, HubError, IntegrityError, MissingExtraError, OfflineError
from segpipe.hub import Hub, ModelFolder, publish

pytestmark = pytest.mark.peer
TOKEN = "a-token-that-may-write"
HUBS = {
    "hf": ("HF_TOKEN", "main", "huggingface_hub"),
    "modelscope": ("MODELSCOPE_API_TOKEN", "master", "modelscope_hub"),
}
"""By its prefix: the variable of its token, its default branch, its client."""
FILES = {"configuration.json", "model.safetensors", "README.md", "manifest.json"}


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[UploadServer]:
    """Both hubs on loopback, private: each request needs the token. The clients keep their files below `tmp_path`."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "client"))
    monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "client"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "client"))
    with UploadServer(token=TOKEN) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", server.url)
        yield server


@pytest.fixture(params=HUBS)
def source(request: pytest.FixtureRequest, uploads: UploadServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A hub's prefix, with its client installed and the token in its variable."""
    variable, _, library = HUBS[request.param]
    pytest.importorskip(library)
    if request.param == "hf":  # the other protocol's server is not open
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv(variable, TOKEN)
    return str(request.param)


def test_what_is_published_resolves_and_is_whole(source: str, sealed: ModelFolder, uploads: UploadServer):
    name = publish(sealed.path, f"{source}:{NAME}")
    assert name == f"{source}:{NAME}@{HUBS[source][1]}"
    assert set(uploads.models[NAME]) == FILES
    folder = Hub(limits=FAST).resolve(name)
    assert folder.verify() == ()
    assert folder.weights is not None
    assert folder.weights.read_bytes() == WEIGHTS
    assert folder.configuration == sealed.configuration


def test_a_model_that_was_in_the_cache_is_the_published_one_afterwards(source: str, sealed, uploads, tmp_path: Path):
    publish(sealed.path, f"{source}:{NAME}")
    Hub(limits=FAST).resolve(f"{source}:{NAME}")
    publish(make_folder(tmp_path / "other" / "made", WEIGHTS[::-1]).path, f"{source}:{NAME}")
    newer = Hub(limits=FAST).resolve(f"{source}:{NAME}").weights
    assert newer is not None
    assert newer.read_bytes() == WEIGHTS[::-1]
    assert len(uploads.branches) == 2


def test_the_revision_is_a_branch(source: str, sealed: ModelFolder, uploads: UploadServer):
    assert publish(sealed.path, f"{source}:{NAME}", revision="v1") == f"{source}:{NAME}@v1"
    assert publish(sealed.path, f"{source}:{NAME}@v1") == f"{source}:{NAME}@v1"
    assert set(uploads.branches) == {"v1"}


def test_the_default_source_may_be_such_a_hub(source: str, sealed: ModelFolder, uploads: UploadServer, monkeypatch):
    monkeypatch.setenv("SEGPIPE_HUB", f"{source}:")
    assert publish(sealed.path, NAME).startswith(f"{source}:{NAME}@")


def test_the_command_publishes(source: str, sealed: ModelFolder, uploads: UploadServer, capsys):
    assert main(["publish", str(sealed.path), f"{source}:{NAME}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == f"{source}:{NAME}@{HUBS[source][1]}"


def test_a_token_that_may_not_write_is_named_with_its_variable(source: str, sealed, uploads, monkeypatch):
    monkeypatch.setenv(HUBS[source][0], "another")
    with pytest.raises(AccessDeniedError, match=f"Set {HUBS[source][0]}") as caught:
        publish(sealed.path, f"{source}:{NAME}")
    assert (caught.value.status, caught.value.key) == (401, f"{source}:{NAME}")
    assert not uploads.models


def test_a_private_model_needs_the_token_to_be_opened(source: str, sealed, uploads, monkeypatch):
    publish(sealed.path, f"{source}:{NAME}")
    monkeypatch.delenv(HUBS[source][0])
    with pytest.raises(AccessDeniedError, match=HUBS[source][0]) as caught:
        Hub(limits=FAST).resolve(f"{source}:{NAME}")
    assert caught.value.status == 401
    assert caught.value.url is not None
    assert caught.value.url.startswith(uploads.url)


def test_a_repository_says_its_licence(source: str, sealed, uploads: UploadServer, tmp_path: Path):
    from segpipe.configuration import decode_configuration
    from segpipe.hub import seal_folder

    document = json.loads((sealed.path / "configuration.json").read_text())
    document["weights"] = {"source": "hf:a/b", "licence": "NVIDIA Source Code License"}
    (sealed.path / "README.md").unlink()
    seal_folder(sealed.path, decode_configuration(json.dumps(document), origin="test"))
    publish(sealed.path, f"{source}:{NAME}")
    card = uploads.models[NAME]["README.md"].decode().split("---")[1]
    for line in ("license: other", 'license_name: "NVIDIA Source Code License"', "library_name: segpipe"):
        assert line in card.splitlines()
    assert "pipeline_tag: image-segmentation" in card.splitlines()
    if source == "modelscope":
        assert uploads.created[NAME]["License"] == "other"


def test_secrets_and_code_stay_here(source: str, sealed: ModelFolder, uploads: UploadServer):
    for name in (".env", "id_rsa", "train.py"):
        (sealed.path / name).write_text("x")
    publish(sealed.path, f"{source}:{NAME}")
    assert set(uploads.models[NAME]) == FILES


def test_a_damaged_folder_is_not_uploaded(source: str, sealed: ModelFolder, uploads: UploadServer):
    (sealed.path / "model.safetensors").write_bytes(WEIGHTS[::-1])
    with pytest.raises(IntegrityError, match="sha256") as caught:
        publish(sealed.path, f"{source}:{NAME}")
    assert caught.value.path == sealed.path
    assert not uploads.models


def test_nothing_is_left_behind(source: str, sealed: ModelFolder, uploads: UploadServer, tmp_path: Path):
    publish(sealed.path, f"{source}:{NAME}")
    assert list((tmp_path / "home" / "publishing").iterdir()) == []
    assert {path.name for path in sealed.path.iterdir()} == FILES


def test_a_refusal_of_the_hub_is_an_error_of_ours(source: str, sealed: ModelFolder, uploads: UploadServer):
    uploads.refused = "commit"
    with pytest.raises(HubError, match=f"Publishing to {source}:{NAME} failed"):
        publish(sealed.path, f"{source}:{NAME}")


@pytest.mark.parametrize("source", HUBS)
def test_offline_nothing_is_uploaded(source: str, sealed: ModelFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEGPIPE_OFFLINE", "1")
    with pytest.raises(OfflineError, match="SEGPIPE_OFFLINE") as caught:
        publish(sealed.path, f"{source}:{NAME}")
    assert caught.value.key == f"{source}:{NAME}"


@pytest.mark.parametrize(("source", "extra"), [("hf", "huggingface"), ("modelscope", "modelscope")])
def test_a_missing_client_is_named_with_the_command_that_installs_it(source, extra, sealed, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, HUBS[source][2], None)
    with pytest.raises(MissingExtraError, match=rf'pip install "segpipe\[{extra}\]"'):
        publish(sealed.path, f"{source}:{NAME}")


def test_what_was_published_segments_as_before(source: str, uploads: UploadServer, tmp_path: Path):
    import numpy as np

    from segpipe import convert, pipeline

    folder = convert("segformer-b0-camvid", tmp_path / "street")
    publish(folder.path, f"{source}:{NAME}")
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    before = pipeline("image-segmentation", "segformer-b0-camvid")(image)
    after = pipeline("image-segmentation", f"{source}:{NAME}")(image)
    assert np.array_equal(after.label_map, before.label_map)
    assert after["labels"] == before["labels"]
